"""Class-agnostic masks vote with a class map: the rule of Semantic Segment Anything, on runs.

SSA (Chen, Yang & Zhang 2023) fills each mask with the class most of its pixels have in the
semantic map, from the largest mask to the smallest, so that small things stay on top of large
ones. This is the same rule without ever decoding a mask: counts of classes under a run are a
difference of running sums over the class map's own runs.

Two further rules are ours, and off by default: votes weighed by how sure the semantic model is,
and classes the vote would erase altogether that keep their pixels.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import (
    MaskProposals,
    Rle,
    Runs,
    mask_in_box,
    paint_runs,
    runs_of,
)
from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX

VoteWeights = Literal["majority", "probability", "probability+boundary"]
ErasedClasses = Literal["allow", "flag", "keep"]

# A pixel so far inside its mask has its whole vote; one on the edge has a share of it.
FULL_VOTE_PX = 5.0

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one mask decided."""

    proposal: int  # number of the mask among the proposals
    class_id: int  # 255: most of its pixels are of no class
    vote_share: float  # share of its pixels' votes that the class got, 0 .. 1
    margin: float  # that share less the next class's, 0 .. 1
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive
    predicted_iou: float
    stability: float
    tied: bool  # another class had as many votes; the lower id won


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """A draft and how it came about."""

    mask: NDArray[np.uint8]  # (H, W) class ids; never 255 unless the class map has it
    votes: tuple[Vote, ...]  # in painting order: largest mask first
    erased: tuple[int, ...]  # classes of the class map that no pixel kept
    kept: tuple[int, ...] = ()  # classes the vote had erased, and that were given their pixels


def fuse(
    proposals: MaskProposals,
    class_ids: NDArray[np.uint8],
    *,
    probabilities: NDArray[np.float32] | None = None,
    weights: VoteWeights = "majority",
    erased_classes: ErasedClasses = "flag",
) -> Fusion:
    """Let every mask vote, and paint the winners.

    1. Masks from the largest area to the smallest; equal areas keep their order.
    2. The winner is the class with most pixels of the *original* class map inside the mask. SSA
       leaves ties to `topk`, which has no rule; here the lowest class id wins.
    3. The mask is painted with the winner; later masks paint over earlier ones.

    Pixels in no mask keep the class they had. Empty masks are passed over (SSA fails on them).

    Args:
        class_ids: (H, W), uint8, the semantic branch's own answer; 255 is no class.
        probabilities: (C, H, W), float32, needed by all `weights` but "majority": a pixel then
            gives every class its probability, and no class what is missing to 1.
        weights: "probability+boundary" lets a pixel near the mask's edge count less: its distance
            to the edge over `FULL_VOTE_PX`, at most 1.
        erased_classes: "keep" gives classes that no pixel kept the pixels they had.

    Raises:
        ShapeError: the class map or the probabilities have another size than the proposals.
    """
    if class_ids.shape != (proposals.height, proposals.width):
        raise ShapeError(
            f"class map {class_ids.shape}, proposals for {(proposals.height, proposals.width)}"
        )
    flat = class_ids.ravel(order="F")
    order = [int(i) for i in np.argsort(-proposals.areas, kind="stable") if proposals.areas[i]]
    rles = [proposals.rles[i] for i in order]
    runs = [runs_of(rle) for rle in rles]
    if weights == "majority":
        counts: Floats | Ints = _class_counts(flat, runs)
    else:
        if probabilities is None or probabilities.shape[1:] != class_ids.shape:
            shape = None if probabilities is None else probabilities.shape
            raise ShapeError(f"votes by {weights}: probabilities {shape} for {class_ids.shape}")
        near = weights == "probability+boundary"
        counts = (
            _weighed_near_edges(probabilities, rles, [proposals.boxes[i] for i in order])
            if near
            else _weighed(probabilities, runs)
        )
    winners = counts.argmax(axis=1) if order else np.zeros(0, dtype=np.int64)
    out = flat.copy()
    paint_runs(out, runs, winners.tolist())
    lost = tuple(sorted(_classes_in(flat) - _classes_in(out) - {IGNORE_INDEX}))
    kept = lost if erased_classes == "keep" else ()
    for class_id in kept:
        out[flat == class_id] = class_id
    return Fusion(
        mask=np.ascontiguousarray(out.reshape(class_ids.shape[::-1]).T),
        votes=_votes(proposals, order, counts, winners),
        erased=() if erased_classes == "keep" else lost,
        kept=kept,
    )


def _classes_in(flat: NDArray[np.uint8]) -> set[int]:
    # OpenCV's histogram takes bytes as they are; numpy's would widen every pixel first.
    histogram = cv2.calcHist([flat], [0], None, [256], [0, 256])
    return set(np.flatnonzero(histogram).tolist())


def _votes(
    proposals: MaskProposals, order: list[int], counts: Floats | Ints, winners: Ints
) -> tuple[Vote, ...]:
    if not order:
        return ()
    total = counts.sum(axis=1)
    best = counts[np.arange(len(order)), winners]
    others = counts.copy()
    others[np.arange(len(order)), winners] = -1
    second = np.maximum(others.max(axis=1), 0)
    shares = best / np.maximum(total, 1e-12)
    margins = (best - second) / np.maximum(total, 1e-12)
    return tuple(
        Vote(
            proposal=number,
            class_id=int(winners[place]),
            vote_share=float(shares[place]),
            margin=float(margins[place]),
            area=int(proposals.areas[number]),
            box=_box(proposals.boxes[number]),
            predicted_iou=float(proposals.predicted_iou[number]),
            stability=float(proposals.stability[number]),
            tied=bool(best[place] == second[place]),
        )
        for place, number in enumerate(order)
    )


def _box(sides: Ints) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = sides.tolist()
    return (x0, y0, x1, y1)


def _class_counts(flat: NDArray[np.uint8], runs: list[Runs]) -> Ints:
    """(N, classes): pixels of every class under each mask's runs."""
    if not runs:
        return np.zeros((0, 1), dtype=np.int64)
    starts, ends, first_run = _joined(runs)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins = np.concatenate([[0], changes]).astype(np.int64)
    lengths = np.diff(np.concatenate([begins, [flat.size]]))
    classes = flat[begins]
    counts = np.zeros((len(runs), int(flat.max()) + 1), dtype=np.int64)
    start_at = np.searchsorted(begins, starts, side="right") - 1
    end_at = np.searchsorted(begins, ends, side="right") - 1
    for class_id in np.flatnonzero(np.bincount(classes)):
        of_class = classes == class_id
        before = np.concatenate([[0], np.cumsum(np.where(of_class, lengths, 0))])
        until_end = before[end_at] + np.where(of_class[end_at], ends - begins[end_at], 0)
        until_start = before[start_at] + np.where(of_class[start_at], starts - begins[start_at], 0)
        counts[:, class_id] = np.add.reduceat(until_end - until_start, first_run)
    return counts


def _weighed(probabilities: NDArray[np.float32], runs: list[Runs]) -> Floats:
    """(N, 256): the sum of every class's probabilities under each mask; 255 gets what is missing
    to 1."""
    counts = np.zeros((len(runs), IGNORE_INDEX + 1), dtype=np.float64)
    if not runs:
        return counts
    starts, ends, first_run = _joined(runs)
    for class_id, scores in enumerate(probabilities):
        before = np.concatenate([[0.0], np.cumsum(scores.ravel(order="F"), dtype=np.float64)])
        counts[:, class_id] = np.add.reduceat(before[ends] - before[starts], first_run)
    areas = np.add.reduceat(ends - starts, first_run)
    counts[:, IGNORE_INDEX] = _missing(areas - counts.sum(axis=1))
    return counts


def _weighed_near_edges(
    probabilities: NDArray[np.float32], rles: list[Rle], boxes: list[Ints]
) -> Floats:
    """The same, with every pixel's distance to the mask's edge as a further factor."""
    counts = np.zeros((len(rles), IGNORE_INDEX + 1), dtype=np.float64)
    for place, (rle, box) in enumerate(zip(rles, boxes, strict=True)):
        x0, y0, x1, y1 = box.tolist()
        inside = mask_in_box(rle, (x0, y0, x1, y1))
        # A border of zeros: the picture's own edge is an edge of the mask too.
        padded = np.pad(inside.astype(np.uint8), 1)
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        share = np.minimum(distance / FULL_VOTE_PX, 1.0)[inside]
        scores = probabilities[:, y0 : y1 + 1, x0 : x1 + 1][:, inside]
        counts[place, : len(scores)] = scores.astype(np.float64) @ share
        counts[place, IGNORE_INDEX] += _missing(share.sum() - counts[place].sum())
    return counts


def _missing(rest: Floats) -> Floats:
    """What is missing to 1, without the dust that adding floats leaves behind."""
    return np.where(rest > 1e-3, rest, 0.0)


def _joined(runs: list[Runs]) -> tuple[Ints, Ints, Ints]:
    """All runs one behind the other, and where each mask's begin."""
    starts = np.concatenate([start for start, _ in runs])
    ends = np.concatenate([end for _, end in runs])
    first_run = np.concatenate([[0], np.cumsum([len(start) for start, _ in runs])[:-1]])
    return starts, ends, first_run.astype(np.int64)
