"""Fewer bits: the same outputs, a measured loss, and no bundle that loses too much (LLL-12)."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from cloud.cli import app
from cloud.learning.precision import fp16_onnx, int8_onnx, reduced
from lifelong.errors import ConfigError
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle, read_bundle
from lifelong.preprocessing import Preprocessing
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, an_image

HOW = Preprocessing(height=16, width=24)
CLASSES = len(SMALL_MAP)


def two_output_bundle(*, gain: float = 1.0, named: bool = True) -> ModelBundle:
    """Two convolutions to `logits`, and their mean as a second output `embedding` (1, 8)."""
    random = np.random.default_rng(3)
    arrays = {
        "first": gain * random.normal(size=(8, 3, 3, 3)),
        "first_bias": random.normal(size=8),
        "last": random.normal(size=(CLASSES, 8, 1, 1)),
        "last_bias": random.normal(size=CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first", "first_bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "last", "last_bias"], ["logits"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["embedding"]),
    ]
    if named:
        for number, node in enumerate(nodes):
            node.name = f"node_{number}"
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 24])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, 16, 24]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 8]),
        ],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = BundleManifest(
        label_map=SMALL_MAP, preprocessing=HOW, network="two", weights_sha256="0" * 64
    )
    return make_bundle(manifest, model.SerializeToString())


def pictures(first: int, count: int = 4):
    return [an_image(seed) for seed in range(first, first + count)]


def examined(bundle: ModelBundle, first: int = 10, count: int = 4):
    """Pictures whose truth is what the full bundle says of them: its mIoU is 1."""
    segmenter = OnnxSegmenter(bundle, threads=1)
    return [(image, segmenter.segment(image).mask) for image in pictures(first, count)]


def reduce(bundle: ModelBundle, precision: str, **changes):
    fields = {"calibration": pictures(0), "max_loss": 0.05, **changes}
    if "examination" not in changes:
        fields["examination"] = examined(bundle)
    return reduced(bundle, precision, **fields)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("named", [True, False])
def test_lll_12_a_reduced_bundle_keeps_every_output_and_says_what_it_lost(precision, named):
    full = two_output_bundle(named=named)
    answer = reduce(full, precision)
    assert answer.reasons == ()
    manifest = answer.bundle.manifest
    assert manifest.precision == precision
    assert manifest.precision_loss == round(answer.loss.miou, 6)
    assert 0.9 < answer.loss.agreement <= 1.0
    assert answer.loss.pictures == 4
    again = read_bundle(answer.bundle.to_bytes(), "reduced")
    assert again == answer.bundle
    outputs = onnx.load_from_string(again.onnx).graph.output
    assert [output.name for output in outputs] == ["logits", "embedding"]
    assert all(o.type.tensor_type.elem_type == TensorProto.FLOAT for o in outputs)
    given, wanted = (OnnxSegmenter(b, threads=1).logits(an_image(20)) for b in (again, full))
    assert np.abs(given - wanted).max() < 0.05 * np.abs(wanted).max()


def test_lll_12_int8_computes_in_int8_and_fp16_in_halves():
    full = two_output_bundle()
    kinds = {
        precision: {
            tensor.data_type
            for tensor in onnx.load_from_string(
                reduce(full, precision).bundle.onnx
            ).graph.initializer
        }
        for precision in ("fp16", "int8")
    }
    assert TensorProto.FLOAT16 in kinds["fp16"] and TensorProto.FLOAT not in kinds["fp16"]
    assert TensorProto.INT8 in kinds["int8"]


def test_int8_weights_have_a_scale_a_channel_and_leave_a_bit_free():
    model = onnx.load_from_string(int8_onnx(two_output_bundle().onnx, HOW, pictures(0)))
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (weights,) = (a for a in arrays.values() if a.dtype == np.int8 and a.ndim == 4)
    assert weights.shape == (8, 3, 3, 3)
    assert weights.min() >= -64 and weights.max() <= 64
    assert any(a.dtype == np.float32 and a.shape == (8,) for n, a in arrays.items() if "scale" in n)


def test_the_last_layer_is_not_quantised_so_that_confidence_has_fine_steps():
    full = two_output_bundle()
    logits = OnnxSegmenter(reduce(full, "int8").bundle, threads=1).logits(an_image(20))
    assert len(np.unique(logits)) > 256


@pytest.mark.parametrize("make", [fp16_onnx, int8_onnx])
def test_equal_pictures_give_equal_bytes(make):
    data = two_output_bundle().onnx
    assert make(data, HOW, pictures(0)) == make(data, HOW, pictures(0))


def test_int8_is_calibrated_on_the_pictures_it_is_given():
    data = two_output_bundle().onnx
    dark = [image // 8 for image in pictures(0)]
    assert int8_onnx(data, HOW, pictures(0)) != int8_onnx(data, HOW, dark)


def test_lll_12_a_bundle_that_loses_too_much_stays_as_it_was_and_says_why():
    full = two_output_bundle()
    dark = [np.zeros_like(image) for image in pictures(0)]  # calibrated on nothing but black
    answer = reduce(full, "int8", calibration=dark, max_loss=0.01)
    assert answer.bundle is full
    assert answer.loss.miou > 0.01
    (reason,) = answer.reasons
    assert "int8 loses" in reason and "1.00 are allowed" in reason


def test_lll_12_weights_too_large_for_a_half_are_noticed():
    full = two_output_bundle(gain=60_000.0)
    answer = reduce(full, "fp16")
    assert answer.bundle is full
    assert "fp16 loses" in answer.reasons[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_model_that_cannot_be_converted_stays_and_says_why(precision):
    manifest = two_output_bundle().manifest
    broken = make_bundle(manifest, b"not a model")
    answer = reduce(broken, precision, examination=examined(two_output_bundle()))
    assert answer.bundle is broken
    assert f"{precision} does not work: the converter failed" in answer.reasons[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"calibration": []}, "0 pictures to calibrate on"),
        ({"examination": []}, "0 to be examined"),
        (
            {"examination": [(an_image(1), np.full((48, 64), 255, dtype=np.uint8))]},
            "no labelled pixel",
        ),
    ],
)
def test_without_pictures_that_tell_the_loss_nothing_is_reduced(changes, reason):
    full = two_output_bundle()
    answer = reduce(full, "int8", **changes)
    assert answer.bundle is full and reason in answer.reasons[0]


def test_fp32_is_no_change_and_a_reduced_bundle_is_not_reduced_again():
    full = two_output_bundle()
    assert reduce(full, "fp32").bundle is full
    small = reduce(full, "int8").bundle
    again = reduce(small, "fp16")
    assert again.bundle is small and "it is int8 already" in again.reasons[0]
    with pytest.raises(ConfigError, match="no 'int4'; there are fp32, fp16, int8"):
        reduce(full, "int4")


def labelled_folder(folder, bundle, count=6):
    for name in ("images", "train_ids"):
        (folder / name).mkdir(parents=True)
    for number, (image, mask) in enumerate(examined(bundle, 0, count)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "train_ids" / f"{number}.png")
    return folder


def test_lll_12_the_command_writes_a_reduced_bundle_and_prints_the_loss(tmp_path):
    full = two_output_bundle()
    source, out = tmp_path / "full.bundle", tmp_path / "small.bundle"
    source.write_bytes(full.to_bytes())
    data = labelled_folder(tmp_path / "data", full)
    options = ["--precision", "int8", "--data", str(data), "--out", str(out), "--max-loss", "0.1"]
    result = CliRunner().invoke(app, ["models", "reduce", str(source), *options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    small = read_bundle(out.read_bytes(), "out")
    assert small.version_id == told["version_id"] != full.version_id
    assert small.manifest.precision == "int8"
    assert small.manifest.precision_loss == told["loss_of_miou"]
    assert {"entropy", "margin"} <= set(small.manifest.score_quantiles)
    assert (told["calibrated_on"], told["examined_by"]) == (3, 3)


def test_the_command_writes_nothing_when_too_much_is_lost(tmp_path):
    full = two_output_bundle()
    source, out = tmp_path / "full.bundle", tmp_path / "small.bundle"
    source.write_bytes(full.to_bytes())
    data = labelled_folder(tmp_path / "data", full)
    options = ["--precision", "int8", "--data", str(data), "--out", str(out), "--max-loss", "-1"]
    result = CliRunner().invoke(app, ["models", "reduce", str(source), *options])
    assert result.exit_code == 1
    assert "int8 loses" in result.stdout
    assert not out.exists()
