"""What several annotators of one picture agree on, pixel by pixel."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX


def consensus(masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The class with most votes at every pixel; a tie is 255.

    Every mask has one vote a pixel, and 255 ("I do not know") is a vote like any other: one
    person's car beside two persons' silence stays unlabelled, and so does car against road.

    Args:
        masks: at least one, each (H, W), uint8, class ids or 255.

    Returns:
        (H, W), uint8.

    Raises:
        ShapeError: no mask, not uint8 (H, W), or masks of different sizes.

    >>> one, two = np.uint8([[1, 1, 0]]), np.uint8([[1, 2, 255]])
    >>> consensus([one, two, two]).tolist(), consensus([one, two]).tolist()
    ([[1, 2, 255]], [[1, 255, 255]])
    """
    if not masks:
        raise ShapeError("consensus of no mask at all; give at least one")
    for mask in masks:
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.shape != masks[0].shape:
            raise ShapeError(
                f"consensus: expected uint8 {masks[0].shape}, got {mask.dtype} {mask.shape}"
            )
    most = np.zeros(masks[0].shape, dtype=np.uint16)  # votes of the best so far
    winner = np.full(masks[0].shape, IGNORE_INDEX, dtype=np.uint8)
    present = np.zeros(256, dtype=np.bool_)
    for mask in masks:
        present[mask] = True
    for value in np.flatnonzero(present).tolist():
        votes = np.zeros(masks[0].shape, dtype=np.uint16)
        for mask in masks:
            votes += mask == value
        winner[votes == most] = IGNORE_INDEX  # a tie so far; nobody's pixels stay 255
        better = votes > most
        winner[better] = value
        most[better] = votes[better]
    return winner
