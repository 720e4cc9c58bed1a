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

from annotation.outlines import keep_corners


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
    chain = np.asarray(contours[0], dtype=np.int64).reshape(-1, 2)
    if len(chain) < 3:
        return None
    corners = _simplified(chain, padded.astype(np.bool_), tolerance)
    if len(corners) < 3:
        return None
    painted = np.zeros_like(padded)
    cv2.fillPoly(painted, [corners.astype(np.int32)], 1)
    # The argument above is about lines; whatever the rasteriser does, this is about pixels.
    if (painted > padded).any():
        return None
    return np.asarray(corners - 1, dtype=np.int32)


def _has_hole(padded: NDArray[np.uint8]) -> bool:
    """Is there background, connected by sides, that cannot be reached from outside?"""
    return bool(cv2.connectedComponents(1 - padded, connectivity=4)[0] > 2)


def _simplified(
    chain: NDArray[np.int64], inside: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int64]:
    """The chain's corners that stay; it is closed, and begins at its first point."""
    # Two points that surely stay cut the ring in two open chains: the first, and the one
    # furthest from it.
    far = int(np.argmax(((chain - chain[0]) ** 2).sum(axis=1)))
    ring = np.concatenate([chain, chain[:1]])
    kept = np.zeros(len(ring), dtype=np.bool_)
    kept[[0, far, -1]] = True
    keep_corners(
        ring,
        kept,
        [(0, far), (far, len(ring) - 1)],
        tolerance,
        lambda first, last: _line_is_inside(ring[first], ring[last], inside),
    )
    return ring[:-1][kept[:-1]]


def _line_is_inside(
    start: NDArray[np.int64], end: NDArray[np.int64], inside: NDArray[np.bool_]
) -> bool:
    """Does every pixel that is drawn for the line belong to the piece?"""
    low = np.minimum(start, end)
    width, height = (np.maximum(start, end) - low + 1).tolist()
    drawn = np.zeros((height, width), dtype=np.uint8)
    first, last = (start - low).tolist(), (end - low).tolist()
    cv2.line(drawn, first, last, 1)
    window = inside[low[1] : low[1] + height, low[0] : low[0] + width]
    return bool(window[drawn.astype(np.bool_)].all())
