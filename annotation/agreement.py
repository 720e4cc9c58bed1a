"""How much did a person change: IoU of the draft against the correction, and pixels changed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX


@dataclass(frozen=True, slots=True)
class Agreement:
    """A draft compared with its correction."""

    miou: float  # mean over the classes in either of them, 0 .. 1
    iou: dict[int, float]  # class id -> IoU, 0 .. 1
    changed_pixels: int


def agreement(draft: NDArray[np.uint8], correction: NDArray[np.uint8]) -> Agreement:
    """Compare two masks of class ids.

    255 is no class but does count: a region that a person removed is a change, and lowers the IoU
    of its class. Two masks without any class agree entirely.

    >>> agreement(np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    Agreement(miou=0.5, iou={0: 0.5, 1: 0.5}, changed_pixels=1)

    Args:
        draft: (H, W), uint8.
        correction: (H, W), uint8.

    Raises:
        ShapeError: the masks have different sizes.
    """
    if draft.shape != correction.shape:
        raise ShapeError(f"draft {draft.shape} and correction {correction.shape} differ in size")
    ids = np.arange(IGNORE_INDEX)
    same = np.bincount(correction[draft == correction].ravel(), minlength=256)[ids]
    either = (
        np.bincount(draft.ravel(), minlength=256)[ids]
        + np.bincount(correction.ravel(), minlength=256)[ids]
        - same
    )
    iou = {int(i): float(same[i] / either[i]) for i in np.flatnonzero(either)}
    return Agreement(
        miou=sum(iou.values()) / len(iou) if iou else 1.0,
        iou=iou,
        changed_pixels=int(np.count_nonzero(draft != correction)),
    )
