"""PRE-08: any segmenter as one ONNX file with a description beside it."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud.preannotation.semantic.onnx_labeler import OnnxLabeler
from cloud.preannotation.semantic_labels import class_ids_of, labeler_from
from lifelong.errors import LabelMapError, ModelLoadError, ModelOutputError
from lifelong.sections.drafting import SemanticSection
from tests.builders import SMALL_MAP, an_image

# Logits are 10 times a colour channel, so that class 0 is where red is strongest.
CHANNELS_FIRST = {"names": ["road", "car", "person"], "mean": [0, 0, 0], "std": [1, 1, 1]}
NAMES_ONLY = {"names": ["road", "car", "person"]}


def save(folder, nodes, inputs, outputs, says, constants=()):
    """One graph and its description."""
    graph = helper.make_graph(nodes, "g", [inputs], [outputs], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "theirs.onnx").write_bytes(model.SerializeToString())
    if says is not None:
        (folder / "theirs.json").write_text(json.dumps(says))
    return folder / "theirs.onnx"


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def floats_to_logits(folder, says, size=("h", "w"), kind=TensorProto.FLOAT):
    ten = numpy_helper.from_array(
        np.array(10, dtype=np.float32 if kind == TensorProto.FLOAT else np.float16), "ten"
    )
    return save(
        folder,
        [helper.make_node("Mul", ["x", "ten"], ["y"])],
        value("x", kind, [1, 3, *size]),
        value("y", kind, [1, 3, *size]),
        says,
        [ten],
    )


def bytes_to_numbers(folder, says, *, rank, size=("h", "w")):
    """(1, h, w, 3) uint8 to the number of the brightest channel."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["f"], ["n"], axis=3, keepdims=0),
    ]
    if rank == 4:
        nodes.append(helper.make_node("Unsqueeze", ["n", "one"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["n"], ["y"]))
    shape = [1, *(1,) * (rank - 3), *size]
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "one")
    return save(
        folder,
        nodes,
        value("x", TensorProto.UINT8, [1, *size, 3]),
        value("y", TensorProto.INT64, shape),
        says,
        [one],
    )


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_floats_in_and_logits_out(tmp_path, kind):
    """PRE-08: `onnx` by its file."""
    model = floats_to_logits(tmp_path, CHANNELS_FIRST, kind=kind)
    image = an_image(3)

    labeler = labeler_from(SemanticSection(type="onnx", model=str(model)), SMALL_MAP, device="cpu")
    scores = labeler.label(image)

    expected = np.exp(10 * (image / np.float32(255)))
    expected = (expected / expected.sum(axis=2, keepdims=True)).transpose(2, 0, 1)
    assert labeler.name == "theirs"
    assert np.abs(scores - expected).max() < (1e-5 if kind == TensorProto.FLOAT else 5e-3)


def test_mean_and_std_are_those_of_the_description(tmp_path):
    says = {"names": ["road", "car", "person"], "mean": [0.5, 0, 0], "std": [0.25, 1, 1]}
    image = np.full((8, 8, 3), 255, dtype=np.uint8)

    scores = OnnxLabeler(floats_to_logits(tmp_path, says), SMALL_MAP).label(image)

    logits = np.array([10 * (1 - 0.5) / 0.25, 10, 10])
    expected = np.exp(logits - logits.max())
    assert scores[:, 0, 0] == pytest.approx(expected / expected.sum(), abs=1e-5)


@pytest.mark.parametrize("rank", [3, 4])
def test_bytes_in_and_class_numbers_out(tmp_path, rank):
    image = an_image(4)

    scores = OnnxLabeler(bytes_to_numbers(tmp_path, NAMES_ONLY, rank=rank), SMALL_MAP).label(image)

    assert set(np.unique(scores)) == {0.0, 1.0}
    assert np.array_equal(class_ids_of(scores), image.argmax(axis=2))


def test_a_fixed_size_is_scaled_to_and_back(tmp_path):
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[:, :30, 1] = 200  # car on the left
    image[:, 30:, 2] = 200  # person on the right
    for make in (floats_to_logits, lambda *a, **k: bytes_to_numbers(*a, rank=3, **k)):
        scores = OnnxLabeler(make(tmp_path, CHANNELS_FIRST, size=(20, 16)), SMALL_MAP).label(image)
        ids = class_ids_of(scores)

        assert ids.shape == (40, 60)
        assert (ids[:, :26] == 1).all()
        assert (ids[:, 34:] == 2).all()


def test_an_open_size_may_be_set_by_the_description(tmp_path):
    says = CHANNELS_FIRST | {"size": [10, 12]}
    labeler = OnnxLabeler(floats_to_logits(tmp_path, says), SMALL_MAP)

    assert labeler._prepared(an_image(3)).shape == (1, 3, 10, 12)


def test_numbers_without_a_name_stay_unknown(tmp_path):
    """Also null, which says that a number means nothing."""
    image = an_image(4)
    model = bytes_to_numbers(tmp_path, {"names": [None, "car"]}, rank=3)

    ids = class_ids_of(OnnxLabeler(model, SMALL_MAP).label(image))

    brightest = image.argmax(axis=2)
    assert np.array_equal(ids, np.where(brightest == 1, 1, 255))


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (None, r"theirs\.json: no such file"),
        ({"names": ["road", "car", "person"]}, "mean and std are missing"),
        (CHANNELS_FIRST | {"mean": [123.7, 116.3, 103.5]}, "divide mean and std by 255"),
        (CHANNELS_FIRST | {"std": [0, 1, 1]}, "above 0"),
        (CHANNELS_FIRST | {"colour": "rgb"}, "colour"),
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, "names"),
        (CHANNELS_FIRST | {"names": [None]}, "at least one name"),
        (CHANNELS_FIRST | {"size": [0, 4]}, "above 0"),
    ],
)
def test_ops_03_a_description_that_lacks_something_is_told_what(tmp_path, says, reason):
    """OPS-03: which file, and what is missing."""
    model = floats_to_logits(tmp_path, says)

    with pytest.raises(ModelLoadError, match=reason) as refused:
        OnnxLabeler(model, SMALL_MAP)
    assert "theirs.json" in str(refused.value)


def test_ops_03_what_is_no_segmenter_is_refused(tmp_path):
    """OPS-03."""
    with pytest.raises(ModelLoadError, match=r"theirs\.onnx: no such file"):
        OnnxLabeler(tmp_path / "theirs.onnx", SMALL_MAP)
    model = floats_to_logits(tmp_path, CHANNELS_FIRST | {"size": [4, 4]}, size=(8, 8))
    with pytest.raises(ModelLoadError, match="the graph takes"):
        OnnxLabeler(model, SMALL_MAP)
    model = floats_to_logits(tmp_path, CHANNELS_FIRST, size=(8, 3))
    with pytest.raises(ModelLoadError, match="expected one input"):
        OnnxLabeler(model, SMALL_MAP)
    model.write_bytes(b"no graph")
    with pytest.raises(ModelLoadError, match="ONNX Runtime cannot load"):
        OnnxLabeler(model, SMALL_MAP)
    model = floats_to_logits(tmp_path, CHANNELS_FIRST | {"names": ["zebra", "giraffe", "emu"]})
    with pytest.raises(LabelMapError, match="zebra"):
        OnnxLabeler(model, SMALL_MAP)


def test_an_answer_of_another_shape_is_refused(tmp_path):
    model = floats_to_logits(tmp_path, CHANNELS_FIRST | {"names": ["road", "car"]})

    with pytest.raises(ModelOutputError, match="for its 2 names"):
        OnnxLabeler(model, SMALL_MAP).label(an_image(3))
