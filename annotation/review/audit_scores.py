"""How good was an answer to a picture whose labels are known: the draft's, and the annotator's."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.review.agreement import agreement, boundary_agreement
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

_MIN_AREA = 16  # pixels; less is not looked for
_MIN_DEPTH = 2.0  # pixels from a wrong patch's edge to its middle: a thin seam is no error


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerScore:
    """One mask beside the known answer; pixels whose answer is 255 count for nothing."""

    miou: float  # mean over the classes in either of them, 0 .. 1
    boundary: float  # boundary F, the same mean
    iou: dict[str, float]  # by class name
    boundary_f: dict[str, float]  # by class name
    right_share: float  # of the pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """What became of the errors in the draft that an annotator was shown."""

    found: int  # at least half of the error's pixels are right now
    missed: int
    spoiled_share: float  # of the pixels: right in the draft, wrong after


def score_answer(
    answer: NDArray[np.uint8], truth: NDArray[np.uint8], label_map: LabelMap
) -> AnswerScore:
    """Compare (H, W) uint8 class ids with the known ones.

    Raises:
        ShapeError: the masks have different sizes.
    """
    judged = truth != IGNORE_INDEX
    seen = np.where(judged, answer, IGNORE_INDEX).astype(np.uint8)
    pixels, outlines = agreement(seen, truth), boundary_agreement(seen, truth)
    return AnswerScore(
        miou=pixels.miou,
        boundary=outlines.mean_f,
        iou={label_map.names[i]: round(value, 4) for i, value in pixels.iou.items()},
        boundary_f={label_map.names[i]: round(value, 4) for i, value in outlines.f.items()},
        right_share=float(np.mean(seen[judged] == truth[judged])) if judged.any() else 1.0,
    )


def errors_in(draft: NDArray[np.uint8], truth: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """The errors of a draft that a person should see: connected wrong patches, not seams.

    Returns:
        One (H, W) bool picture an error.
    """
    wrong = ((draft != truth) & (truth != IGNORE_INDEX)).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(wrong, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(wrong, connectivity=8)
    return [
        pieces == number
        for number in range(1, count)
        if boxes[number, cv2.CC_STAT_AREA] >= _MIN_AREA
        and depth[pieces == number].max() >= _MIN_DEPTH
    ]


def count_errors(
    draft: NDArray[np.uint8], answer: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> ErrorCount:
    """Which errors of the draft are gone from the answer; all are (H, W) uint8."""
    right = answer == truth
    errors = errors_in(draft, truth)
    found = sum(bool(right[error].mean() >= 0.5) for error in errors)
    judged = truth != IGNORE_INDEX
    spoiled = judged & (draft == truth) & ~right
    return ErrorCount(
        found=found,
        missed=len(errors) - found,
        spoiled_share=float(spoiled.sum() / max(int(judged.sum()), 1)),
    )


def with_planted_errors(
    truth: NDArray[np.uint8], *, classes: int, errors: int, seed: int
) -> NDArray[np.uint8]:
    """A known answer, damaged as drafts are: in turn a piece has another name, is left out, or
    runs over its edge; where there are too few pieces, a patch of another class lies in one.

    The same seed plants the same errors.

    Args:
        truth: (H, W), uint8, class ids; 255 stays.
        classes: how many there are; with one alone, pieces can only be left out or moved.

    Returns:
        (H, W), uint8.
    """
    random = np.random.default_rng(seed)
    draft = truth.copy()
    pieces = _pieces(truth)
    order = random.permutation(len(pieces)).tolist()
    for number in range(errors):
        if number < len(order):
            piece = pieces[order[number]]
            kind = number % 3
        else:
            piece, kind = _patch_in(truth, random), 0
        class_id = int(truth[piece][0]) if piece.any() else 0
        if kind == 0 and classes > 1:
            draft[piece] = (class_id + int(random.integers(1, classes))) % classes
        elif kind == 2:
            reach = 2 * max(3, int(0.15 * np.sqrt(piece.sum()))) + 1
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
            grown = cv2.dilate(piece.astype(np.uint8), disc).astype(np.bool_)
            draft[grown] = class_id
        else:
            draft[piece] = _around(truth, piece)
    draft[truth == IGNORE_INDEX] = IGNORE_INDEX
    return draft


def _pieces(truth: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Pieces that can be seen and do not fill half of the picture."""
    found = []
    for class_id in np.unique(truth[truth != IGNORE_INDEX]).tolist():
        of_class = (truth == class_id).astype(np.uint8)
        count, pieces, boxes, _ = cv2.connectedComponentsWithStats(of_class, connectivity=8)
        areas = boxes[:, cv2.CC_STAT_AREA]
        chosen = [n for n in range(1, count) if 0.002 <= areas[n] / truth.size <= 0.5]
        found += [pieces == n for n in chosen if _is_thick(pieces == n)]
    return found


def _is_thick(piece: NDArray[np.bool_]) -> bool:
    """Is a piece thick enough that its loss would count as an error?"""
    nothing = np.zeros(piece.shape, dtype=np.uint8)
    return bool(errors_in(nothing, piece.astype(np.uint8)))


def _patch_in(truth: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.bool_]:
    """A disc somewhere on labelled pixels."""
    rows, columns = np.nonzero(truth != IGNORE_INDEX)
    if not rows.size:
        return np.zeros(truth.shape, dtype=np.bool_)
    at = int(random.integers(rows.size))
    y, x = np.ogrid[: truth.shape[0], : truth.shape[1]]
    radius = max(4, min(truth.shape) // 8)
    patch = truth == truth[rows[at], columns[at]]
    patch &= (y - rows[at]) ** 2 + (x - columns[at]) ** 2 <= radius**2
    return np.asarray(patch, dtype=np.bool_)


def _around(truth: NDArray[np.uint8], piece: NDArray[np.bool_]) -> int:
    """The class that most of a piece's surroundings have; 255 when nothing else is there."""
    near = cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_) & ~piece
    ids = truth[near & (truth != IGNORE_INDEX)]
    return int(np.bincount(ids).argmax()) if ids.size else IGNORE_INDEX
