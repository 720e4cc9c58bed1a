"""How far chance alone may move an mIoU, or a difference of two: bootstrap over pictures.

Everything starts from counts, an (N, C, 3) array of whole numbers: for each of N pictures and C
classes the pixels hit, the pixels of the class in the truth, and the pixels answered as the class
(diagonal, row sums and column sums of a confusion matrix). Pictures are drawn again with
replacement, the counts of the drawn ones are added up, and the figure is taken of the sum, as it
is of the whole hold-out (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 6, 8
and 13). Two models sit the same examination, so the same draw serves both: what makes a picture
hard for either cancels out.

Frames of one video resemble their neighbours. Drawn one by one they pass for more evidence than
they are, so runs of consecutive pictures can be drawn instead (the circular block bootstrap,
Politis & Romano 1992). That costs width: an interval rests on N / block runs, no longer on N
pictures.

Nothing in an interval speaks of pictures unlike those of the hold-out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError

HITS, TRUTH, ANSWERED = 0, 1, 2  # places along the last axis of counts

_AT_ONCE = 2_000_000  # drawn pictures held in memory at once: 16 MB of weights

Counts = NDArray[np.int64]  # (N, C, 3)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the range that holds it with the confidence asked for."""

    value: float  # of the pictures as they are, not the mean of the draws
    low: float
    high: float

    def points(self, *, signed: bool = False) -> str:
        """In points of IoU, as people speak of them.

        >>> Interval(0.0123, -0.0004, 0.025).points(signed=True)
        '+1.2 (-0.0 to +2.5)'
        """
        form = "+.1f" if signed else ".1f"
        value, low, high = (f"{100 * part:{form}}" for part in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How pictures are drawn; equal settings and counts give equal intervals."""

    confidence: float = 0.95
    resamples: int = 1000
    block: int = 1  # consecutive pictures drawn together; 0: as `usual_block` says
    seed: int = 0


def usual_block(pictures: int) -> int:
    """Length of a run when nobody says: the cube root of N, rounded.

    The best length for a variance grows with the cube root of N (Hall, Horowitz & Jing 1995).

    >>> [usual_block(n) for n in (1, 4, 34, 100, 1000)]
    [1, 2, 3, 5, 10]
    """
    return max(1, round(math.cbrt(pictures)))


def iou_of(counts: Counts | NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU_c = hits / (truth + answered - hits), over all pictures together.

    Args:
        counts: (…, C, 3), already added up over pictures.

    Returns:
        (…, C), float64, 0 .. 1; NaN for classes that the truth does not hold.

    >>> iou_of(np.array([[1, 2, 1], [1, 1, 2], [0, 0, 0]])).tolist()
    [0.5, 0.5, nan]
    """
    hits, truth, answered = counts[..., HITS], counts[..., TRUTH], counts[..., ANSWERED]
    union = np.maximum(truth + answered - hits, 1)
    return np.where(truth > 0, hits / union, np.nan)


def miou_of(counts: Counts | NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of `iou_of` over the classes that the truth holds; NaN when it holds none.

    Args:
        counts: (…, C, 3), already added up over pictures.

    >>> float(miou_of(np.array([[1, 2, 1], [3, 4, 5], [0, 0, 0]])))
    0.5
    """
    return _mean_of_known(iou_of(counts))


def miou_interval(counts: Counts, how: Bootstrap) -> Interval:
    """The mIoU of one model on one hold-out.

    Args:
        counts: (N, C, 3).

    Raises:
        ShapeError: not counts of at least one picture.

    >>> one = np.array([[[90, 100, 100], [0, 0, 0]], [[50, 100, 50], [60, 100, 150]]])
    >>> found = miou_interval(one, Bootstrap(seed=1))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.491, 0.408, 0.818)
    """
    return interval_of(float(miou_of(counts.sum(axis=0))), drawn_mious([counts], how)[:, 0], how)


def gain_interval(before: Counts, after: Counts, how: Bootstrap) -> Interval:
    """By how much mIoU rose from one model to another on the same pictures; see `mean_gain`.

    >>> before = np.array([[[40, 100, 80]], [[50, 100, 90]], [[45, 100, 85]]])
    >>> after = before + np.array([5, 0, 0])
    >>> gain_interval(before, after, Bootstrap()).points(signed=True)
    '+4.9 (+4.8 to +5.0)'
    """
    return mean_gain([(before, after)], how)


def mean_gain(tasks: Sequence[tuple[Counts, Counts]], how: Bootstrap) -> Interval:
    """By how much the mean mIoU over several hold-outs rose from one model to another.

    Each hold-out is drawn for itself: D_r = 1/T · Σ_t (mIoU(after_t*) - mIoU(before_t*)), r = 1
    .. R, and the interval runs between the quantiles of the D_r that `interval_of` names.

    Args:
        tasks: of each hold-out the counts of both models, (N_t, C_t, 3), the same pictures in
            the same order.

    Raises:
        ShapeError: no hold-out, or the counts of two models do not belong together.
    """
    if not tasks:
        raise ShapeError("a mean gain needs the counts of at least one hold-out")
    value, values = 0.0, np.zeros(how.resamples)
    for stream, (before, after) in enumerate(tasks):
        mious = drawn_mious([before, after], how, stream)
        values += (mious[:, 1] - mious[:, 0]) / len(tasks)
        told = miou_of(after.sum(axis=0)) - miou_of(before.sum(axis=0))
        value += float(told) / len(tasks)
    return interval_of(value, values, how)


def class_gains(before: Counts, after: Counts, how: Bootstrap) -> list[Interval | None]:
    """By how much each class's IoU rose from one model to another on the same pictures.

    A draw without a picture of the class says nothing of it and is left out. A class that fewer
    than two pictures show has no scatter to learn from: None, and None for absent ones.

    Args:
        before, after: (N, C, 3), the same pictures in the same order.

    Returns:
        C intervals.

    Raises:
        ShapeError: the counts do not belong together.
    """
    iou = np.concatenate(list(_drawn_iou([before, after], how, 0)))  # (R, 2, C)
    values = iou[:, 1] - iou[:, 0]
    told = iou_of(after.sum(axis=0)) - iou_of(before.sum(axis=0))
    shown = (before[..., TRUTH] > 0).sum(axis=0)
    return [
        interval_of(float(told[place]), values[:, place], how) if pictures >= 2 else None
        for place, pictures in enumerate(shown)
    ]


def drawn_mious(models: Sequence[Counts], how: Bootstrap, stream: int = 0) -> NDArray[np.float64]:
    """mIoU of several models for the same draws of pictures, to build intervals of one's own.

    Columns are paired, so any figure made of them (a mean, a difference, backward transfer) has
    the interval `interval_of(figure, figure of the columns, how)`.

    Args:
        models: M counts, each (N, C, 3), of the same pictures in the same order.
        stream: the draws of another number are independent; one for each hold-out.

    Returns:
        (R, M), float64; NaN for a draw without any labelled pixel.

    Raises:
        ShapeError: the counts do not belong together.
    """
    return np.concatenate([_mean_of_known(iou) for iou in _drawn_iou(models, how, stream)])


def interval_of(value: float, draws: NDArray[np.float64], how: Bootstrap) -> Interval:
    """The percentile interval (Efron & Tibshirani 1993, section 13.3).

    It runs from the (1 - confidence)/2 quantile of the draws to the (1 + confidence)/2 quantile.

    Args:
        value: the figure of the pictures as they are.
        draws: (R,), the figure of each draw; NaN where a draw has none.

    >>> interval_of(0.5, np.linspace(0.0, 1.0, 101), Bootstrap(confidence=0.9))
    Interval(value=0.5, low=0.05, high=0.95)
    """
    known = draws[~np.isnan(draws)]
    if not known.size:
        return Interval(value, float("nan"), float("nan"))
    tail = (1.0 - how.confidence) / 2.0
    low, high = np.quantile(known, (tail, 1.0 - tail))
    return Interval(value, round(float(low), 12), round(float(high), 12))


def drawn_pictures(pictures: int, how: Bootstrap, stream: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each picture is drawn, for `how.resamples` draws of N pictures.

    A draw lays runs of `how.block` pictures one after the other, each beginning anywhere and
    going on at the first picture after the last, until N are drawn.

    Args:
        stream: draws of another number are independent of these.

    Yields:
        (r, N), float64, whole numbers, each row sums to N; the r sum to `how.resamples`.
    """
    block = min(how.block or usual_block(pictures), pictures)
    runs = -(-pictures // block)
    random = np.random.default_rng([how.seed, stream])
    left = how.resamples
    while left > 0:
        rows = min(left, max(1, _AT_ONCE // pictures))
        starts = random.integers(0, pictures, size=(rows, runs, 1))
        drawn = ((starts + np.arange(block)) % pictures).reshape(rows, -1)[:, :pictures]
        places = (drawn + np.arange(rows)[:, None] * pictures).ravel()
        counted = np.bincount(places, minlength=rows * pictures)
        yield counted.reshape(rows, pictures).astype(np.float64)
        left -= rows


def _drawn_iou(
    models: Sequence[Counts], how: Bootstrap, stream: int
) -> Iterator[NDArray[np.float64]]:
    """IoU per class of each model for the same draws, (r, M, C) at a time."""
    _check(models)
    together = np.stack(models, axis=1)  # (N, M, C, 3)
    flat = together.reshape(len(together), -1)
    if how.block == 1:  # drawn one by one, it must not matter in which order pictures lie
        flat = flat[np.lexsort(flat.T)]
    exact = flat.astype(np.float64)  # whole numbers up to 2^53 are
    for drawn in drawn_pictures(len(flat), how, stream):
        yield iou_of((drawn @ exact).reshape(len(drawn), *together.shape[1:]))


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: NDArray[np.float64] = total / np.maximum(known.sum(axis=-1), 1)
    return np.where(known.any(axis=-1), mean, np.nan)


def _check(models: Sequence[Counts]) -> None:
    for counts in models:
        if counts.ndim != 3 or counts.shape[2] != 3 or not counts.size:
            raise ShapeError(f"counts must be (pictures, classes, 3), got {counts.shape}")
        if counts.shape != models[0].shape or (counts[..., TRUTH] != models[0][..., TRUTH]).any():
            raise ShapeError(
                f"counts of two models must be of the same pictures in the same order, got "
                f"{models[0].shape} and {counts.shape}"
            )
