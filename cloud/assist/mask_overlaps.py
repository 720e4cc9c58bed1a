"""How much masks of one picture have in common, looked at only where their boxes meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)


@dataclass(frozen=True, slots=True)
class Extent:
    """The smallest box around a mask, and how many of its pixels the mask has."""

    x0: int  # pixels, as are the others
    y0: int
    x1: int  # exclusive, as is y1
    y1: int
    area: int

    def __bool__(self) -> bool:
        return self.area > 0


def extent_of(mask: Mask) -> Extent:
    """All zeros of an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return Extent(0, 0, 0, 0, 0)
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    return Extent(x0, y0, x1, y1, int(mask[y0:y1, x0:x1].sum()))


def shared_pixels(first: Mask, second: Mask, a: Extent, b: Extent) -> int:
    """Pixels of both masks, whose extents are `a` and `b`."""
    x0, y0, x1, y1 = max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)
    if x0 >= x1 or y0 >= y1:
        return 0
    return int((first[y0:y1, x0:x1] & second[y0:y1, x0:x1]).sum())


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union, 0 .. 1; 0 where both are empty."""
    a, b = extent_of(first), extent_of(second)
    shared = shared_pixels(first, second, a, b)
    return shared / max(1, a.area + b.area - shared)


def distinct(masks: Sequence[Mask], scores: Sequence[float], *, most: float) -> list[int]:
    """Numbers of the masks that stay, best score first; equal scores keep their order.

    A mask goes if its IoU with a better one is above `most`. An empty mask goes.
    """
    extents = [extent_of(mask) for mask in masks]
    order = sorted(range(len(masks)), key=lambda number: -scores[number])
    kept: list[int] = []
    for number in order:
        a = extents[number]
        if a and not any(
            _iou(masks[number], masks[other], a, extents[other]) > most for other in kept
        ):
            kept.append(number)
    return kept


def _iou(first: Mask, second: Mask, a: Extent, b: Extent) -> float:
    shared = shared_pixels(first, second, a, b)
    return shared / max(1, a.area + b.area - shared)
