"""Connected pieces of a mask in plain numpy: which pixels hang together, and where they lie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The connected pieces of one mask, numbered in reading order of their first pixels."""

    labels: IntArray  # (H, W), number of the piece each pixel belongs to
    class_ids: NDArray[np.uint8]  # (N,), of each piece
    boxes: IntArray  # (N, 4), x0, y0, x1, y1 inclusive, pixels

    def __len__(self) -> int:
        return int(self.class_ids.size)


def connected_pieces(mask: NDArray[np.uint8]) -> Pieces:
    """Pieces of equal class id that touch along an edge (4-neighbourhood).

    Args:
        mask: (H, W), uint8 class ids; 255 is a class like any other here.

    Returns:
        No piece at all for a mask without pixels.
    """
    height, width = mask.shape
    if mask.size == 0:
        return Pieces(
            labels=np.zeros(mask.shape, dtype=np.int64),
            class_ids=np.zeros(0, dtype=np.uint8),
            boxes=np.zeros((0, 4), dtype=np.int64),
        )
    # Work on horizontal runs, not on pixels: a street has thousands of runs, not millions.
    flat = np.ascontiguousarray(mask).ravel()
    begins = np.ones(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], flat.size) - 1
    run_of_pixel = np.cumsum(begins) - 1
    numbers = _joined(starts.size, *_touching(flat, run_of_pixel, width))
    boxes = run_boxes(numbers, starts, ends, width)
    first_runs = np.unique(numbers, return_index=True)[1]
    return Pieces(
        labels=numbers[run_of_pixel].reshape(height, width),
        class_ids=flat[starts[first_runs]],
        boxes=boxes,
    )


def _touching(
    flat: NDArray[np.uint8], run_of_pixel: IntArray, width: int
) -> tuple[IntArray, IntArray]:
    """Pairs of runs of one class, one above the other; each pair about once."""
    same = np.flatnonzero(flat[:-width] == flat[width:])
    upper, lower = run_of_pixel[same], run_of_pixel[same + width]
    new = np.ones(same.size, dtype=bool)
    new[1:] = (upper[1:] != upper[:-1]) | (lower[1:] != lower[:-1])
    return upper[new], lower[new]


def _joined(count: int, left: IntArray, right: IntArray) -> IntArray:
    """Number the connected components of `count` nodes from 0, ordered by smallest node.

    Every round hangs each root under the smallest root it touches and flattens the trees; the
    number of roots shrinks until no edge joins two of them.
    """
    parent: IntArray = np.arange(count, dtype=np.int64)
    while True:
        a, b = parent[left], parent[right]
        apart = a != b
        if not apart.any():
            break
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(flatter := parent[parent], parent):
            parent = flatter
    is_root = parent == np.arange(count)
    numbers: IntArray = (np.cumsum(is_root) - 1)[parent]
    return numbers


def run_boxes(numbers: IntArray, starts: IntArray, ends: IntArray, width: int) -> IntArray:
    """Boxes around runs of pixels by the number of their region.

    Args:
        numbers: (R,), of the region each run belongs to, from 0 without gaps.
        starts, ends: (R,), first and last place of each run in the flat mask; no run crosses rows.

    Returns:
        (N, 4), x0, y0, x1, y1 inclusive, pixels.
    """
    count = int(numbers.max()) + 1
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, -1
    np.minimum.at(boxes[:, 0], numbers, starts % width)
    np.minimum.at(boxes[:, 1], numbers, starts // width)
    np.maximum.at(boxes[:, 2], numbers, ends % width)
    np.maximum.at(boxes[:, 3], numbers, ends // width)
    return boxes
