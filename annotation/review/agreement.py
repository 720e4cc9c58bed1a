"""How alike are two masks: IoU, boundary F and changed pixels; draft and person, or two persons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX

# Of the image's diagonal, as Csurka et al. 2013 chose it: 4.5 pixels at 480 x 360.
_TOLERANCE_SHARE = 0.0075


@dataclass(frozen=True, slots=True)
class Agreement:
    """A draft compared with its correction."""

    miou: float  # mean over the classes in either of them, 0 .. 1
    iou: dict[int, float]  # class id -> IoU, 0 .. 1
    changed_pixels: int


@dataclass(frozen=True, slots=True)
class BoundaryAgreement:
    """How well the outlines of two masks lie on each other."""

    mean_f: float  # mean over the classes in either of them, 0 .. 1
    f: dict[int, float]  # class id -> F, 0 .. 1


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
    _check(draft, correction)
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


def boundary_tolerance(height: int, width: int) -> float:
    """How far an outline may lie off and still be right: 0.75 % of the diagonal, 1 pixel at least.

    >>> boundary_tolerance(360, 480)
    4.5
    """
    return max(1.0, _TOLERANCE_SHARE * math.hypot(height, width))


def boundary_agreement(
    one: NDArray[np.uint8], other: NDArray[np.uint8], *, tolerance_px: float | None = None
) -> BoundaryAgreement:
    """Boundary F of every class (Csurka et al. 2013; Perazzi et al. 2016, DAVIS, contour F).

    The boundary of a class are its pixels with a neighbour (above, below, left, right) of another
    class; the picture's own edge is none. P is the share of one mask's boundary within
    `tolerance_px` (Euclidean) of the other's, R the same the other way round, F = 2PR / (P + R).
    A class that fills the whole picture has no boundary: F is 1 where both masks do, else 0.

    A square of 3 x 3 moved right by one: 4 of its 8 outline pixels lie on the other's, and so do
    4 of the 12 pixels of background around it.

    >>> one, other = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    >>> one[3:6, 3:6] = 1
    >>> other[3:6, 4:7] = 1
    >>> {c: round(f, 3) for c, f in boundary_agreement(one, other, tolerance_px=0).f.items()}
    {0: 0.333, 1: 0.5}
    >>> boundary_agreement(one, other, tolerance_px=1).mean_f
    1.0

    Args:
        one: (H, W), uint8, class ids; 255 is no class.
        other: the same size; which is which does not matter.
        tolerance_px: None takes `boundary_tolerance` of the size.

    Raises:
        ShapeError: the masks have different sizes.
    """
    _check(one, other)
    tolerance = boundary_tolerance(*one.shape) if tolerance_px is None else tolerance_px
    present = np.bincount(one.ravel(), minlength=256) + np.bincount(other.ravel(), minlength=256)
    ids = [int(i) for i in np.flatnonzero(present[:IGNORE_INDEX])]
    f = {class_id: _f(one == class_id, other == class_id, tolerance) for class_id in ids}
    return BoundaryAgreement(mean_f=sum(f.values()) / len(f) if f else 1.0, f=f)


def between(masks: Sequence[NDArray[np.uint8]]) -> tuple[float, float] | None:
    """Mean mIoU and mean boundary F over all pairs of annotators; None when there is one alone.

    Raises:
        ShapeError: the masks have different sizes.
    """
    pairs = list(combinations(masks, 2))
    if not pairs:
        return None
    return (
        sum(agreement(a, b).miou for a, b in pairs) / len(pairs),
        sum(boundary_agreement(a, b).mean_f for a, b in pairs) / len(pairs),
    )


def _check(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    if one.shape != other.shape:
        raise ShapeError(f"draft {one.shape} and correction {other.shape} differ in size")


def _f(one: NDArray[np.bool_], other: NDArray[np.bool_], tolerance: float) -> float:
    if np.array_equal(one, other):
        return 1.0
    outlines = [_outline(one), _outline(other)]
    rows = np.flatnonzero((outlines[0] | outlines[1]).any(axis=1))
    if not rows.size:  # nowhere in one, everywhere in the other
        return 0.0
    columns = np.flatnonzero((outlines[0] | outlines[1]).any(axis=0))
    # Distances run between outlines only, so what lies around them need not be looked at.
    first, second = (
        outline[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for outline in outlines
    )
    precision, recall = _near(first, second, tolerance), _near(second, first, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(outline: NDArray[np.bool_], other: NDArray[np.bool_], tolerance: float) -> float:
    """Share of an outline's pixels within the tolerance of the other outline."""
    if not outline.any() or not other.any():
        return 0.0
    distance = cv2.distanceTransform(
        np.where(other, 0, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return float(np.mean(distance[outline] <= tolerance + 1e-4))


def _outline(painted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(painted.astype(np.uint8), cross).astype(np.bool_)
    return painted & ~inner
