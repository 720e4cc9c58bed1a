"""How sure a prediction is of its regions: means over each connected piece, or over each class.

A frame of a video is judged within a millisecond: areas and boxes come from horizontal runs of
equal class, thousands instead of hundreds of thousands of pixels, and means from the cells of the
network's own grid.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lifelong.preprocessing import at_picture_size
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

    Areas and boxes are those of the mask. Classes take their means over the cells of the
    network's grid, pieces, which may be smaller than a cell, over the enlarged planes.

    Returns:
        Pieces in reading order of their first pixels, or classes by id; none without pixels.
    """
    if prediction.mask.size == 0:
        return ()
    if by == "piece":
        prediction = at_picture_size(prediction)
    mask = prediction.mask
    flat = np.ascontiguousarray(mask).ravel()
    starts = _run_starts(flat, mask.shape[1])
    ends = np.append(starts[1:], flat.size) - 1
    if by == "piece":
        pieces = connected_pieces(mask)
        numbers, boxes, class_ids = pieces.labels.ravel()[starts], pieces.boxes, pieces.class_ids
        cells = pieces.labels.ravel()
    else:
        run_classes = flat[starts]
        class_ids = np.flatnonzero(np.bincount(run_classes)).astype(np.uint8)
        place_of = np.zeros(256, dtype=np.int64)
        place_of[class_ids] = np.arange(len(class_ids))
        numbers = place_of[run_classes]
        boxes = run_boxes(numbers, starts, ends, mask.shape[1])
        cells = place_of[_cells(mask, prediction.confidence.shape)].ravel()
    areas = np.bincount(numbers, weights=ends - starts + 1)
    columns = _means(prediction, confidence_below, cells, len(class_ids))
    for number in np.flatnonzero(np.bincount(cells, minlength=len(class_ids)) == 0):
        # A class between the cells' middles: the cell that its first pixel lies in speaks for it.
        place = _cell_at(int(starts[numbers == number][0]), mask, prediction.confidence.shape)
        columns[:, number] = _values_at(prediction, confidence_below, place)
    # Python's own numbers, all at once: one by one, numpy's cost more than the sums above.
    rows = zip(class_ids.tolist(), areas.tolist(), boxes.tolist(), columns.T.tolist(), strict=True)
    return tuple(
        RegionDoubt(
            class_id=class_id,
            area=int(area),
            box=(box[0], box[1], box[2], box[3]),
            confidence=_share(confidence),
            entropy=_share(entropy),
            margin=_share(margin),
            share_below=_share(below),
        )
        for class_id, area, box, (confidence, entropy, margin, below) in rows
    )


def bounded_plane(
    prediction: Prediction, name: Literal["confidence", "entropy", "margin"]
) -> NDArray[np.float32]:
    """One (h, w) float32 plane within 0 .. 1; what is no number is as doubtful as can be."""
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


def _cells(mask: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """The class at the middle of each cell of a grid: (H, W) to (h, w)."""
    if mask.shape == grid:
        return mask
    rows, columns = (
        (np.arange(cells) * 2 + 1) * size // (2 * cells)
        for cells, size in zip(grid, mask.shape, strict=True)
    )
    chosen: NDArray[np.uint8] = mask[rows[:, None], columns]
    return chosen


def _cell_at(place: int, mask: NDArray[np.uint8], grid: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the cell that holds a place of the flat mask."""
    (height, width), (rows, columns) = mask.shape, grid
    return place // width * rows // height, place % width * columns // width


def _means(prediction: Prediction, confidence_below: float, cells: Indices, regions: int) -> Floats:
    """(4, N): mean confidence, entropy, margin and share below of the cells of each region."""
    counts = np.maximum(np.bincount(cells, minlength=regions), 1)
    return np.stack(
        [
            np.bincount(cells, weights=plane.ravel(), minlength=regions) / counts
            for plane in _planes(prediction, confidence_below)
        ]
    )


def _values_at(
    prediction: Prediction, confidence_below: float, place: tuple[int, int]
) -> list[float]:
    return [float(plane[place]) for plane in _planes(prediction, confidence_below)]


def _planes(prediction: Prediction, confidence_below: float) -> tuple[NDArray[np.generic], ...]:
    confidence = bounded_plane(prediction, "confidence")
    return (
        confidence,
        bounded_plane(prediction, "entropy"),
        bounded_plane(prediction, "margin"),
        confidence < confidence_below,
    )


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
