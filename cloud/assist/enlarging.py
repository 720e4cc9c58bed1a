"""Low-resolution logits to the picture's size without torch, and to the very masks torch makes.

segment-anything scales logits bilinearly to the encoder's square, cuts the padding off, and scales
bilinearly to the picture. Both steps are linear and take rows and columns one after the other, so
one product for each axis gives every value up to rounding. The few values that are so near 0 that
rounding could turn their sign are computed again, in the order in which torch rounds.

torch has two such orders (ATen, UpSampleKernel.cpp): results of at most 128 rows and columns
together are sums of four products, larger ones are made of rows that were scaled first. With one
thread it sums four products for exactly three masks of any size; here that makes no difference.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

_SMALL = 128  # rows and columns together
# Of the largest logit. Two orders of the same sum differ by less than a tenth of it.
_NEAR_ZERO = 2.0**-17


@dataclass(frozen=True, slots=True)
class Step:
    """One bilinear scaling."""

    size: tuple[int, int]  # height and width of its result
    kept: tuple[int, int]  # of the result, from the top left


@dataclass(frozen=True, slots=True)
class _Axis:
    """Which two values every value of one axis lies between, and how near it is to each."""

    lower: Numbers  # (n,)
    upper: Numbers
    to_lower: Floats  # (n,), weights that add up to 1
    to_upper: Floats


@dataclass(frozen=True, slots=True)
class _Taps:
    """All steps of one axis as one: value i is the sum of T neighbours from `first[i]` on."""

    first: Numbers  # (n,), rising
    weights: Floats  # (n, T); 0 where a neighbour would lie beyond the end


def enlarged(low_res: Floats, steps: tuple[Step, ...]) -> Floats:
    """(K, h, w) logits to (K, H, W), scaled bilinearly by one step after the other.

    A value is above 0 exactly where torch's is; it differs from torch's by a rounding at most.
    """
    before = (low_res.shape[1], low_res.shape[2])
    rows, columns = (_taps(before[axis], _one_axis(steps, axis)) for axis in range(2))
    count = len(low_res)
    across = np.empty((count, before[0] + rows.weights.shape[1], len(columns.first)), np.float32)
    across[:, before[0] :] = 0.0
    padded = np.pad(low_res, ((0, 0), (0, 0), (0, columns.weights.shape[1])))
    for some, neighbours in _runs(columns):
        weights = columns.weights[some].T
        across[:, : before[0], some] = np.matmul(padded[:, :, neighbours], weights)
    logits = np.empty((count, len(rows.first), len(columns.first)), np.float32)
    for some, neighbours in _runs(rows):
        np.matmul(rows.weights[some], across[:, neighbours], out=logits[:, some])
    for low, large in zip(low_res, logits, strict=True):
        _decide_signs(low, large, steps)
    return logits


def padded_steps(side: int, inner: tuple[int, int], size: tuple[int, int]) -> tuple[Step, ...]:
    """What segment-anything does: to the encoder's square, of which the picture fills `inner`, and
    to the picture's `size`; heights and widths."""
    return (Step((side, side), inner), Step(size, size))


def _decide_signs(low: Floats, large: Floats, steps: tuple[Step, ...]) -> None:
    """Replace what rounding could turn."""
    near = np.abs(large) < _NEAR_ZERO * float(np.abs(low).max())
    places = np.flatnonzero(near)
    if len(places):
        rows, columns = np.divmod(places, large.shape[1])
        large[rows, columns] = _as_torch(low, rows, columns, steps)


def _as_torch(low: Floats, rows: Numbers, columns: Numbers, steps: tuple[Step, ...]) -> Floats:
    """(P,) values of the last step at P places, bit for bit as torch has them."""
    if not steps:
        return low[rows, columns]
    *earlier, last = steps
    before = earlier[-1].kept if earlier else (low.shape[0], low.shape[1])
    small = sum(last.size) <= _SMALL
    down, right = (_axis(before[i], last.size[i], fused=small) for i in range(2))
    corners = [
        _as_torch(low, row[rows], column[columns], tuple(earlier))
        for row in (down.lower, down.upper)
        for column in (right.lower, right.upper)
    ]
    top, bottom = down.to_lower[rows], down.to_upper[rows]
    left, far = right.to_lower[columns], right.to_upper[columns]
    if small:
        total = top * far * corners[1]
        for weight, corner in ((top * left, 0), (bottom * left, 2), (bottom * far, 3)):
            total = _fused(weight, corners[corner], total)
        return total
    upper = _fused(left, corners[0], far * corners[1])
    lower = _fused(left, corners[2], far * corners[3])
    return _fused(top, upper, bottom * lower)


def _fused(a: Floats, b: Floats, c: Floats) -> Floats:
    """a·b + c, rounded once: the product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


@lru_cache(maxsize=64)
def _axis(before: int, after: int, *, fused: bool) -> _Axis:
    """torch's places and weights for one axis, pixel centres aligned.

    Args:
        fused: places are rounded once, as the code for small results has it.
    """
    scale = np.float32(before) / np.float32(after)
    centres = np.arange(after, dtype=np.float32) + np.float32(0.5)
    half = np.full(after, 0.5, np.float32)
    raw = _fused(np.full(after, scale), centres, -half) if fused else scale * centres - half
    places = np.maximum(raw, np.float32(0))
    lower = np.minimum(places.astype(np.int64), before - 1)
    to_upper = np.clip(places - lower.astype(np.float32), np.float32(0), np.float32(1))
    upper = np.minimum(lower + 1, before - 1)
    return _Axis(lower, upper, np.float32(1) - to_upper, to_upper)


def _one_axis(steps: tuple[Step, ...], axis: int) -> tuple[tuple[int, int], ...]:
    return tuple((step.size[axis], step.kept[axis]) for step in steps)


@lru_cache(maxsize=64)
def _taps(before: int, steps: tuple[tuple[int, int], ...]) -> _Taps:
    """All steps of an axis that has `before` values; each has its size and what is kept of it."""
    first: Numbers = np.arange(before)
    weights: Floats = np.ones((before, 1), np.float32)
    for size, kept in steps:
        axis = _axis(len(first), size, fused=False)
        lower, upper = axis.lower[:kept], axis.upper[:kept]
        apart = first[upper] - first[lower]
        reach = weights.shape[1]
        joined = np.zeros((kept, reach + int(apart.max())), np.float32)
        joined[:, :reach] = axis.to_lower[:kept, None] * weights[lower]
        of_upper = axis.to_upper[:kept, None] * weights[upper]
        for tap in range(reach):
            joined[np.arange(kept), apart + tap] += of_upper[:, tap]
        first, weights = first[lower], joined
    return _Taps(first, weights)


def _runs(taps: _Taps) -> list[tuple[slice, slice]]:
    """Values that are made of the same neighbours, and these; as slices."""
    borders = [0, *(np.flatnonzero(np.diff(taps.first)) + 1).tolist(), len(taps.first)]
    reach = taps.weights.shape[1]
    return [
        (slice(begin, end), slice(first, first + reach))
        for begin, end in pairwise(borders)
        for first in [int(taps.first[begin])]
    ]
