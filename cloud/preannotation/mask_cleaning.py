"""Small holes filled and small islands dropped, as segment-anything does it, but only where the
mask is; a mask that has none of them is left alone."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import Rle, box_of, mask_in_box, rle_from_part

_Mask = NDArray[np.bool_]
_Box = tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive


def cleaned(rle: Rle, min_area_px: int) -> tuple[Rle, bool]:
    """The mask with holes filled, then islands dropped, of fewer pixels than `min_area_px`.

    Pixels that touch at a corner belong together. Where all islands are small, the largest one
    stays; of an empty mask, the background may be one small hole.

    Returns:
        The mask, and whether it changed; an unchanged one is the very object that was given.
    """
    height, width = rle["size"]
    picture = (0, 0, width - 1, height - 1)
    window = _window(rle, min_area_px)
    before = mask_in_box(rle, window)
    filled = _without_holes(before, min_area_px, _outside(window, picture))
    after = _without_islands(filled, min_area_px, several_largest=window == picture)
    if after is None:
        # The first of several largest islands stays, and which is first, the whole picture says.
        window, before = picture, mask_in_box(rle, picture)
        filled = _without_holes(before, min_area_px, [])
        after = _without_islands(filled, min_area_px, several_largest=True)
    if after is None or after is before:
        return rle, False
    return rle_from_part(after, x0=window[0], y0=window[1], height=height, width=width), True


def _window(rle: Rle, min_area_px: int) -> _Box:
    """The mask's box and one pixel around it: all of its holes and islands, and what surrounds it.

    The whole picture, where a piece of background beyond the box could itself be a small hole.
    """
    height, width = rle["size"]
    x0, y0, x1, y1 = box_of(rle)
    x0, y0, x1, y1 = max(x0 - 1, 0), max(y0 - 1, 0), min(x1 + 1, width - 1), min(y1 + 1, height - 1)
    if (y0, y1) == (0, height - 1):
        pieces = [x0 * height, (width - 1 - x1) * height]
    elif (x0, x1) == (0, width - 1):
        pieces = [y0 * width, (height - 1 - y1) * width]
    else:
        pieces = [height * width - (x1 - x0 + 1) * (y1 - y0 + 1)]
    empty = x1 < x0 or y1 < y0
    if empty or any(0 < piece < min_area_px for piece in pieces):
        return (0, 0, width - 1, height - 1)
    return (x0, y0, x1, y1)


def _outside(window: _Box, picture: _Box) -> list[tuple[int, int]]:
    """A pixel, y and x in the window, on each of its sides beyond which the picture goes on."""
    x0, y0, x1, y1 = window
    inner = [x0 > picture[0], y0 > picture[1], x1 < picture[2], y1 < picture[3]]
    return [
        place
        for place, goes_on in zip([(0, 0), (0, 0), (0, -1), (-1, 0)], inner, strict=True)
        if goes_on
    ]


def _without_holes(mask: _Mask, min_area_px: int, outside: list[tuple[int, int]]) -> _Mask:
    """The mask itself where it has no small hole; background at `outside` pixels is none."""
    numbers, sizes = _pieces(~mask)
    small = sizes < min_area_px
    small[0] = False
    small[[numbers[place] for place in outside]] = False
    return mask | small[numbers] if small.any() else mask


def _without_islands(mask: _Mask, min_area_px: int, *, several_largest: bool) -> _Mask | None:
    """The mask itself where it has no small island.

    None where all are small and more than one is the largest, unless `several_largest` may be:
    then the first of them stays.
    """
    numbers, sizes = _pieces(mask)
    small = sizes < min_area_px
    small[0] = False
    if not small.any():
        return mask
    stays = ~small
    stays[0] = False
    if not stays.any():
        if not several_largest and (sizes[1:] == sizes[1:].max()).sum() > 1:
            return None
        stays[1 + int(sizes[1:].argmax())] = True
    return stays[numbers]


def _pieces(mask: _Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The 8-connected piece of every pixel, 0 where the mask is not, and the pieces' sizes."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    return np.asarray(numbers, dtype=np.int32), stats[:, cv2.CC_STAT_AREA].astype(np.int32)
