"""`OnnxSegmenter`: what it answers, and how it says no."""

import numpy as np
import pytest

from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError
from lifelong.model_bundle import BundleManifest, make_bundle
from lifelong.onnx_runtime import onnxruntime
from lifelong.preprocessing import Preprocessing, at_picture_size
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmenter import CPU, OnnxSegmenter, chosen_provider
from tests.builders import SMALL_MAP, an_image
from tests.tiny_bundle import tiny_bundle, tiny_onnx, tiny_weights


def manifest(label_map=SMALL_MAP, height=16, width=24) -> BundleManifest:
    return BundleManifest(
        label_map=label_map,
        preprocessing=Preprocessing(height=height, width=width),
        network="tiny",
        weights_sha256="0" * 64,
    )


@pytest.mark.parametrize(("height", "width"), [(48, 64), (1, 1), (7, 301), (16, 24)])
def test_a_picture_of_any_size_is_answered_at_its_own_size(height, width):
    prediction = OnnxSegmenter(tiny_bundle(), threads=1).segment(
        an_image(height=height, width=width)
    )
    large = at_picture_size(prediction)
    for plane in (prediction.mask, large.confidence, large.entropy, large.margin):
        assert plane.shape == (height, width)
    assert prediction.entropy.shape == (16, 24)  # the network's own, which knows no finer
    assert prediction.mask.max() < len(SMALL_MAP)
    assert prediction.version_id == tiny_bundle().version_id


def test_equal_pictures_get_equal_answers():
    segmenter = OnnxSegmenter(tiny_bundle(), threads=1)
    first, second = segmenter.segment(an_image(3)), segmenter.segment(an_image(3))
    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.entropy, second.entropy)


def test_nan_logits_are_an_error_and_not_a_mask():
    weights, bias = tiny_weights(SMALL_MAP)
    broken = OnnxSegmenter(tiny_bundle(weights=(weights, bias * np.nan)), threads=1)
    with pytest.raises(ModelOutputError, match="NaN"):
        broken.segment(an_image())


def test_bytes_that_are_no_onnx_model_are_refused():
    with pytest.raises(ModelLoadError, match="cannot load"):
        OnnxSegmenter(make_bundle(manifest(), b"not a model"), threads=1)


def test_a_model_with_another_number_of_classes_than_promised_is_an_error():
    onnx = tiny_onnx(*tiny_weights(SMALL_MAP))
    segmenter = OnnxSegmenter(make_bundle(manifest(CITYSCAPES), onnx), threads=1)
    with pytest.raises(ModelOutputError, match=r"expected logits \(1, 19"):
        segmenter.segment(an_image())


def test_a_model_of_another_input_size_than_promised_is_an_error():
    onnx = tiny_onnx(*tiny_weights(SMALL_MAP), height=16, width=24)
    segmenter = OnnxSegmenter(make_bundle(manifest(height=32), onnx), threads=1)
    with pytest.raises(ModelOutputError):
        segmenter.segment(an_image())


@pytest.mark.parametrize(
    ("preferred", "here", "chosen"),
    [
        (["CUDAExecutionProvider", CPU], [CPU], CPU),
        (["CUDAExecutionProvider"], [CPU], CPU),
        ([], [CPU], CPU),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU],
            ["CUDAExecutionProvider", CPU],
            "CUDAExecutionProvider",
        ),
        ([CPU, "CUDAExecutionProvider"], ["CUDAExecutionProvider", CPU], CPU),
    ],
)
def test_the_first_provider_that_is_here_is_chosen(monkeypatch, preferred, here, chosen):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
    assert chosen_provider(preferred) == chosen


def test_a_provider_that_nobody_knows_is_told_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no 'CPU'; it knows .*CPUExecutionProvider"):
        OnnxSegmenter(tiny_bundle(), threads=1, providers=("CPU",))


def test_the_provider_in_use_is_told():
    segmenter = OnnxSegmenter(tiny_bundle(), threads=1, providers=("CUDAExecutionProvider", CPU))
    assert segmenter.provider in onnxruntime.get_available_providers()
    assert OnnxSegmenter(tiny_bundle(), threads=1).provider == CPU
