"""A picture for a reviewer: the image, the draft, what was submitted, and where they differ."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lifelong.overlays import overlay
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

_CAPTION = 18  # pixels
_MAX_WIDTH = 960  # pixels of one of the four


def review_picture(
    image: NDArray[np.uint8],
    draft: NDArray[np.uint8] | None,
    submitted: NDArray[np.uint8] | None,
    label_map: LabelMap,
) -> bytes:
    """Four pictures in two rows, as one PNG; what is not there yet is grey.

    In the last one pixels that were not touched are dark, and changed ones have the colour of
    what they became; magenta are those that lost their class.

    Args:
        image: (H, W, 3), uint8, RGB.
        draft: (H, W), uint8, class ids.
        submitted: (H, W), uint8, class ids.
    """
    grey = np.full_like(image, 96)
    difference = grey
    if draft is not None and submitted is not None:
        changed = draft != submitted
        painted = label_map.paint(submitted)
        painted[changed & (submitted == IGNORE_INDEX)] = (255, 0, 255)
        difference = np.where(changed[..., None], painted, image // 4).astype(np.uint8)
    panels = [
        ("image", image),
        ("draft", grey if draft is None else overlay(image, draft, label_map)),
        ("submitted", grey if submitted is None else overlay(image, submitted, label_map)),
        ("difference", difference),
    ]
    height, width = image.shape[:2]
    scale = min(1.0, _MAX_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    row = size[1] + _CAPTION
    sheet = Image.new("RGB", (2 * size[0], 2 * row))
    pen = ImageDraw.Draw(sheet)
    for number, (caption, panel) in enumerate(panels):
        x, y = number % 2 * size[0], number // 2 * row
        pen.text((x + 4, y + 3), caption, fill=(255, 255, 255))
        sheet.paste(Image.fromarray(panel).resize(size), (x, y + _CAPTION))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
