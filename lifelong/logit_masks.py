"""Class ids at picture size from a network's small logits, without enlarging every class.

The answer is that of the plain way: enlarge each class's plane bilinearly as Pillow does, take
the largest, the lowest id on a tie. It is equal bit by bit, because no value is computed in
another way; most are not computed at all:

1. Pillow enlarges rows first. All classes' planes, one below the other, go through that in one
   call, which is cheap: the pictures are still low.
2. Between two rows of the network an enlarged value runs along a straight line. Where one class
   leads at both ends, by more than rounding can turn, it leads in between.
3. Elsewhere only the classes that are not beaten at both ends by one of the two leaders are
   computed, with Pillow's own weights and rounding, column by column.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Two float32 numbers further apart than this share of the largest keep their order when they are
# weighed by shares that sum to one and rounded once: half a step of 2**-24 each, with room.
_ROUNDING = 2.0**-20

# Column pieces whose values are computed at once, which bounds the memory.
_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class _Lines:
    """How picture rows lie between network rows; Pillow's bilinear weights, enlarging.

    Row y of the picture is `above[y]` x network row `upper[y]` + `below[y]` x row `lower[y]`.
    """

    upper: NDArray[np.intp]  # (H,)
    lower: NDArray[np.intp]  # (H,), `upper` or the row after it
    above: NDArray[np.float64]  # (H,), 0 .. 1
    below: NDArray[np.float64]  # (H,), 1 - `above` but for rounding
    # Rows whose centre lies so close to a network row's that rounding gives Pillow three weights,
    # two of them next to nothing: by picture row, the first network row and all weights.
    odd: dict[int, tuple[int, NDArray[np.float64]]]


def mask_from_logits(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids at image size from a network's logits, which may be smaller.

    Args:
        logits: (C, h, w), float32, finite.

    Returns:
        (height, width), uint8: argmax of the bilinearly enlarged logits, lowest id on a tie.
    """
    classes, rows, columns = logits.shape
    if height < rows:
        return _plainly(logits, height, width)
    stacked = Image.fromarray(np.ascontiguousarray(logits).reshape(classes * rows, columns))
    wide = np.asarray(
        stacked.resize((width, classes * rows), Image.Resampling.BILINEAR), dtype=np.float32
    ).reshape(classes, rows, width)
    lines = _lines(rows, height)
    leader, is_clear, slack = _leaders(wide)
    starts = np.flatnonzero(np.diff(lines.upper * (rows + 1) + lines.lower, prepend=-1))
    upper, lower = lines.upper[starts], lines.lower[starts]
    decided = leader[upper] == leader[lower]
    decided &= is_clear[upper] & is_clear[lower]
    sizes = np.diff(starts, append=height)
    mask = np.repeat(leader[upper], sizes, axis=0)
    bands, places = np.nonzero(~decided)
    for first in range(0, len(bands), _AT_ONCE):
        band, place = bands[first : first + _AT_ONCE], places[first : first + _AT_ONCE]
        _fill(
            mask,
            _Pieces(
                top=wide[:, upper[band], place],
                bottom=wide[:, lower[band], place],
                leads=(leader[upper[band], place], leader[lower[band], place]),
                begins=starts[band],
                sizes=sizes[band],
                columns=place,
            ),
            lines,
            slack,
        )
    for row, (begin, weights) in lines.odd.items():
        near = wide[:, begin : begin + len(weights)].astype(np.float64)
        values = sum(near[:, tap] * weight for tap, weight in enumerate(weights))
        mask[row] = np.argmax(np.asarray(values, dtype=np.float32), axis=0)
    return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """K vertical pieces of the picture, one pixel wide, each between two network rows."""

    top: NDArray[np.float32]  # (C, K), values at the network row above
    bottom: NDArray[np.float32]  # (C, K), at the one below
    leads: tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (K,) class ids above and below
    begins: NDArray[np.intp]  # (K,), first picture row
    sizes: NDArray[np.intp]  # (K,), picture rows
    columns: NDArray[np.intp]  # (K,)


def _fill(mask: NDArray[np.uint8], pieces: _Pieces, lines: _Lines, slack: float) -> None:
    """Write the pieces' class ids into the mask."""
    top, bottom = pieces.top, pieces.bottom
    each = np.arange(top.shape[1])
    possible = np.ones(top.shape, dtype=np.bool_)
    for lead in pieces.leads:
        possible &= (top >= top[lead, each] - slack) | (bottom >= bottom[lead, each] - slack)
    # By piece, then by class id: a tie goes to whom comes first.
    piece, class_id = np.nonzero(possible.T)
    rank = np.arange(len(piece)) - np.searchsorted(piece, piece, side="left")
    steps = np.arange(int(pieces.sizes.max()))
    rows = np.minimum(pieces.begins[:, None] + steps, len(lines.upper) - 1)  # (K, n)
    above, below = lines.above[rows], lines.below[rows]
    best = np.empty(rows.shape, dtype=np.float32)
    chosen = np.empty(rows.shape, dtype=np.uint8)
    for turn in range(int(rank.max()) + 1):
        now = rank == turn
        at, ids = piece[now], class_id[now]
        # Pillow sums in double and rounds to float once a pass.
        values = (
            top[ids, at].astype(np.float64)[:, None] * above[at]
            + bottom[ids, at].astype(np.float64)[:, None] * below[at]
        ).astype(np.float32)
        if turn == 0:
            best[at], chosen[at] = values, ids[:, None]
            continue
        better = values > best[at]
        best[at] = np.where(better, values, best[at])
        chosen[at] = np.where(better, ids[:, None], chosen[at])
    inside = steps < pieces.sizes[:, None]
    columns = np.broadcast_to(pieces.columns[:, None], rows.shape)
    mask[rows[inside], columns[inside]] = chosen[inside]


def _leaders(
    wide: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], float]:
    """(h, W) best class ids, where they lead by more than rounding, and how much that is."""
    best = wide[0].copy()
    second = np.full_like(best, -np.inf)
    leader = np.zeros(best.shape, dtype=np.uint8)
    for class_id in range(1, len(wide)):
        plane = wide[class_id]
        np.maximum(second, np.minimum(best, plane), out=second)
        leader[plane > best] = class_id
        np.maximum(best, plane, out=best)
    slack = float(np.abs(wide).max()) * _ROUNDING
    return leader, best - second > slack, slack


def _lines(rows: int, height: int) -> _Lines:
    """Pillow's `precompute_coeffs` for the bilinear filter and an enlargement."""
    centres = (np.arange(height, dtype=np.float64) + 0.5) * np.float64(rows / height)
    # As C does: cut towards zero, then within the picture.
    first = np.maximum((centres - 1.0 + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + 1.0 + 0.5).astype(np.intp), rows) - 1
    odd = {}
    for row in np.flatnonzero(last - first > 1):
        weights = _weights(np.arange(first[row], last[row] + 1), centres[row])
        odd[int(row)] = (int(first[row]), weights / weights.sum())
    last = np.minimum(last, first + 1)
    above = _weights(first, centres)
    below = np.where(last > first, _weights(last, centres), 0.0)
    total = np.maximum(above + below, 1e-300)  # 0 only in odd rows, which are done apart
    return _Lines(first, last, above / total, below / total, odd)


def _weights(rows: NDArray[np.intp], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of network rows for picture rows centred there: 1 at the centre, 0 a row away."""
    weights: NDArray[np.float64] = np.maximum(1.0 - np.abs(rows - centres + 0.5), 0.0)
    return weights


def _plainly(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """The plain way, for pictures lower than the network's answer."""
    mask = np.zeros((height, width), dtype=np.uint8)
    best = np.full((height, width), -np.inf, dtype=np.float32)
    for class_id, values in enumerate(logits):
        plane = np.asarray(
            Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)
        )
        mask[plane > best] = class_id
        np.maximum(best, plane, out=best)
    return mask
