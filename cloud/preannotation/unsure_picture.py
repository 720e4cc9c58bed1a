"""Where to look: the picture in grey, orange where the draft is unsure."""

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.drafting import Draft
from lifelong.records.label_map import IGNORE_INDEX

# Told apart from grey with every kind of colour vision (Okabe and Ito 2008).
_ORANGE = np.array([230, 159, 0], dtype=np.float32)
_STRONGEST = 0.9  # share of orange where nothing is known


def unsure_picture(image: NDArray[np.uint8], draft: Draft) -> NDArray[np.uint8]:
    """The less sure, the more orange; pixels that no class was given are all orange.

    Args:
        image: (H, W, 3), uint8, RGB.

    Returns:
        (H, W, 3), uint8, RGB.
    """
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    unsure = 1 - np.clip(draft.confidence.astype(np.float32), 0, 1)
    unsure[draft.mask == IGNORE_INDEX] = 1
    share = _STRONGEST * unsure[..., None]
    return np.asarray((1 - share) * grey[..., None] + share * _ORANGE + 0.5, dtype=np.uint8)
