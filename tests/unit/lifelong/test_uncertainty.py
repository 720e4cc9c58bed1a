"""Entropy, margin and least confidence per pixel: hand-worked values and edge inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.preprocessing import softmax
from lifelong.uncertainty import (
    entropy,
    least_confidence,
    margin,
    probabilities_and_entropy,
)


def column(*p: float) -> np.ndarray:
    return np.array(p, dtype=np.float32)[:, None, None]


@pytest.mark.parametrize(
    ("p", "doubt", "gap"),
    [
        ((0.5, 0.5), 1.0, 0.0),
        ((1.0, 0.0), 0.0, 1.0),
        ((0.75, 0.25), 0.8112781, 0.5),
        ((0.25, 0.25, 0.25, 0.25), 1.0, 0.0),
        ((1.0,), 0.0, 1.0),
    ],
)
def test_hand_worked_values(p, doubt, gap):
    assert entropy(column(*p)).item() == pytest.approx(doubt, abs=1e-6)
    assert margin(column(*p)).item() == pytest.approx(gap, abs=1e-6)
    assert least_confidence(column(*p)).item() == pytest.approx(1 - max(p), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=8).map(
        lambda values: np.array(values, dtype=np.float32)[:, None, None]
    )
)
def test_any_logits_give_values_from_zero_to_one(logits):
    probabilities = softmax(logits)
    for values in (entropy(probabilities), margin(probabilities), least_confidence(probabilities)):
        assert values.dtype == np.float32
        assert values.shape == (1, 1)
        assert 0.0 <= values.item() <= 1.0


@pytest.mark.parametrize("classes", [1, 2, 19])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 1e4])
def test_edge_01_entropy_straight_from_logits_equals_a_numpy_reference(classes, spread):
    logits = np.random.default_rng(classes).normal(0, 1, (classes, 9, 7)) * spread
    given = logits.astype(np.float32)
    shares, doubt = probabilities_and_entropy(given)
    exact = np.exp(given.astype(np.float64) - given.max(axis=0))
    exact /= exact.sum(axis=0)
    terms = exact * np.log(np.maximum(exact, 1e-300))
    expected = -terms.sum(axis=0) / np.log(classes) if classes > 1 else np.zeros((9, 7))
    assert shares == pytest.approx(exact, abs=1e-6)
    assert shares == pytest.approx(softmax(given), abs=1e-6)
    assert doubt == pytest.approx(expected, abs=1e-6)
    assert doubt.dtype == shares.dtype == np.float32
