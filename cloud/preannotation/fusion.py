"""Class-agnostic masks vote with a class map: the rule of Semantic Segment Anything, on runs.

SSA (Chen, Yang & Zhang 2023) fills each mask with the class most of its pixels have in the
semantic map, from the largest mask to the smallest, so that small things stay on top of large
ones. This is the same rule without ever decoding a mask: counts of classes under a run are a
difference of running sums over the class map's own runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import MaskProposals, runs_of
from lifelong.errors import ShapeError

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one mask decided."""

    proposal: int  # number of the mask among the proposals
    class_id: int
    vote_share: float  # share of its pixels that voted for the class, 0 .. 1
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


def fuse(proposals: MaskProposals, class_ids: NDArray[np.uint8]) -> Fusion:
    """Let every mask vote, and paint the winners.

    1. Masks from the largest area to the smallest; equal areas keep their order.
    2. The winner is the class with most pixels of the *original* class map inside the mask. SSA
       leaves ties to `topk`, which has no rule; here the lowest class id wins.
    3. The mask is painted with the winner; later masks paint over earlier ones.

    Pixels in no mask keep the class they had. Empty masks are passed over (SSA fails on them).

    Args:
        class_ids: (H, W), uint8, the semantic branch's own answer.

    Raises:
        ShapeError: the class map has another size than the proposals.
    """
    if class_ids.shape != (proposals.height, proposals.width):
        raise ShapeError(
            f"class map {class_ids.shape}, proposals for {(proposals.height, proposals.width)}"
        )
    flat = class_ids.ravel(order="F")
    order = [int(i) for i in np.argsort(-proposals.areas, kind="stable") if proposals.areas[i]]
    runs = [runs_of(proposals.rles[i]) for i in order]
    counts = _class_counts(flat, runs)
    winners = counts.argmax(axis=1) if order else np.zeros(0, dtype=np.int64)
    out = flat.copy()
    for (starts, ends), winner in zip(runs, winners.tolist(), strict=True):
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            out[start:end] = winner
    votes = tuple(
        _vote(proposals, number, counts[place], int(winners[place]))
        for place, number in enumerate(order)
    )
    lost = np.setdiff1d(class_ids, out)
    mask = np.ascontiguousarray(out.reshape(class_ids.shape[::-1]).T)
    return Fusion(mask=mask, votes=votes, erased=tuple(int(c) for c in lost))


def _vote(proposals: MaskProposals, number: int, counts: Ints, winner: int) -> Vote:
    x0, y0, x1, y1 = (int(side) for side in proposals.boxes[number])
    best = counts[winner]
    return Vote(
        proposal=number,
        class_id=winner,
        vote_share=float(best / counts.sum()),
        area=int(proposals.areas[number]),
        box=(x0, y0, x1, y1),
        predicted_iou=float(proposals.predicted_iou[number]),
        stability=float(proposals.stability[number]),
        tied=bool((counts == best).sum() > 1),
    )


def _class_counts(flat: NDArray[np.uint8], runs: list[tuple[Ints, Ints]]) -> Ints:
    """(N, classes): pixels of every class under each mask's runs."""
    if not runs:
        return np.zeros((0, 1), dtype=np.int64)
    starts = np.concatenate([start for start, _ in runs])
    ends = np.concatenate([end for _, end in runs])
    first_run = np.concatenate([[0], np.cumsum([len(start) for start, _ in runs])[:-1]])
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins = np.concatenate([[0], changes]).astype(np.int64)
    lengths = np.diff(np.concatenate([begins, [flat.size]]))
    classes = flat[begins].astype(np.int64)
    counts = np.zeros((len(runs), int(flat.max()) + 1), dtype=np.int64)
    start_at = np.searchsorted(begins, starts, side="right") - 1
    end_at = np.searchsorted(begins, ends, side="right") - 1
    for class_id in np.unique(classes):
        of_class = classes == class_id
        before = np.concatenate([[0], np.cumsum(np.where(of_class, lengths, 0))])

        until_end = before[end_at] + np.where(of_class[end_at], ends - begins[end_at], 0)
        until_start = before[start_at] + np.where(of_class[start_at], starts - begins[start_at], 0)
        counts[:, class_id] = np.add.reduceat(until_end - until_start, first_run)
    return counts
