"""EDGE-07: which policies look twice, with which model, and what happens when one cannot answer."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge.second_looks import second_look_for
from lifelong.errors import ModelOutputError
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
    running: object = None
    previous: object = None


FRAME = a_frame(1)


@pytest.mark.parametrize("policy", ["entropy", "novelty", "random", "edge_only", "ibt"])
def test_other_policies_never_look_twice(policy):
    assert second_look_for(policy, InMemory(Answers(a_mask()))) is None


def test_edge_07_flip_consistency_asks_the_running_model_about_the_mirrored_picture():
    running = Answers(a_mask())
    second = second_look_for("flip_consistency", InMemory(running))(FRAME)
    assert np.array_equal(running.asked[0], FRAME.image[:, ::-1])
    assert np.array_equal(second.mask, a_mask()[:, ::-1])


def test_edge_07_disagreement_asks_the_previous_model_about_the_picture():
    running, previous = Answers(a_mask(1)), Answers(a_mask(2))
    models = InMemory(running, previous)
    look = second_look_for("disagreement", models)
    assert np.array_equal(look(FRAME).mask, a_mask(2))
    assert np.array_equal(previous.asked[0], FRAME.image)
    assert not running.asked
    models.previous = None  # a first model follows none
    assert look(FRAME) is None


@pytest.mark.parametrize("policy", ["flip_consistency", "disagreement"])
def test_edge_07_a_second_look_that_fails_costs_neither_frame_nor_node(policy):
    look = second_look_for(policy, InMemory(Breaks(), Breaks()))
    assert look(FRAME) is None
    assert second_look_for(policy, InMemory())(replace(FRAME, sequence=2)) is None
