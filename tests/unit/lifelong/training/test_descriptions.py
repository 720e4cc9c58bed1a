"""EDGE-06: what a network saw, fitted to familiar pictures and put into its ONNX file."""

import numpy as np
import onnx
import pytest
import torch

from lifelong.errors import ConfigError, ModelLoadError
from lifelong.onnx_runtime import onnxruntime
from lifelong.preprocessing import Preprocessing
from lifelong.training.descriptions import (
    FEWEST_PICTURES,
    SeenPicture,
    described_onnx,
    description_of,
)
from lifelong.training.networks import build_network
from lifelong.training.onnx_export import onnx_from_network
from tests.tiny_bundle import tiny_onnx

HOW = Preprocessing(height=48, width=80)
FEATURES, ROWS, COLUMNS = 5, 3, 4


def seen_pictures(count=30, seed=0, tasks=("day",)) -> list[SeenPicture]:
    """Features of two classes and some tasks, correlated; class 1 lies where feature 0 is high."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(FEATURES, FEATURES))
    pictures = []
    for number in range(count):
        classes = rng.integers(0, 2, (ROWS, COLUMNS))
        features = np.einsum("de,ehw->dhw", mixing, rng.normal(size=(FEATURES, ROWS, COLUMNS)))
        features[0] += 20.0 * classes
        task = tasks[number % len(tasks)]
        features[1] += 15.0 * tasks.index(task)
        pictures.append(
            SeenPicture(learning_task=task, features=features.astype(np.float32), classes=classes)
        )
    return pictures


def passing_on() -> bytes:
    """An ONNX model whose features are its input, so that features can be chosen."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = [1, FEATURES, ROWS, COLUMNS]
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["image"], ["logits"]),
            helper.make_node("Identity", ["image"], ["features"]),
        ],
        "passing_on",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, kind, shape) for name in ("logits", "features")],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def answers(data: bytes, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    embedding, strangeness = session.run(["embedding", "strangeness"], {"image": features[None]})
    return embedding[0], strangeness[0]


def test_edge_06_strangeness_is_mahalanobis_distance_to_the_nearest_class_mean():
    pictures = seen_pictures(200)
    data = described_onnx(passing_on(), description_of(pictures))
    cells = np.concatenate([p.features.reshape(FEATURES, -1).T for p in pictures]).astype(float)
    classes = np.concatenate([p.classes.ravel() for p in pictures])
    means = np.stack([cells[classes == c].mean(axis=0) for c in (0, 1)])
    inverse = np.linalg.inv(np.cov((cells - means[classes]).T, bias=True))
    given = seen_pictures(1, seed=9)[0].features
    away = given.reshape(FEATURES, -1).T[:, None] - means
    expected = np.sqrt(np.einsum("ncd,de,nce->nc", away, inverse, away).min(axis=1))
    _, strangeness = answers(data, given)
    assert strangeness.ravel() == pytest.approx(expected, rel=0.02)


def test_edge_06_distances_between_embeddings_are_whitened():
    """Held-back pictures of one task lie about as far apart in every direction of the plane."""
    data = described_onnx(passing_on(), description_of(seen_pictures(400)))
    embeddings = np.stack([answers(data, p.features)[0] for p in seen_pictures(200, seed=5)])
    within = embeddings[:, :-1]
    assert within.std(axis=0) == pytest.approx(1.0, abs=0.25)
    correlation = np.corrcoef(within.T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.4


def test_edge_06_a_picture_off_the_plane_of_all_pictures_is_far_in_the_last_number():
    data = described_onnx(passing_on(), description_of(seen_pictures(24)))
    usual = [answers(data, p.features)[0][-1] for p in seen_pictures(20, seed=3)]
    odd = seen_pictures(1, seed=4)[0].features
    odd[2] *= 30.0
    assert answers(data, odd)[0][-1] > 3 * max(usual)


def test_learning_tasks_are_no_part_of_the_spread_within_them():
    data = described_onnx(passing_on(), description_of(seen_pictures(200, tasks=("day", "night"))))
    fresh = seen_pictures(60, seed=8, tasks=("day", "night"))
    embeddings = np.stack([answers(data, p.features)[0] for p in fresh])
    day, night = (embeddings[[p.learning_task == t for p in fresh]] for t in ("day", "night"))
    apart = np.linalg.norm(day.mean(axis=0) - night.mean(axis=0))
    within = np.linalg.norm(day - day.mean(axis=0), axis=1).mean()
    assert apart > 3 * within


def test_equal_pictures_give_equal_files():
    first, second = (
        described_onnx(passing_on(), description_of(seen_pictures(40))) for _ in range(2)
    )
    assert first == second
    assert first != described_onnx(passing_on(), description_of(seen_pictures(40, seed=1)))


def test_too_few_pictures_or_no_numbers_describe_nothing():
    assert description_of(seen_pictures(FEWEST_PICTURES - 1)) is None
    broken = seen_pictures(FEWEST_PICTURES)
    broken[0].features[0, 0, 0] = np.nan
    assert description_of(broken) is None
    bare = onnx.load_from_string(described_onnx(passing_on(), None))
    assert [output.name for output in bare.graph.output] == ["logits"]


@pytest.mark.parametrize("odd", ["constant", "one class"])
def test_dull_pictures_are_described_with_finite_numbers(odd):
    pictures = seen_pictures(FEWEST_PICTURES)
    for picture in pictures:
        if odd == "constant":
            picture.features[:] = 3.0
        picture.classes[:] = 1
    data = described_onnx(passing_on(), description_of(pictures))
    for answer in answers(data, seen_pictures(1, seed=7)[0].features):
        assert np.isfinite(answer).all()


def test_a_model_that_does_not_say_what_it_saw_is_refused():
    weights = np.zeros((3, 3, 1, 1), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ModelLoadError, match="features"):
        described_onnx(tiny_onnx(*weights), description_of(seen_pictures()))
    with pytest.raises(ConfigError, match="cannot say what it saw"):
        onnx_from_network(torch.nn.Conv2d(3, 2, 1), HOW, with_features=True)


def test_maps_that_do_not_fit_the_grid_are_averaged_all_the_same():
    """50 x 70 pixels: a quarter is 13 x 18, a sixteenth 4 x 5."""
    network = build_network("fast_cnn", 3, seed=0).eval()
    with torch.no_grad():
        _, features = network.described(torch.zeros(1, 3, 50, 70))
    assert features.shape == (1, 40 + 80 + 128, 4, 5)
