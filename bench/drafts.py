"""How good drafts are: the semantic branch alone, SSA, and ours, on pictures with known labels.

python -m bench.drafts --json                             drawn scenes that nothing was trained on
python -m bench.drafts --json --frames ../shared/data/camvid/day --weights FILE
python -m bench.drafts --frames ../shared/data/camvid/day --train 60 --weights FILE

`--frames DIR` takes DIR/eval/{images,train_ids}; `--train MINUTES` first trains the semantic model
on DIR/train and goes on where an earlier training stopped. SSA is a plain reading: masks of
segment-anything's own generator with SSA's grid and crops on the shipped tiny SAM, and SSA's loop.
Its thresholds of 0.86 and 0.92 leave a SAM this small hardly a mask, so the thresholds are ours.
Ours is the default of `cornerloop preannotate`; the table also holds what can be chosen instead.
Every row uses the same semantic model; a pixel without a class counts as wrong.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from segment_anything import SamAutomaticMaskGenerator

from bench.measuring import report, seconds_of
from bench.vote import ssa_vote
from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.drafter import write_drafter
from cloud.preannotation.drafting_training import FolderPairs, train_segformer
from cloud.preannotation.fusion import ErasedClasses, Fusion, VoteWeights, fuse
from cloud.preannotation.grid_masks import SSA_SETTINGS, GridProposer, GridSettings
from cloud.preannotation.region_masks import MaskProposals
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import load_tiny_sam
from cloud.preannotation.semantic_labels import TinyLabeler, class_ids_of, load_tiny_segformer
from cloud.preannotation.superpixels import SuperpixelProposer
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmentation_metrics import confusion_matrix, mean_iou

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Drafts = dict[str, NDArray[np.uint8]]
TINY_OFFSET = 0.25  # its logits are small: at 1 no mask of its would be stable
FIRST_SEED = 900_000  # as tools/measure_tiny_models.py: never trained on
VARIANTS: dict[str, tuple[VoteWeights, ErasedClasses]] = {
    "ours": ("majority", "flag"),
    "ours, erased classes kept": ("majority", "keep"),
    "ours, votes by probability": ("probability", "flag"),
    "ours, votes by probability and distance": ("probability+boundary", "flag"),
}


def main() -> None:
    """Draft every picture in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--weights", type=Path, help="a small SegFormer; else the shipped one")
    parser.add_argument("--train", type=float, default=0.0, help="minutes")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--timed", type=int, default=3, help="pictures that SSA's own code drafts")
    parser.add_argument("--points-per-side", type=int, default=SSA_SETTINGS.points_per_side)
    parser.add_argument("--pred-iou-thresh", type=float, default=0.7)
    parser.add_argument("--stability-score-thresh", type=float, default=0.8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(given.threads)
    if given.frames is not None and not (given.frames / "eval" / "images").is_dir():
        print(
            json.dumps({"skipped": f"{given.frames} has no eval/images; name frames with labels"})
        )
        return
    if given.train:
        _trained(given.frames / "train", given.weights, given.train)
    weights = {} if given.weights is None else {"weights": given.weights}
    labeler = TinyLabeler(CITYSCAPES, device="cpu", **weights)
    pairs = scenes(given.pictures) if given.frames is None else frames(given.frames, given.pictures)
    settings = replace(
        SSA_SETTINGS,
        points_per_side=given.points_per_side,
        pred_iou_thresh=given.pred_iou_thresh,
        stability_score_thresh=given.stability_score_thresh,
    )
    report(
        {"pictures_of": "drawn scenes" if given.frames is None else given.frames.name}
        | compared(pairs, labeler, settings=settings, timed=given.timed),
        as_json=given.json,
    )


def scenes(count: int) -> Iterator[Pair]:
    """Drawn streets in all conditions, in turn."""
    for index in range(count):
        scene = draw_scene(FIRST_SEED + index, CONDITIONS[index % len(CONDITIONS)])
        yield scene.image, scene.mask


def frames(folder: Path, count: int) -> Iterator[Pair]:
    """Labelled pictures of a folder."""
    pairs = FolderPairs(folder / "eval")
    for index in range(min(count, len(pairs))):
        yield pairs[index]


def compared(
    pairs: Iterator[Pair], labeler: TinyLabeler, *, settings: GridSettings, timed: int
) -> dict[str, object]:
    """mIoU of every way; seconds of SSA and ours, and whether both give equal masks and votes,
    on the first `timed` pictures."""
    classes = len(CITYSCAPES)
    matrices: dict[str, NDArray[np.int64]] = {}
    peer_seconds = our_seconds = 0.0
    pictures = masks = 0
    equal = True
    generator, superpixels = _generator(settings), SuperpixelProposer()
    grid = GridProposer(
        SegmentAnythingModel(
            load_tiny_sam(), name="tiny_sam", device="cpu", stability_offset=TINY_OFFSET
        ),
        settings,
        crop_batch=1,
    )
    for image, truth in pairs:
        probabilities = labeler.label(image)
        class_ids = class_ids_of(probabilities)
        proposals = grid.propose(image)
        voted = fuse(proposals, class_ids)
        if pictures < timed:
            peer, took = seconds_of(partial(_ssa, generator, labeler, image))
            peer_seconds += took
            _, took = seconds_of(partial(_default, superpixels, labeler, image))
            our_seconds += took
            equal &= _same(peer, proposals, voted)
        bgr = np.ascontiguousarray(image[..., ::-1])
        drafts = {
            "semantic branch alone": class_ids,
            "SSA": voted.mask,
            "SSA in BGR, as it is": fuse(grid.propose(bgr), class_ids_of(labeler.label(bgr))).mask,
        } | _variants(superpixels.propose(image), class_ids, probabilities)
        for name, draft in drafts.items():
            empty = np.zeros((classes, classes), dtype=np.int64)
            matrices[name] = matrices.get(name, empty) + _confusion(truth, draft, classes)
        pictures, masks = pictures + 1, masks + len(proposals)
    return {
        "peer": "SSA on the shipped tiny SAM, a plain reading",
        "pictures": pictures, "timed_pictures": min(timed, pictures),
        "peer_seconds": peer_seconds, "our_seconds": our_seconds,
        "ratio": peer_seconds / our_seconds if our_seconds else None,
        # Only what was compared can be equal.
        "equal": equal if min(timed, pictures) else None,
        "miou": {name: round(mean_iou(matrix), 4) for name, matrix in matrices.items()},
        "masks_a_picture_of_ssa": round(masks / max(pictures, 1), 1),
        "points_per_side": settings.points_per_side, "crop_n_layers": settings.crop_n_layers,
        "pred_iou_thresh": settings.pred_iou_thresh,
        "stability_score_thresh": settings.stability_score_thresh,
    }  # fmt: skip


def _generator(settings: GridSettings) -> SamAutomaticMaskGenerator:
    return SamAutomaticMaskGenerator(
        load_tiny_sam(),
        points_per_side=settings.points_per_side,
        pred_iou_thresh=settings.pred_iou_thresh,
        stability_score_thresh=settings.stability_score_thresh,
        stability_score_offset=TINY_OFFSET,
        crop_n_layers=settings.crop_n_layers,
        crop_n_points_downscale_factor=settings.crop_n_points_downscale_factor,
        min_mask_region_area=settings.min_mask_region_area,
        output_mode="coco_rle",
    )


def _ssa(
    generator: SamAutomaticMaskGenerator, labeler: TinyLabeler, image: NDArray[np.uint8]
) -> tuple[list[dict[str, Any]], NDArray[np.int64], list[int]]:
    """Masks as segment-anything records them, the map after SSA's loop, and each mask's class."""
    class_ids = labeler.label(image).argmax(axis=0).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        found: list[dict[str, Any]] = generator.generate(image)
        voted, labels = ssa_vote(found, class_ids)
    return found, voted, labels


def _default(
    superpixels: SuperpixelProposer, labeler: TinyLabeler, image: NDArray[np.uint8]
) -> Fusion:
    """What `cornerloop preannotate` does by default."""
    return fuse(superpixels.propose(image), class_ids_of(labeler.label(image)))


def _same(
    peer: tuple[list[dict[str, Any]], NDArray[np.int64], list[int]],
    proposals: MaskProposals,
    voted: Fusion,
) -> bool:
    """The same set of masks; the same map, unless masks were tied, which SSA leaves to chance."""
    found, expected, _ = peer
    theirs = sorted(one["segmentation"]["counts"] for one in found)
    ours = sorted(
        coco_mask.frPyObjects(dict(rle), *rle["size"])["counts"].decode() for rle in proposals.rles
    )
    tied = any(vote.tied for vote in voted.votes)
    return theirs == ours and (tied or bool(np.array_equal(expected, voted.mask)))


def _variants(
    proposals: MaskProposals, class_ids: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> Drafts:
    return {
        name: fuse(
            proposals,
            class_ids,
            probabilities=probabilities,
            weights=weights,
            erased_classes=erased,
        ).mask
        for name, (weights, erased) in VARIANTS.items()
    }


def _confusion(
    truth: NDArray[np.uint8], draft: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """A pixel without a class is wrong: it counts as the next class of the list."""
    wrong = ((truth.astype(np.int64) + 1) % classes).astype(np.uint8)
    return confusion_matrix(truth, np.where(draft == 255, wrong, draft), classes)


def _trained(pairs: Path, weights: Path, minutes: float) -> None:
    train_segformer(
        FolderPairs(pairs),
        seed=0,
        size=(288, 384),
        batch=6,
        log=logging.info,
        minutes=minutes,
        start=load_tiny_segformer().state_dict(),
        checkpoint=weights.with_suffix(".pt"),
        publish=lambda state, step, seconds: write_drafter(state, CITYSCAPES, weights),
    )


if __name__ == "__main__":
    main()
