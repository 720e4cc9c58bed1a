"""A piece of a mask as a polygon of few corners that lies wholly inside it.

Corners are dropped as Douglas and Peucker (1973) do, under one more condition: the straight line
that takes their place must not leave the piece. So the polygon

* is never further than `tolerance` pixels from the outline, nor the outline from it (Hausdorff),
* paints no pixel that is not the piece's: what it leaves out can be added, and nothing has to be
  taken away.
"""

import cv2
import numpy as np
from numpy.typing import NDArray


def inner_polygon(piece: NDArray[np.bool_], tolerance: float) -> NDArray[np.int32] | None:
    """The corners of such a polygon.

    Args:
        piece: (H, W), bool, one 4-connected piece.
        tolerance: pixels, 0 keeps every corner of the outline.

    Returns:
        (N, 2), int32, x and y of pixels, N >= 3, on the outline, in its order. None when a polygon
        cannot hold the piece: it has a hole, or is only a line.
    """
    padded = np.pad(piece.astype(np.uint8), 1)
    if _has_hole(padded):
        return None
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    chain = np.asarray(contours[0], dtype=np.int32).reshape(-1, 2)
    if len(chain) < 3:
        return None
    corners = _simplified(chain, padded.astype(np.bool_), tolerance)
    if len(corners) < 3:
        return None
    painted = np.zeros_like(padded)
    cv2.fillPoly(painted, [corners], 1)
    # The argument above is about lines; whatever the rasteriser does, this is about pixels.
    if (painted > padded).any():
        return None
    return np.asarray(corners - 1, dtype=np.int32)


def _has_hole(padded: NDArray[np.uint8]) -> bool:
    """Is there background, connected by sides, that cannot be reached from outside?"""
    return bool(cv2.connectedComponents(1 - padded, connectivity=4)[0] > 2)


def _simplified(
    chain: NDArray[np.int32], inside: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int32]:
    """The chain's corners that stay; it is closed, and begins at its first point."""
    # Two points that surely stay cut the ring in two open chains: the first, and the one
    # furthest from it.
    far = int(np.argmax(((chain - chain[0]) ** 2).sum(axis=1)))
    ring = np.concatenate([chain, chain[:1]])
    kept = np.zeros(len(ring), dtype=np.bool_)
    kept[[0, far, -1]] = True
    todo = [(0, far), (far, len(ring) - 1)]
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        off = _distances(ring[first + 1 : last], ring[first], ring[last])
        worst = int(np.argmax(off))
        if off[worst] <= tolerance and _line_is_inside(ring[first], ring[last], inside):
            continue
        # On a straight line that leaves the piece all distances may be 0: halve it.
        middle = first + 1 + worst if off[worst] > 0 else (first + last) // 2
        kept[middle] = True
        todo += [(first, middle), (middle, last)]
    return ring[:-1][kept[:-1]]


def _distances(
    points: NDArray[np.int32], start: NDArray[np.int32], end: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Distance of (N, 2) points to the segment from start to end, pixels."""
    along = (end - start).astype(np.float64)
    length = float(along @ along)
    offset = (points - start).astype(np.float64)
    share = np.clip(offset @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(offset - share[:, None] * along).T), dtype=np.float64)


def _line_is_inside(
    start: NDArray[np.int32], end: NDArray[np.int32], inside: NDArray[np.bool_]
) -> bool:
    """Does every pixel that is drawn for the line belong to the piece?"""
    low = np.minimum(start, end)
    width, height = (np.maximum(start, end) - low + 1).tolist()
    drawn = np.zeros((height, width), dtype=np.uint8)
    first, last = (start - low).tolist(), (end - low).tolist()
    cv2.line(drawn, first, last, 1)
    window = inside[low[1] : low[1] + height, low[0] : low[0] + width]
    return bool(window[drawn.astype(np.bool_)].all())
