"""What is cut out of a picture around a mask, by Semantic Segment Anything's rule."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import Rle

_T = TypeVar("_T", bound=np.generic)

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels

SMALL, LARGE, HUGE = 1.2, 1.6, 1.6  # SSA's own factors; its huge crop is its large one


def grown_box(box: Box, factor: float, *, height: int, width: int) -> Box:
    """A box grown about its centre, cut to whole pixels towards zero, and clipped to the picture.

    Width and height count both end pixels; each side moves out by half of what is added.

    >>> grown_box((10, 10, 19, 29), 1.6, height=100, width=25)
    (7, 3, 22, 35)
    """
    x0, y0, x1, y1 = box
    across, down = ((x1 - x0 + 1) * (factor - 1)) * 0.5, ((y1 - y0 + 1) * (factor - 1)) * 0.5
    right, bottom = width - 1, height - 1
    return (
        min(max(int(x0 - across), 0), right),
        min(max(int(y0 - down), 0), bottom),
        min(max(int(x1 + across), 0), right),
        min(max(int(y1 + down), 0), bottom),
    )


def cut(picture: NDArray[_T], box: Box) -> NDArray[_T]:
    """The pixels of a box, end pixels included; (H, W, …) to (h, w, …), a view."""
    x0, y0, x1, y1 = box
    return picture[y0 : y1 + 1, x0 : x1 + 1]


def mask_inside(rle: Rle, box: Box) -> NDArray[np.bool_]:
    """(h, w): which pixels of a box are the mask's; only the box's own columns are decoded."""
    x0, y0, x1, y1 = box
    height = rle["size"][0]
    counts = np.array(rle["counts"], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(counts)]).clip(x0 * height, (x1 + 1) * height)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, np.diff(bounds))
    columns: NDArray[np.bool_] = flat.reshape(x1 - x0 + 1, height).T[y0 : y1 + 1]
    return columns
