"""LLL-04: ACC, BWT, FWT, forgetting and plasticity by the papers' formulas; Ianvs' by its own."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lifelong import forgetting as module
from lifelong.errors import ShapeError
from lifelong.forgetting import (
    accuracy_matrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forgetting_per_task,
    forward_transfer,
    ianvs_compatible_bwt,
    ianvs_compatible_fwt,
    intransigence,
    plasticity,
)

# Three tasks; after each round (rows) the mIoU on each (columns).
R = np.array([[0.80, 0.30, 0.20], [0.70, 0.90, 0.25], [0.75, 0.60, 0.85]])
UNTRAINED = np.array([0.05, 0.10, 0.05])


def test_the_doctests_hold():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("expected", "measure"),
    [
        ((0.75 + 0.60 + 0.85) / 3, average_accuracy),
        (((0.75 - 0.80) + (0.60 - 0.90)) / 2, backward_transfer),
        (((0.80 - 0.75) + (0.90 - 0.60)) / 2, forgetting),
        ((0.80 + 0.90 + 0.85) / 3, plasticity),
    ],
)
def test_LLL_04_a_three_by_three_matrix_worked_by_hand(expected, measure):  # noqa: N802
    assert expected == pytest.approx(measure(R))


def test_LLL_04_forward_transfer_is_the_head_start_before_a_task_is_learned():  # noqa: N802
    assert pytest.approx(forward_transfer(R, UNTRAINED)) == ((0.30 - 0.10) + (0.25 - 0.05)) / 2


def test_LLL_04_intransigence_is_what_joint_training_would_have_gained():  # noqa: N802
    joint = np.array([0.80, 0.95, 0.90])
    assert pytest.approx(intransigence(R, joint)) == (0.0 + 0.05 + 0.05) / 3


def test_forgetting_starts_at_the_best_moment_not_at_the_first():
    rising = np.array([[0.5, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.6, 0.7]])
    assert pytest.approx(forgetting_per_task(rising).tolist()) == [0.2, 0.0]
    assert pytest.approx(backward_transfer(rising)) == 0.05  # BWT sees 0.5 -> 0.6: no loss


def test_what_was_not_measured_before_a_task_was_met_is_passed_over():
    partial = accuracy_matrix([{"day": 0.6}, {"day": 0.5, "fog": 0.7}], ["day", "fog"])
    assert pytest.approx(forgetting(partial)) == 0.1
    assert pytest.approx(backward_transfer(partial)) == -0.1


def test_one_task_alone_has_nothing_to_transfer():
    one = np.array([[0.6]])
    assert 0.6 == average_accuracy(one) == plasticity(one)
    values = (backward_transfer(one), forgetting(one), forward_transfer(one, np.zeros(1)))
    assert all(math.isnan(value) for value in values)


def _ianvs(rows):
    """The double loop of Ianvs, written out again from its description."""
    tasks = rows.shape[1]
    bwt = sum(rows[i + 1, j] - rows[i, j] for i in range(tasks) for j in range(tasks))
    fwt = sum(rows[i, i] - rows[0, i] for i in range(tasks))
    return bwt / tasks**2, fwt / tasks


@given(
    st.integers(1, 5).flatmap(lambda n: arrays(np.float64, (n + 1, n), elements=st.floats(0, 1)))
)
def test_LLL_04_the_ianvs_compatible_numbers_are_those_of_its_double_loop(rows):  # noqa: N802
    bwt, fwt = _ianvs(rows)
    assert bwt == pytest.approx(ianvs_compatible_bwt(rows))
    assert fwt == pytest.approx(ianvs_compatible_fwt(rows))


def test_LLL_04_the_ianvs_number_is_not_backward_transfer():  # noqa: N802
    # Everything is learned and half of it forgotten again, yet Ianvs' number is positive.
    rows = np.array([[0.0, 0.0], [0.8, 0.0], [0.4, 0.8]])
    assert pytest.approx(backward_transfer(rows[1:])) == -0.4
    assert ianvs_compatible_bwt(rows) > 0.0


@pytest.mark.parametrize("shape", [(0, 0), (2, 3), (2,)])
def test_a_matrix_that_is_not_square_is_refused(shape):
    with pytest.raises(ShapeError):
        average_accuracy(np.zeros(shape))


def test_wrong_numbers_of_baselines_and_rows_are_refused():
    with pytest.raises(ShapeError):
        forward_transfer(R, np.zeros(2))
    with pytest.raises(ShapeError):
        ianvs_compatible_bwt(R)
