"""EDGE-07: which policies look twice, with which model, and what happens when one cannot answer."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge.second_looks import second_look_for
from lifelong.errors import ModelOutputError
from lifelong.labels.second_looks import Segmenter
from tests.builders import a_frame, a_mask, a_prediction


class Answers:
    """A model that gives every picture the same mask, and remembers what it was asked."""

    def __init__(self, mask):
        self.mask, self.asked = mask, []

    def segment(self, image):
        self.asked.append(image)
        return a_prediction(mask=self.mask)


class Breaks:
    def segment(self, image):
        raise ModelOutputError("NaN")


@dataclass
class InMemory:
    running: Segmenter | None = None
    previous: Segmenter | None = None


FRAME = a_frame(1)


def look_at_frame(policy, models, frame=FRAME):
    look = second_look_for(policy, models)
    assert look is not None
    return look(frame)


@pytest.mark.parametrize("policy", ["entropy", "novelty", "random", "edge_only", "ibt"])
def test_other_policies_never_look_twice(policy):
    assert second_look_for(policy, InMemory(Answers(a_mask()))) is None


def test_edge_07_flip_consistency_asks_the_running_model_about_the_mirrored_picture():
    running = Answers(a_mask())
    second = look_at_frame("flip_consistency", InMemory(running))
    assert np.array_equal(running.asked[0], FRAME.image[:, ::-1])
    assert np.array_equal(second.mask, a_mask()[:, ::-1])


def test_edge_07_disagreement_asks_the_previous_model_about_the_picture():
    running, previous = Answers(a_mask(1)), Answers(a_mask(2))
    models = InMemory(running, previous)
    assert np.array_equal(look_at_frame("disagreement", models).mask, a_mask(2))
    assert np.array_equal(previous.asked[0], FRAME.image)
    assert not running.asked
    models.previous = None  # a first model follows none
    assert look_at_frame("disagreement", models) is None


@pytest.mark.parametrize("policy", ["flip_consistency", "disagreement"])
def test_edge_07_a_second_look_that_fails_costs_neither_frame_nor_node(policy):
    assert look_at_frame(policy, InMemory(Breaks(), Breaks())) is None
    assert look_at_frame(policy, InMemory(), replace(FRAME, sequence=2)) is None
