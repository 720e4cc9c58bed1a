"""Pixels as rings along their edges, and back: exact areas, holes, a bounded simplification.

A ring is a closed polygon, (N, 2) int64 `x, y` of pixel *corners*; the first corner is not
repeated. Pixel (column c, row r) is the square from (c, r) to (c + 1, r + 1), so a ring's area is
the number of pixels in it. Outer rings run clockwise as seen on the screen, rings of holes
counter-clockwise: both rules of filling, even-odd and non-zero, give the same pixels.

Pixels that touch only at a corner belong to two pieces when `connectivity` is 4 and to one when it
is 8; the holes are then joined the other way (8 and 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.polygons import Patch, patch_of

Ring = NDArray[np.int64]  # (N, 2), x and y of pixel corners, N >= 3
Connectivity = Literal[4, 8]


@dataclass(frozen=True, slots=True)
class Outline:
    """One connected piece."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def outlines_of(patch: Patch, *, connectivity: Connectivity = 4) -> list[Outline]:
    """The pieces of a patch in the picture's coordinates, in an order that never changes.

    An outer ring may touch itself or a hole at a corner (`connectivity` 8 only), never cross.
    """
    if patch.area == 0:
        return []
    painted = np.pad(patch.painted, 1)
    rings = _rings(painted, connectivity)
    _, pieces = cv2.connectedComponents(painted.astype(np.uint8), connectivity=connectivity)
    offset = np.array([patch.x0 - 1, patch.y0 - 1])
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for ring, (x, y) in rings:
        piece = int(pieces[y, x])
        if area_of(ring) > 0:
            outer[piece] = ring + offset
        else:
            holes.setdefault(piece, []).append(ring + offset)
    return [Outline(ring, tuple(holes.get(piece, ()))) for piece, ring in outer.items()]


def area_of(ring: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Area in pixels: positive when the ring runs clockwise on the screen, negative otherwise."""
    x, y = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def filled(
    rings: Sequence[NDArray[np.int64] | NDArray[np.float64]], height: int, width: int
) -> Patch:
    """The pixels whose centre lies inside, by the even-odd rule over all rings together.

    Args:
        rings: each (N, 2), x and y in pixels; what lies outside the picture is cut off.

    Returns:
        A patch without area when there is no such pixel.
    """
    corners = [np.asarray(ring, dtype=np.float64) for ring in rings]
    if not corners:
        return Patch(0, 0, np.zeros((0, 0), dtype=np.bool_), 0)
    every = np.concatenate(corners)
    x0, y0 = (int(v) for v in np.clip(np.floor(every.min(axis=0)), 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(every.max(axis=0)), 0, (width, height)))
    if x1 <= x0 or y1 <= y0:
        return Patch(0, 0, np.zeros((0, 0), dtype=np.bool_), 0)
    start = np.concatenate(corners) - (x0, y0)
    stop = np.concatenate([np.roll(ring, -1, axis=0) for ring in corners]) - (x0, y0)
    toggles = np.zeros((y1 - y0, x1 - x0 + 1), dtype=np.uint8)
    rows, columns = _crossings(start, stop, y1 - y0, x1 - x0)
    np.bitwise_xor.at(toggles, (rows, columns), 1)
    inside = np.bitwise_xor.accumulate(toggles[:, :-1], axis=1).astype(np.bool_)
    patch = patch_of(inside)
    return Patch(patch.x0 + x0, patch.y0 + y0, patch.painted, patch.area)


def simplified(ring: Ring, tolerance: float) -> Ring:
    """Fewer corners of the same ring (Douglas & Peucker 1973), by distance to the *segment*.

    Every point of either ring lies within `tolerance` of the other one: the symmetric Hausdorff
    distance of the two lines is at most `tolerance`, in pixels, along x as along y. Never fewer
    than three corners, so an area is left even where the tolerance would allow a line: then the
    corner farthest from that line stays. A simplified ring may touch or cross itself.

    Args:
        tolerance: pixels; 0 or less gives the ring itself.
    """
    if tolerance <= 0 or len(ring) <= 3:
        return ring
    far = int(np.argmax(np.hypot(*(ring - ring[0]).T)))
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=np.bool_)
    keep[[0, far, len(ring)]] = True
    keep_corners(closed, keep, [(0, far), (far, len(ring))], tolerance)
    if np.count_nonzero(keep[:-1]) < 3:
        third = int(np.argmax(_distances(closed, closed[0], closed[far])))
        keep[third] = True
        low, high = (0, far) if third < far else (far, len(ring))
        keep_corners(closed, keep, [(low, third), (third, high)], tolerance)
    return ring[keep[:-1]]


def _rings(
    painted: NDArray[np.bool_], connectivity: Connectivity
) -> list[tuple[Ring, tuple[int, int]]]:
    """Every ring with a painted pixel (x, y) beside it; `painted` has an empty frame.

    Corners are where the edge turns. Along a row of corners, level edges tie the first to the
    second, the third to the fourth …; along a column upright edges do. Where two painted pixels
    touch at a corner, two turns lie on the same point.
    """
    a, b = painted[:-1, :-1], painted[:-1, 1:]
    c, d = painted[1:, :-1], painted[1:, 1:]
    crossing = (a == d) & (b == c) & (a != b)
    turn_y, turn_x = np.nonzero((a ^ b ^ c ^ d) | crossing)
    twice = crossing[turn_y, turn_x]
    # Which sides one of the two turns joins: left and up, the other right and down; or left and
    # down, right and up.
    main = a[turn_y, turn_x]  # the painted pixels are the upper left and the lower right one
    left_up = main if connectivity == 4 else ~main
    x = np.concatenate([turn_x, turn_x[twice]]) + 1
    y = np.concatenate([turn_y, turn_y[twice]]) + 1
    # The first turn is the one with the edge to the left; its level edge ends here.
    level_order = np.concatenate([np.zeros(turn_x.size), np.ones(int(twice.sum()))])
    first_upright = np.where(twice, ~left_up, False)
    upright_order = np.concatenate([first_upright, left_up[twice]]).astype(np.float64)
    level = _partners(np.lexsort((level_order, x, y)))
    upright = _partners(np.lexsort((upright_order, y, x)))
    return _traced(painted, x, y, level, upright)


def _partners(order: NDArray[np.intp]) -> NDArray[np.intp]:
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _traced(
    painted: NDArray[np.bool_],
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    level: NDArray[np.intp],
    upright: NDArray[np.intp],
) -> list[tuple[Ring, tuple[int, int]]]:
    left = np.minimum(x, x[level])
    below = painted[y, left]
    # With the pixels below, an edge runs to the right: what is painted lies at its right hand.
    starts = (np.where(below, x < x[level], x > x[level])).tolist()
    beside = np.stack([left, np.where(below, y, y - 1)], axis=1)
    by_level, by_upright = level.tolist(), upright.tolist()
    seen = bytearray(len(by_level))
    found = []
    for first, is_start in enumerate(starts):
        if seen[first] or not is_start:
            continue
        ring = []
        corner = first
        while not seen[corner]:
            other = by_level[corner]
            seen[corner] = seen[other] = 1
            ring += [corner, other]
            corner = by_upright[other]
        corners = np.stack([x[ring], y[ring]], axis=1).astype(np.int64)
        found.append((corners, (int(beside[first, 0]), int(beside[first, 1]))))
    return found


def _crossings(
    start: NDArray[np.float64], stop: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows, and the first column right of the edge, wherever an edge passes a row's middle."""
    down = start[:, 1] <= stop[:, 1]
    top = np.where(down[:, None], start, stop)
    bottom = np.where(down[:, None], stop, start)
    first = np.clip(np.ceil(top[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(bottom[:, 1] - 0.5), 0, height).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    rows = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (rows + 0.5 - top[edge, 1]) / (bottom[edge, 1] - top[edge, 1])
    x = top[edge, 0] + share * (bottom[edge, 0] - top[edge, 0])
    return rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)


def keep_corners(
    corners: NDArray[np.int64],
    keep: NDArray[np.bool_],
    stretches: list[tuple[int, int]],
    tolerance: float,
    may_join: Callable[[int, int], bool] = lambda first, last: True,
) -> None:
    """Mark what Douglas and Peucker (1973) keep between the ends of each stretch.

    Args:
        corners: (N, 2), x and y, pixels.
        keep: (N,), bool, written to.
        stretches: first and last index of each; used up.
        tolerance: pixels.
        may_join: may a straight line stand for what lies between these two? Asked when it is near
            enough.
    """
    while stretches:
        low, high = stretches.pop()
        if high - low < 2:
            continue
        far = _distances(corners[low + 1 : high], corners[low], corners[high])
        worst = int(np.argmax(far))
        if far[worst] <= tolerance and may_join(low, high):
            continue
        # Where all lie on the line and it may not stand for them, halve the stretch.
        middle = low + 1 + worst if far[worst] > 0 else (low + high) // 2
        keep[middle] = True
        stretches += [(low, middle), (middle, high)]


def _distances(
    points: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Distance of each point to the segment from `start` to `stop`, pixels."""
    along = (stop - start).astype(np.float64)
    from_start = (points - start).astype(np.float64)
    length = float(along @ along)
    share = np.clip(from_start @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(from_start - share[:, None] * along).T))
