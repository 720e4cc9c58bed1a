"""LLL-04: BWT and forgetting of a loop that runs on, held against the formulas of the papers."""

import numpy as np
import pytest

from lifelong.errors import ShapeError
from lifelong.forgetting import (
    backward_transfer,
    backward_transfer_by_row,
    forgetting,
    forgetting_by_row,
)


@pytest.mark.parametrize("seed", range(5))
def test_lll_04_one_new_task_a_row_gives_the_papers_figures(seed):
    tasks = 6
    matrix = np.random.default_rng(seed).uniform(0.1, 0.9, (tasks, tasks))
    backward = backward_transfer_by_row(matrix, range(tasks))
    lost = forgetting_by_row(matrix, range(tasks))
    assert np.isnan(backward[0]) and np.isnan(lost[0]), "one task: nothing to transfer"
    for t in range(1, tasks):
        square = matrix[: t + 1, : t + 1]
        assert backward[t] == pytest.approx(backward_transfer(square))
        assert lost[t] == pytest.approx(forgetting(square))


def test_lll_04_rows_that_teach_nothing_new_count_the_last_task_as_well():
    matrix = np.array([[0.6, 0.1], [0.5, 0.7], [0.55, 0.6], [0.7, 0.65]])
    backward = backward_transfer_by_row(matrix, [0, 1])
    assert backward[2] == pytest.approx(((0.55 - 0.6) + (0.6 - 0.7)) / 2)
    assert backward[3] == pytest.approx(((0.7 - 0.6) + (0.65 - 0.7)) / 2)
    assert forgetting_by_row(matrix, [0, 1])[3] == pytest.approx(((0.6 - 0.7) + (0.7 - 0.65)) / 2)


def test_lll_04_tasks_nobody_learned_and_cells_nobody_measured_count_for_nothing():
    nan = np.nan
    matrix = np.array([[0.6, nan, 0.3], [0.5, 0.7, 0.3], [0.4, nan, 0.2], [0.3, 0.6, 0.1]])
    learned = [0, 1, -1]
    assert backward_transfer_by_row(matrix, learned)[1:] == pytest.approx([-0.1, -0.2, -0.2])
    assert forgetting_by_row(matrix, learned)[1:] == pytest.approx([0.1, 0.2, 0.2])
    nobody = backward_transfer_by_row(matrix, [-1, -1, -1])
    assert np.isnan(nobody).all()


def test_lll_04_a_task_learned_where_it_was_not_measured_has_no_bwt():
    matrix = np.array([[np.nan], [0.5], [0.4]])
    assert np.isnan(backward_transfer_by_row(matrix, [0])).all()
    assert forgetting_by_row(matrix, [0])[2] == pytest.approx(0.1)


@pytest.mark.parametrize("learned", [[0], [0, 0, 0], [0, 9]])
def test_lll_04_a_row_for_every_task_is_wanted(learned):
    with pytest.raises(ShapeError):
        backward_transfer_by_row(np.zeros((2, 2)), learned)
