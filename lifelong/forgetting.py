"""What learning something new did to the old: ACC, BWT, FWT, forgetting, plasticity.

All are read from the accuracy matrix R (T, T), float64: R[t, i] = mIoU on learning task i after
the round that taught task t; rows and columns in the order in which the tasks were met. Row and
column numbers below start at 1, as in the papers. With fewer than two tasks there is nothing to
transfer, and what is a mean over earlier tasks is NaN.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError

Matrix = NDArray[np.float64]


def accuracy_matrix(rounds: Sequence[Mapping[str, float]], tasks: Sequence[str]) -> Matrix:
    """R from one mapping of learning task to mIoU for each round; NaN where nothing was measured.

    >>> accuracy_matrix([{"day": 0.6}, {"day": 0.5, "fog": 0.7}], ["day", "fog"]).tolist()
    [[0.6, nan], [0.5, 0.7]]
    """
    return np.array([[row.get(task, np.nan) for task in tasks] for row in rounds], dtype=np.float64)


def average_accuracy(matrix: Matrix) -> float:
    """ACC = 1/T · Σ_i R[T,i]: how good the last model is on everything (Lopez-Paz & Ranzato 2017).

    >>> round(average_accuracy(np.array([[0.6, 0.1], [0.5, 0.7]])), 3)
    0.6
    """
    return float(_square(matrix)[-1].mean())


def backward_transfer(matrix: Matrix) -> float:
    """Mean change on earlier tasks since they were learned (Lopez-Paz & Ranzato 2017).

    BWT = 1/(T-1) · Σ_{i<T} (R[T,i] - R[i,i]); negative: the last model has forgotten.

    >>> round(backward_transfer(np.array([[0.6, 0.1], [0.5, 0.7]])), 3)
    -0.1
    """
    square = _square(matrix)
    return _mean((square[-1] - np.diag(square))[:-1])


def forward_transfer(matrix: Matrix, untrained: NDArray[np.float64]) -> float:
    """Mean head start on tasks before they are learned (Lopez-Paz & Ranzato 2017).

    FWT = 1/(T-1) · Σ_{i>1} (R[i-1,i] - b_i), b_i = mIoU of an untrained network on task i.

    Args:
        untrained: (T,), float64, the b_i.

    >>> round(forward_transfer(np.array([[0.6, 0.3], [0.5, 0.7]]), np.array([0.05, 0.1])), 3)
    0.2
    """
    square = _square(matrix)
    if untrained.shape != (len(square),):
        raise ShapeError(f"expected {len(square)} baselines, got {untrained.shape}")
    return _mean(np.diag(square, k=1) - untrained[1:])


def forgetting(matrix: Matrix) -> float:
    """Mean loss on earlier tasks since they were known best (Chaudhry et al. 2018).

    F = 1/(T-1) · Σ_{i<T} f_i with f_i = max_{t<T} R[t,i] - R[T,i]; positive: forgotten. What was
    not measured (NaN) before a task was met is passed over.

    >>> round(forgetting(np.array([[0.6, 0.1, 0.1], [0.7, 0.8, 0.1], [0.5, 0.75, 0.9]])), 3)
    0.125
    """
    return _mean(forgetting_per_task(matrix))


def forgetting_per_task(matrix: Matrix) -> NDArray[np.float64]:
    """(T-1,) float64: the f_i of `forgetting`."""
    square = _square(matrix)
    if len(square) < 2:
        return np.zeros(0)
    best: NDArray[np.float64] = np.nanmax(square[:-1, :-1], axis=0)
    return np.asarray(best - square[-1, :-1])


def backward_transfer_by_row(matrix: Matrix, learned: Sequence[int]) -> NDArray[np.float64]:
    """BWT after each deployed model of a loop that runs on, where rounds are more than tasks.

    BWT_t = mean of R[t,i] - R[b_i,i] over the tasks i with b_i < t. Where each row teaches the
    next task this is `backward_transfer`, row by row.

    Args:
        matrix: (N, T), float64, one row a deployed model; NaN where nothing was measured.
        learned: (T,), b_i: the row whose model had learned task i first; below 0: none yet.

    Returns:
        (N,), float64; NaN where no earlier task was measured in both rows.

    >>> backward_transfer_by_row(np.array([[0.6, 0.1], [0.5, 0.7], [0.4, 0.8]]), [0, 1]).round(2)
    array([  nan, -0.1 , -0.05])
    """
    rows, tasks = _learned_rows(matrix, learned)
    when_learned = np.full(len(tasks), np.nan)
    known = tasks >= 0
    when_learned[known] = matrix[tasks[known], np.flatnonzero(known)]
    return _mean_of_past(matrix - when_learned, rows, tasks)


def forgetting_by_row(matrix: Matrix, learned: Sequence[int]) -> NDArray[np.float64]:
    """Forgetting after each deployed model, as `backward_transfer_by_row` has BWT.

    F_t = mean of max_{s<t} R[s,i] - R[t,i] over the tasks i with b_i < t.

    >>> forgetting_by_row(np.array([[0.6, 0.1], [0.5, 0.7], [0.4, 0.8]]), [0, 1]).round(2)
    array([ nan, 0.1 , 0.05])
    """
    rows, tasks = _learned_rows(matrix, learned)
    best = np.full_like(matrix, np.nan)
    if len(matrix) > 1:
        best[1:] = np.fmax.accumulate(matrix[:-1], axis=0)
    return _mean_of_past(best - matrix, rows, tasks)


def plasticity(matrix: Matrix) -> float:
    """How well each task was learned when it was its turn: 1/T · Σ_i R[i,i].

    Riemer et al. 2019 call it learning accuracy. A model that keeps everything and learns nothing
    has no forgetting, and no plasticity either.

    >>> round(plasticity(np.array([[0.6, 0.1], [0.5, 0.7]])), 3)
    0.65
    """
    return float(np.diag(_square(matrix)).mean())


def intransigence(matrix: Matrix, joint: NDArray[np.float64]) -> float:
    """What lifelong learning costs on new tasks: 1/T · Σ_i (a*_i - R[i,i]) (Chaudhry et al. 2018).

    Args:
        joint: (T,), float64, a*_i = mIoU on task i of a model that learned tasks 1 .. i together.

    >>> round(intransigence(np.array([[0.6, 0.1], [0.5, 0.7]]), np.array([0.6, 0.8])), 3)
    0.05
    """
    return float((joint - np.diag(_square(matrix))).mean())


def ianvs_compatible_bwt(matrix: Matrix) -> float:
    """The number that Ianvs calls BWT; not backward transfer.

    Ianvs sums R[i+1,j] - R[i,j] over all i and j of a matrix with a first row from before any
    round (T+1 rows) and divides by T². The sum telescopes: the result is the mean over tasks of
    (last - first) / T, which mixes learning a task with forgetting it. Only for comparison with
    figures that Ianvs printed.

    >>> round(ianvs_compatible_bwt(np.array([[0.1, 0.1], [0.6, 0.2], [0.5, 0.7]])), 3)
    0.25
    """
    before_first = _with_first_row(matrix)
    tasks = before_first.shape[1]
    return float((before_first[-1] - before_first[0]).sum() / tasks**2)


def ianvs_compatible_fwt(matrix: Matrix) -> float:
    """The number that Ianvs calls FWT: 1/T · Σ_i (R[i,i] - R[first,i]) over its T+1 rows.

    The row of i = 1 is the first row itself, so one of the T terms is always 0 and the value too
    small by (T-1)/T. Only for comparison with figures that Ianvs printed.

    >>> round(ianvs_compatible_fwt(np.array([[0.1, 0.1], [0.6, 0.2], [0.5, 0.7]])), 3)
    0.05
    """
    before_first = _with_first_row(matrix)
    tasks = before_first.shape[1]
    return float((np.diag(before_first[:-1]) - before_first[0]).sum() / tasks)


def _square(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ShapeError(f"an accuracy matrix is (T, T), got {matrix.shape}")
    return matrix


def _learned_rows(
    matrix: Matrix, learned: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, 1) the rows' numbers, and (T,) the b_i."""
    tasks = np.asarray(learned, dtype=np.int64)
    if matrix.ndim != 2 or tasks.shape != (matrix.shape[1],) or (tasks >= len(matrix)).any():
        raise ShapeError(f"expected a row of {matrix.shape} for each task, got {tasks.tolist()}")
    return np.arange(len(matrix), dtype=np.int64)[:, None], tasks


def _mean_of_past(
    values: Matrix, rows: NDArray[np.int64], tasks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(N,) mean over the tasks that were learned in an earlier row, NaN passed over."""
    counts = (tasks >= 0) & (tasks < rows) & np.isfinite(values)
    total = np.where(counts, values, 0.0).sum(axis=1)
    number = counts.sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _with_first_row(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] + 1 or not matrix.shape[1]:
        raise ShapeError(
            f"Ianvs' matrix is (T+1, T), first row before training; got {matrix.shape}"
        )
    return matrix


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
