"""A contact sheet: the pictures of a condition on one PNG, for a person to name it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_WIDTH, _CAPTION, _GAP = 224, 16, 6  # pixels
_COLUMNS = 4
_PAPER, _INK = (24, 24, 24), (230, 230, 230)


@dataclass(frozen=True, slots=True)
class Captioned:
    """A picture and what stands under it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    caption: str


def contact_sheet(pictures: Sequence[Captioned]) -> bytes:
    """Pictures in rows of four, each as wide as its column, as the bytes of a PNG."""
    columns = max(1, min(_COLUMNS, len(pictures)))
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    small = [[_fitted(one.image) for one in row] for row in rows]
    heights = [max(image.height for image in row) + _CAPTION + _GAP for row in small]
    size = (columns * (_WIDTH + _GAP) + _GAP, sum(heights) + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    top = _GAP
    for row, images, height in zip(rows, small, heights, strict=True):
        for column, (one, image) in enumerate(zip(row, images, strict=True)):
            left = _GAP + column * (_WIDTH + _GAP)
            sheet.paste(image, (left, top))
            pen.text((left, top + height - _CAPTION - _GAP), one.caption, fill=_INK, font=font)
        top += height
    target = io.BytesIO()
    sheet.save(target, format="PNG")
    return target.getvalue()


def _fitted(image: NDArray[np.uint8]) -> Image.Image:
    height = max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
    return Image.fromarray(image).resize((_WIDTH, height), Image.Resampling.BILINEAR)
