"""Class-agnostic masks of one picture as parallel arrays, and their run lengths; numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError

# Starts and ends (exclusive) of runs of ones, column-major pixel numbers.
Runs = tuple[NDArray[np.int64], NDArray[np.int64]]


class Rle(TypedDict):
    """COCO's uncompressed run lengths: column by column, zeros first."""

    size: list[int]  # height, width
    counts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskProposals:
    """Masks that may overlap and nest, in the order they were proposed.

    Raises:
        ShapeError: the arrays differ in length, or a mask has another size than the picture.
    """

    height: int  # pixels
    width: int
    rles: tuple[Rle, ...]
    areas: NDArray[np.int64]  # (N,), pixels
    boxes: NDArray[np.int64]  # (N, 4), x0, y0, x1, y1 inclusive
    # (N,), the proposer's own guess, 0 .. 1; a regression may answer a little more than 1.
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]  # (N,), 0 .. 1
    points: NDArray[np.float64]  # (N, 2), x and y of the click it answers; NaN: of none
    crop_boxes: NDArray[np.int64]  # (N, 4), x, y, width, height of the part it was found in

    def __post_init__(self) -> None:
        count = len(self.rles)
        scores = {len(self.predicted_iou), len(self.stability)}
        places = {len(self.areas), len(self.boxes), len(self.points), len(self.crop_boxes)}
        lengths = scores | places
        if lengths != {count}:
            raise ShapeError(f"MaskProposals: {count} masks, but arrays of {sorted(lengths)}")
        for rle in self.rles:
            if rle["size"] != [self.height, self.width]:
                raise ShapeError(
                    f"MaskProposals: a mask of {rle['size']} for a picture of "
                    f"{[self.height, self.width]}"
                )

    def __len__(self) -> int:
        return len(self.rles)

    def filter(self, keep: NDArray[np.bool_]) -> "MaskProposals":
        """Only the masks where `keep` (N,) is true."""
        return MaskProposals(
            height=self.height,
            width=self.width,
            rles=tuple(rle for rle, kept in zip(self.rles, keep, strict=True) if kept),
            areas=self.areas[keep],
            boxes=self.boxes[keep],
            predicted_iou=self.predicted_iou[keep],
            stability=self.stability[keep],
            points=self.points[keep],
            crop_boxes=self.crop_boxes[keep],
        )


def no_proposals(height: int, width: int) -> MaskProposals:
    """A picture without any mask."""
    return proposals_from_rles([], height=height, width=width)


def proposals_from_rles(
    rles: Sequence[Rle], *, height: int, width: int,
    predicted_iou: Sequence[float] | None = None, stability: Sequence[float] | None = None,
    points: NDArray[np.float64] | None = None, crop_boxes: NDArray[np.int64] | None = None,
) -> MaskProposals:  # fmt: skip
    """Proposals with areas and boxes computed from the runs.

    Where they are not given, scores are 1, no mask answers a click, and all were found in the
    whole picture.
    """
    ones = [1.0] * len(rles)
    if points is None:
        points = np.full((len(rles), 2), np.nan)
    if crop_boxes is None:
        crop_boxes = np.tile(np.array([[0, 0, width, height]], dtype=np.int64), (len(rles), 1))
    return MaskProposals(
        height=height,
        width=width,
        rles=tuple(rles),
        areas=np.array([sum(rle["counts"][1::2]) for rle in rles], dtype=np.int64),
        boxes=np.array([box_of(rle) for rle in rles], dtype=np.int64).reshape(-1, 4),
        predicted_iou=np.array(ones if predicted_iou is None else predicted_iou, np.float32),
        stability=np.array(ones if stability is None else stability, np.float32),
        points=points,
        crop_boxes=crop_boxes,
    )


def rle_from_mask(mask: NDArray[np.bool_]) -> Rle:
    """(H, W) booleans to run lengths."""
    height, width = mask.shape
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    bounds = np.concatenate([[0], edges, [height * width]])
    counts = np.diff(bounds)
    # A mask that ends in ones has no last run of zeros.
    return Rle(size=[height, width], counts=counts[: len(counts) - (counts[-1] == 0)].tolist())


def rle_from_part(part: NDArray[np.bool_], *, x0: int, y0: int, height: int, width: int) -> Rle:
    """Run lengths, in a picture, of a mask that is empty outside a part of the picture.

    Args:
        part: (h, w) booleans; its first pixel is the picture's pixel (y0, x0).
        height: of the picture, pixels; the part lies inside.
    """
    # numpy finds the true places of a line several times as fast as those of a plane.
    rows, columns = np.divmod(np.flatnonzero(part[1:] != part[:-1]), part.shape[1])
    tops, bottoms = np.flatnonzero(part[0]), np.flatnonzero(part[-1])
    # Column-major numbers of the pixels where runs of ones start and end; only these are few.
    edges = np.concatenate(
        [
            (columns + x0) * height + (rows + 1 + y0),
            (tops + x0) * height + y0,
            (bottoms + x0) * height + (y0 + len(part)),
        ]
    )
    edges.sort()
    # A column that ends in ones and a next one that begins with them are one run: both name the
    # same pixel, the one as its end, the other as its start.
    twice = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, np.concatenate([twice, twice + 1]))
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    return Rle(size=[height, width], counts=counts[: len(counts) - (counts[-1] == 0)].tolist())


def rles_from_pieces(numbers: NDArray[np.int64]) -> list[Rle]:
    """Run lengths of every piece of a picture that is cut into pieces 1 .. N, in one pass.

    Args:
        numbers: (H, W), the piece each pixel belongs to; 0 is no piece.
    """
    height, width = numbers.shape
    flat = numbers.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.concatenate([starts[1:], [flat.size]])
    owners = flat[starts]
    order = np.argsort(owners, kind="stable")
    bounds = np.stack([starts[order], ends[order]], axis=1)
    cuts = np.flatnonzero(np.diff(owners[order])) + 1
    rles = []
    for piece, number in zip(
        np.split(bounds, cuts), owners[order][np.append(0, cuts)], strict=True
    ):
        if number > 0:
            edges = np.concatenate([[0], piece.ravel(), [flat.size]])
            counts = np.diff(edges)
            counts = counts[: len(counts) - (counts[-1] == 0)]
            rles.append(Rle(size=[height, width], counts=counts.tolist()))
    return rles


def mask_from_rle(rle: Rle) -> NDArray[np.bool_]:
    """Run lengths to (H, W) booleans.

    Raises:
        ShapeError: the runs do not fill the picture.
    """
    height, width = rle["size"]
    counts = np.array(rle["counts"], dtype=np.int64)
    if counts.sum() != height * width or (counts < 0).any():
        raise ShapeError(f"run lengths sum to {counts.sum()}, expected {height} x {width}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((width, height)).T


def runs_of(rle: Rle) -> Runs:
    """Starts and ends (exclusive) of the runs of ones, in column-major pixel numbers."""
    bounds = np.cumsum(np.array(rle["counts"], dtype=np.int64))
    starts, ends = bounds[0::2][: len(bounds) // 2], bounds[1::2]
    filled = ends > starts
    return starts[filled], ends[filled]


def box_of(rle: Rle) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 inclusive; (0, 0, -1, -1) for an empty mask."""
    starts, ends = runs_of(rle)
    if not starts.size:
        return (0, 0, -1, -1)
    height = rle["size"][0]
    first, last = starts // height, (ends - 1) // height
    several = bool((last > first).any())  # a run over a column's end touches top and bottom
    top = 0 if several else int((starts % height).min())
    bottom = height - 1 if several else int(((ends - 1) % height).max())
    return (int(first.min()), top, int(last.max()), bottom)


def mask_in_box(rle: Rle, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """The part of a mask inside a box, (y1 - y0 + 1, x1 - x0 + 1) booleans.

    Args:
        box: x0, y0, x1, y1 inclusive, inside the picture.
    """
    x0, y0, x1, y1 = box
    height = rle["size"][0]
    first, last = x0 * height, (x1 + 1) * height  # whole columns
    starts, ends = runs_of(rle)
    inside = (ends > first) & (starts < last)
    change = np.zeros(last - first + 1, dtype=np.int8)
    change[np.maximum(starts[inside], first) - first] = 1
    # Runs never touch each other, so no number is both a start and an end.
    change[np.minimum(ends[inside], last) - first] = -1
    columns = np.cumsum(change[:-1], dtype=np.int8).reshape(x1 - x0 + 1, height)
    return columns.T[y0 : y1 + 1].astype(np.bool_)


def paint(
    flat: NDArray[np.generic], rles: Sequence[Rle], values: Sequence[float] | NDArray[np.generic]
) -> None:
    """Paint masks with one value each onto column-major pixels, in place; later ones on top."""
    paint_runs(flat, [runs_of(rle) for rle in rles], values)


def paint_runs(
    flat: NDArray[np.generic], runs: Sequence[Runs], values: Sequence[float] | NDArray[np.generic]
) -> None:
    """The same for masks whose runs are known already."""
    for (starts, ends), value in zip(runs, values, strict=True):
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            flat[start:end] = value
