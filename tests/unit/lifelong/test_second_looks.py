"""EDGE-07: a second look at the mirrored picture, turned back before it is compared."""

import numpy as np

from lifelong.hard_examples import disagreement
from lifelong.labels.second_looks import mirrored_look
from lifelong.segmenter import OnnxSegmenter
from tests.builders import an_image
from tests.tiny_bundle import tiny_bundle


class LeftIsRoad:
    """A model that takes the left half of every picture for class 0, whatever it shows."""

    def __init__(self, inner):
        self.inner = inner

    def segment(self, image):
        prediction = self.inner.segment(image)
        prediction.mask[:, : image.shape[1] // 2] = 0
        return prediction


def test_edge_07_a_model_that_looks_at_colours_alone_agrees_with_its_mirror_image():
    image = an_image(2, height=32, width=48)  # twice the network's size: no pixel between cells
    segmenter = OnnxSegmenter(tiny_bundle(), threads=1)
    first, second = segmenter.segment(image), mirrored_look(segmenter, image)
    assert second.mask.shape == first.mask.shape
    assert disagreement(first, second) < 0.02
    np.testing.assert_allclose(second.entropy, first.entropy, atol=1e-4)


def test_edge_07_a_model_that_looks_at_places_disagrees_with_its_mirror_image():
    image = an_image(2, height=32, width=48)
    segmenter = LeftIsRoad(OnnxSegmenter(tiny_bundle(), threads=1))
    plain = segmenter.inner.segment(image).mask
    assert (plain[:, 24:] != 0).any()
    assert disagreement(segmenter.segment(image), mirrored_look(segmenter, image)) > 0.2
