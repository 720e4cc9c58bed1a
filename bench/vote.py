"""The vote of masks with a class map: SSA's loop and ours, on the same masks, one thread.

python -m bench.vote --json

The peer is a plain reading of SSA's closed-set step 3 (main_ssa): each mask is decoded to the
whole frame, the class map is indexed with it, classes are counted with `unique` and `bincount`,
and the winner is painted through the mask. Each side begins with masks as its own generator hands
them over: compressed COCO runs there, plain runs here.
"""

import argparse

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bench.measuring import processor_seconds_of, report
from cloud.demo.scenes import draw_scene
from cloud.preannotation.fusion import Fusion, fuse
from cloud.preannotation.region_masks import proposals_from_rles, rle_from_mask

Annotation = dict[str, object]


def main() -> None:
    """Run both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--masks", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    masks, class_ids = street(given.height, given.width, given.masks, given.seed)
    report(compared(masks, class_ids, repeats=given.repeats), as_json=given.json)


def street(
    height: int, width: int, count: int, seed: int
) -> tuple[list[NDArray[np.bool_]], NDArray[np.uint8]]:
    """A drawn street's classes with ragged borders, and masks of all sizes, some with holes."""
    rng = np.random.default_rng(seed)
    class_ids = draw_scene(seed, "clear", height, width).mask.copy()
    speckle = cv2.resize(rng.integers(0, 100, (height // 8, width // 8), dtype=np.uint8),
                         (width, height), interpolation=cv2.INTER_NEAREST)  # fmt: skip
    class_ids[speckle < 3] = rng.integers(0, 19)
    masks: list[NDArray[np.bool_]] = []
    while len(masks) < count:
        radius = float(np.exp(rng.uniform(np.log(8), np.log(height / 2.5))))
        centre = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        ragged = radius * (
            1 + 0.2 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.normal(0, 0.05, 60)
        )
        outline = centre + ragged[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
        if rng.random() < 0.3:
            cv2.circle(mask, centre.astype(int).tolist(), max(1, int(radius / 4)), 0, -1)
        if mask.any():
            masks.append(mask.astype(np.bool_))
    return masks, class_ids


def compared(
    masks: list[NDArray[np.bool_]], class_ids: NDArray[np.uint8], *, repeats: int
) -> dict[str, object]:
    """Both sides' best times of the processor; whether map and labels are equal; ties."""
    height, width = class_ids.shape
    annotations: list[Annotation] = []
    for mask in masks:
        runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        annotations.append({"segmentation": runs, "area": int(mask.sum())})
    ours = proposals_from_rles([rle_from_mask(m) for m in masks], height=height, width=width)
    peer_seconds, our_seconds = [], []
    for _ in range(repeats):
        (expected, labels), took = processor_seconds_of(lambda: ssa_vote(annotations, class_ids))
        peer_seconds.append(took)
        fusion, took = processor_seconds_of(lambda: fuse(ours, class_ids))
        our_seconds.append(took)
    tied = [vote.proposal for vote in fusion.votes if vote.tied]
    return {
        "peer": "SSA's loop, a plain reading", "peer_seconds": min(peer_seconds),
        "our_seconds": min(our_seconds), "ratio": min(peer_seconds) / min(our_seconds),
        "equal": _equal(fusion, masks, expected, labels), "tied_masks": tied,
        "height": height, "width": width, "masks": len(masks),
        "runs": sum(len(rle["counts"]) // 2 for rle in ours.rles), "threads": 1,
        "repeats": repeats,
    }  # fmt: skip


def ssa_vote(
    annotations: list[Annotation], class_ids: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], list[int]]:
    """The map after the vote, and each mask's class from the largest mask to the smallest."""
    original = torch.from_numpy(class_ids.astype(np.int64))
    out = original.clone()
    labels = []
    for one in sorted(annotations, key=lambda a: int(str(a["area"])), reverse=True):
        whole_frame = torch.from_numpy(coco_mask.decode(one["segmentation"])).bool()
        inside = original[whole_frame]
        if len(torch.unique(inside)) == 1:
            winner = int(inside[0].item())
        else:
            winner = int(torch.bincount(inside.flatten()).topk(1).indices[0].item())
        out[whole_frame] = winner
        labels.append(winner)
    return out.numpy(), labels


def _equal(
    fusion: Fusion, masks: list[NDArray[np.bool_]], expected: NDArray[np.int64], labels: list[int]
) -> bool:
    """Labels equal but for ties; the map bit for bit, but under tied masks."""
    same_labels = all(
        vote.tied or vote.class_id == label
        for vote, label in zip(fusion.votes, labels, strict=True)
    )
    under_ties = np.zeros(expected.shape, dtype=bool)
    for vote in fusion.votes:
        if vote.tied:
            under_ties |= masks[vote.proposal]
    return same_labels and bool(((fusion.mask == expected) | under_ties).all())


if __name__ == "__main__":
    main()
