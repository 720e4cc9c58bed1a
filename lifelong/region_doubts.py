"""How sure a prediction is of its regions: means over each connected piece, or over each class.

Works on horizontal runs of equal class, not on pixels: a frame of a video is judged within a
millisecond, thousands of runs instead of hundreds of thousands of pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lifelong.records.pixels import Prediction
from lifelong.regions import connected_pieces, run_boxes

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# What a pixel counts as when its value is not a number: as doubtful as can be.
_WORST = {"confidence": 0.0, "entropy": 1.0, "margin": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionDoubt:
    """How sure the model is of one region; means over the region's pixels."""

    class_id: int
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels
    confidence: float  # mean probability of the chosen class, 0 .. 1
    entropy: float  # mean normalised entropy, 0 .. 1
    margin: float  # mean of best minus second best probability, 0 .. 1
    share_below: float  # of the pixels whose confidence is under the threshold, 0 .. 1


def region_scores(
    prediction: Prediction,
    confidence_below: float = 0.7,
    *,
    by: Literal["piece", "class"] = "piece",
) -> tuple[RegionDoubt, ...]:
    """How sure the model is of each region: of each connected piece, or of each class as a whole.

    Returns:
        Pieces in reading order of their first pixels, or classes by id; none without pixels.
    """
    mask = prediction.mask
    if mask.size == 0:
        return ()
    flat = np.ascontiguousarray(mask).ravel()
    starts = _run_starts(flat, mask.shape[1])
    ends = np.append(starts[1:], flat.size) - 1
    if by == "piece":
        pieces = connected_pieces(mask)
        numbers, boxes, class_ids = pieces.labels.ravel()[starts], pieces.boxes, pieces.class_ids
    else:
        present, numbers = np.unique(flat[starts], return_inverse=True)
        boxes, class_ids = run_boxes(numbers, starts, ends, mask.shape[1]), present
    areas = np.bincount(numbers, weights=ends - starts + 1)
    confidence = bounded_plane(prediction, "confidence")
    planes = (
        confidence,
        bounded_plane(prediction, "entropy"),
        bounded_plane(prediction, "margin"),
        (confidence < confidence_below).astype(np.float32),
    )
    columns = [_sums(plane, starts, numbers) / areas for plane in planes]
    return tuple(
        RegionDoubt(
            class_id=int(class_ids[index]),
            area=int(areas[index]),
            box=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
            confidence=_share(columns[0][index]),
            entropy=_share(columns[1][index]),
            margin=_share(columns[2][index]),
            share_below=_share(columns[3][index]),
        )
        for index, box in enumerate(boxes)
    )


def bounded_plane(
    prediction: Prediction, name: Literal["confidence", "entropy", "margin"]
) -> NDArray[np.float32]:
    """One (H, W) float32 plane within 0 .. 1; what is no number is as doubtful as can be."""
    plane: NDArray[np.float32] = getattr(prediction, name)
    # NaN is in no interval: one look at both ends passes the usual plane without a copy.
    if plane.size == 0 or (plane.min() >= 0.0 and plane.max() <= 1.0):
        return plane
    return np.clip(np.where(np.isfinite(plane), plane, np.float32(_WORST[name])), 0.0, 1.0)


def _run_starts(flat: NDArray[np.uint8], width: int) -> Indices:
    """Where a class begins in the flat mask; every row begins one."""
    begins = np.ones(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    return np.flatnonzero(begins)


def _sums(plane: NDArray[np.float32], starts: Indices, numbers: Indices) -> Floats:
    """Sums of a plane by region; float32 within a run, where numpy adds in pairs, then float64."""
    runs = np.add.reduceat(np.ascontiguousarray(plane).ravel(), starts)
    return np.bincount(numbers, weights=runs).astype(np.float64)


def _share(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
