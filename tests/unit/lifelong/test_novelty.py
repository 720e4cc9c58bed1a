"""EDGE-06: how new is a picture to a model, and to which of its classes; total on every input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong.novelty import Acquaintance, class_distances, novelty_of
from lifelong.records.novelty import Familiarity

any_number = st.floats(allow_nan=True, allow_infinity=True, width=32)
DAY, NIGHT = (0.0, 0.0, 0.0), (10.0, 0.0, 0.0)


def known(**changes) -> Familiarity:
    usual = Familiarity(
        prototypes={"day": DAY, "night": NIGHT},
        distance_quantiles={"0.50": 1.0, "0.95": 2.0},
        class_distances={0: 4.0, 1: 8.0},
    )
    return replace(usual, **changes)


def embedding(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (DAY, 0.0),
        (NIGHT, 0.0),  # any prototype will do
        ((0.0, 2.0, 0.0), 0.5),  # the model's own 0.95 quantile
        ((10.0, 0.0, 6.0), 0.75),
    ],
)
def test_edge_06_novelty_is_the_distance_to_the_nearest_prototype(where, expected):
    assert Acquaintance(known()).novelty(embedding(*where)) == pytest.approx(expected)


def test_a_bundle_without_prototypes_or_embedding_cannot_say():
    assert Acquaintance(Familiarity()).novelty(embedding(1.0)) is None
    assert Acquaintance(known()).novelty(None) is None
    assert Acquaintance(known(distance_quantiles={})).novelty(embedding(*DAY)) is None
    assert Acquaintance(Familiarity()).class_novelty(np.ones((2, 2), np.float32), LOGITS) == {}
    assert Acquaintance(known()).class_novelty(None, LOGITS) == {}


@pytest.mark.parametrize(
    "odd", [(math.nan, 0.0, 0.0), (math.inf, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0, 0.0, 0.0)]
)
def test_what_is_no_embedding_is_as_novel_as_can_be(odd):
    novelty = Acquaintance(known()).novelty(embedding(*odd))
    assert novelty is not None and 0.999 < novelty < 1.0


@given(distance=any_number, other=any_number, usual=any_number)
def test_edge_06_novelty_is_total_within_bounds_and_rises_with_the_distance(distance, other, usual):
    near, far = sorted((abs(distance), abs(other)), key=lambda d: (math.isnan(d), d))
    assert 0.0 <= novelty_of(distance, usual) < 1.0
    assert novelty_of(near, usual) <= novelty_of(far, usual)


# Two classes, left and right, on a 4 x 4 grid of logits.
LOGITS = np.stack([np.tile([1.0, 1.0, 0.0, 0.0], (4, 1)), np.full((4, 4), 0.5)]).astype(np.float32)


def test_edge_06_a_class_is_as_novel_as_its_strangest_cell():
    strangeness = np.array([[1.0, 8.0], [4.0, 2.0]], dtype=np.float32)
    assert class_distances(strangeness, LOGITS) == {0: 4.0, 1: 8.0}
    assert Acquaintance(known()).class_novelty(strangeness, LOGITS) == {0: 0.5, 1: 0.5}
    strange = Acquaintance(known(class_distances={0: 4.0}))
    assert strange.class_novelty(strangeness * 3, LOGITS) == {0: 0.75}  # 1 was hardly ever seen


@pytest.mark.parametrize("grid", [(0, 0), (1, 1), (2, 2), (3, 5), (9, 1)])
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_class_novelty_answers_for_every_grid_and_value(grid, value):
    strangeness = np.full(grid, value, dtype=np.float32)
    for class_id, novelty in Acquaintance(known()).class_novelty(strangeness, LOGITS).items():
        assert class_id in (0, 1)
        assert 0.0 <= novelty < 1.0
        assert value == 0.0 or novelty > 0.999
