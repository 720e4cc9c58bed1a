"""Masks over pictures: the one function that lays classes' colours over what a camera saw.

Colours are the label map's, so Label Studio, reviews, reports and the monitor agree. What nobody
knows (255, and ids that the label map does not have) never gets a class's colour.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lifelong.records.label_map import LabelMap

_HATCH_PX = 8  # between two strokes, on pictures of up to 480 rows
_STROKE = 0.7  # how much of a stroke's white or black is seen


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    opacity: float = 0.6,
    unknown: Literal["hatched", "as it is"] = "hatched",
    outlined: bool = False,
) -> NDArray[np.uint8]:
    """The picture under its classes' colours.

    Args:
        image: (H, W, 3), uint8, RGB.
        mask: (H, W), uint8, class ids.
        opacity: of the colours, 0 .. 1.
        unknown: how pixels look that no class of the label map was given to.
        outlined: with dark lines between classes.

    Returns:
        (H, W, 3), uint8, RGB.
    """
    part = round(256 * opacity)
    # In whole numbers: pictures of cameras are large, and floats four times as large.
    colours = label_map.palette.astype(np.uint16) * part + 128
    shown = ((image.astype(np.uint16) * (256 - part) + colours[mask]) >> 8).astype(np.uint8)
    nobody_knows = mask >= len(label_map)
    shown[nobody_knows] = image[nobody_knows]
    if unknown == "hatched":
        shown = hatched(shown, nobody_knows)
    if outlined:
        lines = np.zeros(mask.shape, dtype=bool)
        lines[1:] |= mask[1:] != mask[:-1]
        lines[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        shown[lines] //= 3
    return shown


def hatched(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with strokes where `where` says so: a light beside a dark one, for any ground.

    Args:
        picture: (H, W, 3), uint8, RGB.
        where: (H, W), bool.

    Returns:
        (H, W, 3), uint8: a new picture.
    """
    shown = picture.copy()
    if not where.any():
        return shown
    height, width = where.shape
    scale = max(1, round(height / 480))
    rising = (np.arange(height)[:, None] + np.arange(width)) // scale % _HATCH_PX
    for place, tone in ((0, 255), (1, 0)):
        stroke = where & (rising == place)
        kept = (1 - _STROKE) * shown[stroke]
        shown[stroke] = (kept + _STROKE * tone).astype(np.uint8)
    return shown
