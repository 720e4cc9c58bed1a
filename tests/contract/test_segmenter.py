"""The segmenter contract: ONNX Runtime and a plain numpy network give the same answer.

Also run for exported networks by `tests/unit/lifelong/training`; here the network is small enough
to be written out in numpy.
"""

import numpy as np
import pytest

from lifelong.preprocessing import at_picture_size, enlarged, network_input, softmax
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, an_image
from tests.tiny_bundle import tiny_bundle, tiny_weights


@pytest.mark.parametrize("label_map", [SMALL_MAP, CITYSCAPES], ids=["small", "cityscapes"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_edge_01_onnx_answers_as_the_numpy_network_does(label_map, seed):
    image = an_image(seed)
    bundle = tiny_bundle(label_map, seed)
    weights, bias = tiny_weights(label_map, seed)

    batch = network_input(image, bundle.manifest.preprocessing)[0]
    logits = np.einsum("co,ohw->chw", weights[:, :, 0, 0], batch) + bias[:, None, None]
    segmenter = OnnxSegmenter(bundle, threads=1)
    actual = segmenter.logits(image)
    assert actual == pytest.approx(logits, abs=1e-5)

    height, width = image.shape[:2]
    large = np.stack([enlarged(plane, height, width) for plane in actual])
    probabilities = softmax(actual).astype(np.float64)
    doubt = -(probabilities * np.log(probabilities)).sum(axis=0) / np.log(len(label_map))
    prediction = segmenter.segment(image)
    assert np.array_equal(prediction.mask, large.argmax(axis=0))
    assert prediction.entropy == pytest.approx(doubt, abs=1e-6)
    assert prediction.confidence == pytest.approx(probabilities.max(axis=0), abs=1e-6)
    assert at_picture_size(prediction).entropy == pytest.approx(
        enlarged(doubt.astype(np.float32), height, width), abs=1e-6
    )
