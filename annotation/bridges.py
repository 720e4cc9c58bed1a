"""Many rings as one: holes and separate pieces tied in by bridges.

A bridge is a line that the ring runs along twice, there and back, so that it has no width: the
one ring fills to the same pixels as the many, by the even-odd and by the non-zero rule. A
rasteriser that also paints the line itself (OpenCV's `fillPoly`) paints the bridges too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from annotation.outlines import Outline, Ring, area_of, simplified


def bridged(outline: Outline) -> Ring:
    """Outer ring and holes as one ring that fills to the same pixels.

    Every hole is tied in by a level bridge along the edge of a row of pixels, through which no
    pixel's centre goes.
    """
    ring = outline.outer
    for hole in sorted(outline.holes, key=lambda hole: int(hole[:, 0].min())):
        # What lies left of a hole's leftmost corner is in the ring already.
        start = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        x, y = (int(v) for v in hole[start])
        edge, at = _edge_left_of(ring, x, y)
        tied = np.concatenate([[[at, y]], np.roll(hole, -start, axis=0), [[x, y], [at, y]]])
        ring = np.concatenate([ring[: edge + 1], tied, ring[edge + 1 :]])
    return ring


def thinned(outline: Outline, tolerance: float) -> Ring:
    """Outer ring and holes `simplified`, then tied into one ring between nearest corners.

    Args:
        tolerance: pixels, above 0.
    """
    return joined([simplified(ring, tolerance) for ring in (outline.outer, *outline.holes)])


def joined(rings: Sequence[Ring]) -> Ring:
    """Rings of separate pieces as one ring, tied by bridges between their nearest corners.

    Raises:
        ValueError: no ring at all.
    """
    ordered = sorted(rings, key=lambda ring: -abs(area_of(ring)))
    if not ordered:
        raise ValueError("no ring to join")
    corners = np.concatenate(ordered)
    first_corner = np.cumsum([0, *(len(ring) for ring in ordered)])
    tied = _TiedCorners(corners)
    tied.add(0, len(ordered[0]))
    # Corner -> rings tied to it, each with the corner where it is entered.
    entered: dict[int, list[tuple[int, int]]] = {}
    for number in range(1, len(ordered)):
        first, last = int(first_corner[number]), int(first_corner[number + 1])
        start, anchor = tied.nearest(first, last)
        entered.setdefault(anchor, []).append((number, start - first))
        tied.add(first, last)
    return corners[_walk(ordered, first_corner, entered)]


def _walk(
    rings: Sequence[Ring],
    first_corner: NDArray[np.int64],
    entered: dict[int, list[tuple[int, int]]],
) -> list[int]:
    """Corners in the order of the joined ring: into every tied ring, around it and back."""
    order: list[int] = []
    # What is still to be written, the next one last: a corner, or (ring, start, anchor).
    stack: list[int | tuple[int, int, int]] = [(0, 0, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, int):
            order.append(item)
            continue
        number, start, anchor = item
        length, first = len(rings[number]), int(first_corner[number])
        coming: list[int | tuple[int, int, int]] = []
        for step in range(length):
            corner = first + (start + step) % length
            coming.append(corner)
            coming += [(child, at, corner) for child, at in entered.get(corner, [])]
        if number > 0:
            coming += [first + start, anchor]  # close it, and back over the bridge
        stack += reversed(coming)
    return order


class _TiedCorners:
    """The corners tied so far, as trees of doubling sizes: adding stays cheap."""

    def __init__(self, corners: NDArray[np.int64]) -> None:
        self._corners = corners
        self._trees: list[tuple[NDArray[np.int64], cKDTree]] = []

    def add(self, first: int, last: int) -> None:
        """Corners `first` to `last` (not included) are tied now."""
        numbers = np.arange(first, last)
        while self._trees and len(self._trees[-1][0]) <= 2 * len(numbers):
            numbers = np.concatenate([self._trees.pop()[0], numbers])
        self._trees.append((numbers, cKDTree(self._corners[numbers])))

    def nearest(self, first: int, last: int) -> tuple[int, int]:
        """Of corners `first` to `last` the one nearest to a tied one, and that one."""
        best = (np.inf, first, 0)
        for numbers, tree in self._trees:
            distances, nearest = tree.query(self._corners[first:last])
            own = int(np.argmin(distances))
            best = min(best, (float(distances[own]), first + own, int(numbers[nearest[own]])))
        return best[1], best[2]


def _edge_left_of(ring: Ring, x: int, y: int) -> tuple[int, int]:
    """The upright edge next to the left of (x, y): its number in the ring, and its x."""
    following = np.roll(ring, -1, axis=0)
    low = np.minimum(ring[:, 1], following[:, 1])
    high = np.maximum(ring[:, 1], following[:, 1])
    meets = (ring[:, 0] == following[:, 0]) & (low <= y) & (y <= high) & (ring[:, 0] <= x)
    candidates = np.flatnonzero(meets)
    edge = int(candidates[np.argmax(ring[candidates, 0])])
    return edge, int(ring[edge, 0])
