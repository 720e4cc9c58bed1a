"""Every student by its name: same seed, same weights; logits, descriptions, classifiers, export."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bench.students import gflops
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.learning.familiarity import FamiliarPicture
from cloud.learning.packing import packed
from cloud.learning.precision import reduced
from lifelong.errors import ConfigError
from lifelong.model_bundle import BundleManifest
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import (
    load_weights,
    weights_from_bytes,
    weights_of,
    weights_sha256,
    weights_to_bytes,
)
from lifelong.training.networks import NETWORKS, build_network
from lifelong.training.segformer import SIZES
from lifelong.training.trainer import train
from tests.builders import SMALL_MAP, an_image
from tests.unit.lifelong.training.lessons import a_lesson

HOW = Preprocessing(height=32, width=48)
# Millions of parameters with 19 classes; SegFormer's are those of the paper's table 1 (encoder and
# decoder, Cityscapes), to its one decimal.
PAPER = {
    "segformer_b0": 3.8,
    "segformer_b1": 13.7,
    "segformer_b2": 27.5,
    "segformer_b3": 47.3,
    "segformer_b4": 64.1,
    "segformer_b5": 84.7,
}
# Those that a test of seconds can hold; b2 to b5 differ from b1 in widths and depths only, which
# are compared with the paper's.
QUICK = ("fast_cnn", "lraspp_mobilenet_v3", "segformer_b0")
ALL = [*QUICK, pytest.param("segformer_b1", marks=pytest.mark.slow)]
# Exporting and quantising takes ten seconds and more each.
SHIPPED = ["fast_cnn", *(pytest.param(name, marks=pytest.mark.slow) for name in QUICK[1:])]


def pictures(count=2, *, height=32, width=48):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def a_network(name, classes=4):
    """One whose statistics have seen something."""
    network = build_network(name, classes, seed=0)
    with torch.no_grad():
        for _ in range(2):
            network(pictures())
    return network.eval()


@pytest.mark.parametrize("name", ALL)
def test_a_seed_decides_all_weights_and_the_callers_chance_is_left_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build_network(name, 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert weights_sha256(weights_of(first)) == weights_sha256(weights_of(second))
    assert weights_sha256(weights_of(first)) != weights_sha256(weights_of(other))


@pytest.mark.parametrize("name", ALL)
def test_logits_and_descriptions_have_the_promised_shapes(name):
    network = a_network(name)
    with torch.no_grad():
        logits, seen = network.described(pictures(1, height=64, width=96))
        assert torch.equal(logits, network(pictures(1, height=64, width=96)))
        odd, seen_of_odd = network.described(pictures(1, height=50, width=70))
    assert logits.shape[:2] == (1, 4) and logits.shape[2] in (8, 16)
    assert seen.shape[2:] == (4, 6), "the grid of a sixteenth"
    assert odd.shape[1] == 4 and torch.isfinite(seen_of_odd).all()


@pytest.mark.parametrize("name", ALL)
def test_the_classifiers_are_all_that_knows_classes(name):
    """LLL-06: who grows a head must find every layer with a row for each class, and no other."""
    few, more = (weights_of(build_network(name, classes, seed=0)) for classes in (4, 7))
    grown = {n for n in few if few[n].shape != more[n].shape}
    layers = build_network(name, 4, seed=0).classifiers()
    assert grown == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    for tensor in grown:
        assert (few[tensor].shape[0], more[tensor].shape[0]) == (4, 7)


@pytest.mark.parametrize("name", ALL)
def test_the_classifiers_answers_sum_up_to_the_logits(name):
    """Rows of zeros everywhere say nothing, whatever the picture."""
    network = a_network(name)
    with torch.no_grad():
        for layer in network.classifiers():
            network.get_submodule(layer).weight[2] = 0.0
            network.get_submodule(layer).bias[2] = 0.0
        logits = network(pictures())
    assert float(logits[:, 2].abs().max()) == 0.0
    assert float(logits[:, 1].abs().max()) > 0.0


@pytest.mark.parametrize("name", ALL)
def test_LLL_08_a_lesson_gives_the_same_weights_twice(name):  # noqa: N802
    settings = {"network": name, "steps": 2, "batch_size": 2}
    first, second = (train(a_lesson(**settings)) for _ in range(2))
    assert weights_sha256(first) == weights_sha256(second)
    fresh = weights_of(build_network(name, 3, seed=0))
    learned = [n for n, value in first.items() if not torch.equal(value, fresh[n])]
    assert len(learned) > 0.9 * len(first), "every layer learns"


@pytest.mark.parametrize("name", SHIPPED)
def test_LLL_12_every_student_ships_with_its_description_and_in_fewer_bits(name):  # noqa: N802
    weights = weights_of(a_network(name, len(SMALL_MAP)))
    manifest = BundleManifest(
        label_map=SMALL_MAP,
        preprocessing=HOW,
        network=name,
        weights_sha256=sha256_hex(weights_to_bytes(weights)),
    )
    images = [an_image(number) for number in range(24)]
    familiar = [FamiliarPicture("day", image) for image in images[:16]]
    bundle = packed(weights, manifest, images[16:], familiar=familiar)  # proves ONNX against torch
    answer = OnnxSegmenter(bundle, threads=1).segment(images[0])
    assert answer.mask.shape == images[0].shape[:2]
    assert answer.embedding is not None and np.isfinite(answer.embedding).all()
    rng = np.random.default_rng(0)
    examined = [(i, rng.integers(0, len(SMALL_MAP), i.shape[:2], dtype=np.uint8)) for i in images]
    for precision, share in (("fp16", 0.62), ("int8", 0.6)):
        small = reduced(
            bundle, precision, calibration=images[:4], examination=examined[:2], max_loss=1.0
        )
        assert not small.reasons, small.reasons
        assert len(small.bundle.onnx) < share * len(bundle.onnx)


@pytest.mark.parametrize("name", SIZES)
def test_segformers_are_as_large_as_published(name):
    with torch.device("meta"):
        network = NETWORKS[name](19)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(PAPER[name], abs=0.15)


@pytest.mark.parametrize(("name", "published"), [("segformer_b0", 8.4), ("segformer_b2", 62.4)])
def test_segformers_compute_as_much_as_published(name, published):
    """Billions of multiplications with an addition, 512x512, ADE20K's 150 classes (table 1)."""
    how = Preprocessing(height=512, width=512)
    with torch.device("meta"):
        network = NETWORKS[name](150).eval()
        assert gflops(network, how) / 2 == pytest.approx(published, abs=0.1)


def test_the_shipped_weights_of_the_fast_cnn_keep_loading():
    network = build_network("fast_cnn", len(CITYSCAPES), seed=0)
    load_weights(network, weights_from_bytes(EDGE_WEIGHTS.read_bytes(), "shipped"), "shipped")


def test_a_name_that_is_none_is_told_which_there_are():
    with pytest.raises(ConfigError, match=r"training\.network: no 'unet'; .*segformer_b5"):
        build_network("unet", 3, seed=0)


def test_no_student_waits_for_transformers():
    """It takes seconds to load and a hundred MiB, and is asked for nothing."""
    code = (
        "import sys; from lifelong.training.networks import build_network\n"
        "build_network('segformer_b0', 3, seed=0); print('transformers' in sys.modules)"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == "False"
