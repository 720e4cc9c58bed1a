"""KB-05: a picture is given to the best known learning task by data, else to none."""

import doctest
from dataclasses import replace

import numpy as np
import pytest

from lifelong import allocation as module
from lifelong.allocation import Allocator, Centre, usual_distance
from lifelong.records.novelty import Familiarity

K = 16
FAR = 12.0


def familiarity(**centres: np.ndarray) -> Familiarity:
    """Tasks around centres (K + 1,), with distances as unit Gaussians have them."""
    middle = float(np.sqrt(K + 1))
    return Familiarity(
        prototypes={name: tuple(centre.tolist()) for name, centre in centres.items()},
        distance_quantiles={"0.50": middle, "0.95": 1.3 * middle},
    )


def at(place: int, distance: float = FAR, rest: float = 0.0) -> np.ndarray:
    centre = np.zeros(K + 1)
    centre[place] = distance
    centre[-1] = rest
    return centre


def pictures(centre: np.ndarray, count: int, seed: int) -> np.ndarray:
    return centre + np.random.default_rng(seed).normal(size=(count, K + 1))


def an_allocator(**changes) -> Allocator:
    known = familiarity(day=at(0), night=at(1), fog=at(2))
    return Allocator(known, **({"unseen_from": 0.6} | changes))


def test_the_doctests_hold():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("place", "task"), [(0, "day"), (1, "night"), (2, "fog")])
def test_kb_05_pictures_go_to_the_task_they_resemble(place, task):
    allocator = an_allocator()
    said = [allocator.allocate(row) for row in pictures(at(place), 100, place)]
    assert [one.task for one in said] == [task] * 100
    assert min(one.confidence for one in said) > 0.9


def test_kb_05_what_resembles_no_task_is_of_none_and_says_which_is_nearest():
    said = [an_allocator().allocate(row) for row in pictures(at(0, 3 * FAR), 50, 4)]
    assert {(one.task, one.condition_id, one.nearest) for one in said} == {(None, "", "day")}
    assert min(one.novelty for one in said) >= 0.6


def test_how_far_a_picture_lies_from_the_plane_does_not_say_where_it_belongs():
    """CamVid's dusk, by a model packed with day and dusk: the plane said dusk, the rest day."""
    known = familiarity(day=at(0, rest=24.0), night=at(1, rest=18.0))
    allocator = Allocator(replace(known, distance_quantiles={"0.95": 20.0}), unseen_from=0.6)
    assert allocator.allocate(at(1, rest=34.0)).task == "night"


def test_confidence_is_the_posterior_and_half_between_two_tasks():
    said = an_allocator(unseen_from=0.9).allocate((at(0) + at(1)) / 2.0)
    assert said.confidence == pytest.approx(0.5)
    beside = an_allocator(unseen_from=0.9).allocate(0.55 * at(0) + 0.45 * at(1))
    # ln odds = (|x - night|² - |x - day|²) / 2 = (0.55² - 0.45²) · 144 · 2 / 2
    assert beside.confidence == pytest.approx(1.0 / (1.0 + np.exp(-0.1 * FAR**2)))


def test_an_unseen_picture_is_of_the_condition_it_lies_in_whatever_its_distance_from_the_plane():
    centre = at(5, 2 * FAR)
    allocator = an_allocator(centres=[Centre("c-1", centre[:-1]), Centre("c-2", -centre[:-1])])
    said = [allocator.allocate(row) for row in pictures(at(5, 2 * FAR, rest=90.0), 50, 6)]
    assert {one.condition_id for one in said} == {"c-1"}
    assert allocator.allocate(at(7, 2 * FAR)).condition_id == ""


def test_prototypes_of_merged_tasks_are_one_task():
    merged = {"night": "dark", "fog": "dark"}
    allocator = an_allocator(name_now=lambda task: merged.get(task, task), unseen_from=0.9)
    assert allocator.tasks == ("day", "dark")
    between = allocator.allocate((at(1) + at(2)) / 2.0)
    assert (between.task, between.confidence > 0.99) == ("dark", True)


@pytest.mark.parametrize(
    "known",
    [
        Familiarity(),
        Familiarity(prototypes={"day": (0.0, 1.0)}),  # nothing is said of usual distances
        Familiarity(prototypes={"a": (0.0,), "b": (0.0, 1.0)}, distance_quantiles={"0.95": 1.0}),
    ],
)
def test_kb_05_a_model_that_cannot_say_says_nothing(known):
    allocator = Allocator(known, unseen_from=0.6)
    assert not allocator.can_tell
    assert allocator.allocate(np.zeros(2)) is None


@pytest.mark.parametrize("row", [np.zeros(3), np.full(K + 1, np.nan)])
def test_embeddings_that_fit_no_prototype_are_of_no_task(row):
    assert an_allocator().allocate(row) is None


def test_two_pictures_of_one_condition_lie_as_far_apart_as_is_said():
    rows = pictures(at(0), 2000, 9)[:, :-1]
    apart = np.sqrt(((rows[:1000] - rows[1000:]) ** 2).sum(axis=1).mean())
    assert apart == pytest.approx(usual_distance(K), rel=0.02)
