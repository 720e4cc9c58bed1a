"""Pictures and prompts, checked before a SAM sees them."""

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.sam.promptable import Prompts
from lifelong.errors import ShapeError


def checked_picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture itself, contiguous.

    Raises:
        ShapeError: not (H, W, 3) uint8, or without a pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"picture of shape {image.shape}, {image.dtype}; expected (H, W, 3) uint8")
    return np.ascontiguousarray(image)


def prompt_count(prompts: Prompts) -> int:
    """N.

    Raises:
        ShapeError: no prompt at all, points without labels, or parts that differ in N.
    """
    if (prompts.points is None) != (prompts.point_labels is None):
        raise ShapeError("prompts: points and labels go together; expected a label for each point")
    parts = (prompts.points, prompts.point_labels, prompts.boxes, prompts.low_res_masks)
    counts = {len(part) for part in parts if part is not None}
    if len(counts) != 1:
        raise ShapeError(f"prompts: {sorted(counts)} of each kind; expected one number of prompts")
    return counts.pop()
