"""Raw scores become shares of right pixels that can be believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.preannotation.confidence import (
    IDENTITY,
    Calibration,
    expected_calibration_error,
    fitted,
    read_calibration,
    written,
)
from lifelong.errors import ConfigError


def regions_of(seed, count=4000):
    """Raw scores that are far too low: the true share of right pixels is their fourth root."""
    rng = np.random.default_rng(seed)
    raw = rng.random(count) ** 2
    right = np.clip(raw**0.25 + rng.normal(0, 0.1, count), 0, 1)
    return raw, right, rng.integers(1, 500, count).astype(float)


def test_pre_14_a_calibrated_score_is_the_share_of_right_pixels():
    """PRE-14: fitted on one half, the error falls on the other half."""
    raw, right, weights = regions_of(0)
    calibration = fitted(raw, right, weights, fitted_on="half of them")

    other_raw, other_right, other_weights = regions_of(1)
    before = expected_calibration_error(other_raw, other_right, other_weights)
    scores = calibration.applied(other_raw).astype(float)
    after = expected_calibration_error(scores, other_right, other_weights)

    assert before > 0.3
    assert after < 0.03


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 9)), min_size=1))
def test_pre_14_a_calibration_never_turns_the_order_round(regions):
    """PRE-14: the order of review stays; scores stay in 0 .. 1."""
    raw, right, weights = (np.array(column) for column in zip(*regions, strict=True))
    calibration = fitted(raw, right, weights, fitted_on="anything")

    scores = calibration.applied(np.linspace(0, 1, 50))

    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_the_error_of_a_worked_example():
    """Two bins: 0.9 said and half right, weight 3; 0.15 said and 0.15 right, weight 1."""
    scores, right = np.array([0.9, 0.9, 0.15]), np.array([1.0, 0.25, 0.15])

    error = expected_calibration_error(scores, right, np.array([1.0, 2.0, 1.0]))

    assert error == pytest.approx(3 / 4 * abs(0.9 - 0.5))


def test_without_regions_there_is_nothing_to_fit():
    with pytest.raises(ValueError, match="regions"):
        fitted(np.zeros(0), np.zeros(0), np.zeros(0), fitted_on="")


def test_the_identity_changes_nothing():
    assert IDENTITY.applied(np.array([0.0, 0.3, 1.0])).tolist() == pytest.approx([0.0, 0.3, 1.0])


def test_a_calibration_is_kept_as_json(tmp_path):
    calibration = Calibration(raw=(0.0, 0.5, 1.0), right=(0.1, 0.8, 0.9), fitted_on="scenes")
    written(calibration, tmp_path / "c.json")

    assert read_calibration(tmp_path / "c.json") == calibration


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"raw": [0, 1]}', '{"raw": [0, 1], "right": [1, 0]}', '{"raw": [0], "right": [1]}'],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)

    with pytest.raises(ConfigError, match=r"c\.json: not a calibration .*calibrate_drafts"):
        read_calibration(tmp_path / "c.json")
