"""How good the shipped models are on drawn scenes that nobody trained on.

python -m tools.measure_tiny_models [--scenes N] [--weights FOLDER]

Seeds 900,000 to 900,199, all conditions in turn; `--scenes N` takes the first N. Prints JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from cloud.demo.scenes import CONDITIONS
from cloud.preannotation.fusion import fuse
from cloud.preannotation.grid_masks import GridProposer, GridSettings
from cloud.preannotation.mask_proposals import MaskProposer
from cloud.preannotation.sam.by_name import TINY_STABILITY_OFFSET
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import load_tiny_sam
from cloud.preannotation.semantic_labels import TinyLabeler
from cloud.preannotation.superpixels import SuperpixelProposer
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmentation_metrics import confusion_matrix, iou_per_class, mean_iou
from tools.scene_pool import ScenePool
from tools.tiny_sam_training import one_click_figures
from tools.train_tiny_models import WEIGHTS, held_out

_GRIDS = {
    "tiny SAM": GridSettings(),
    "tiny SAM, 2x2 crops": GridSettings(crop_n_layers=1),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--fusion-scenes", type=int, default=50)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pool = held_out()
    sam = load_tiny_sam(given.weights / "tiny_sam.safetensors")
    labeler = TinyLabeler(
        CITYSCAPES, weights=given.weights / "tiny_segformer.safetensors", device="cpu"
    )
    found: dict[str, object] = {
        "one click": one_click_figures(sam, pool, count=given.scenes, seed=5),
        "semantic": semantic_figures(labeler, pool, given.scenes),
    }
    promptable = SegmentAnythingModel(
        sam, name="tiny", device="cpu", stability_offset=TINY_STABILITY_OFFSET
    )
    proposers: dict[str, MaskProposer] = {
        name: GridProposer(promptable, grid, crop_batch=1) for name, grid in _GRIDS.items()
    }
    proposers["superpixels"] = SuperpixelProposer()
    proposers["coarse superpixels"] = SuperpixelProposer(scale=60.0, sigma=0.6, min_area_px=40)
    found["fusion"] = fusion_figures(labeler, proposers, pool, given.fusion_scenes)
    print(json.dumps(found, indent=1))


def semantic_figures(labeler: TinyLabeler, pool: ScenePool, count: int) -> dict[str, float]:
    """mIoU over all scenes, for each condition, and IoU of every class."""
    classes = len(CITYSCAPES)
    matrices = {c: np.zeros((classes, classes), dtype=np.int64) for c in CONDITIONS}
    for index in range(count):
        image, mask = pool[index]
        answer = labeler.label(image).argmax(axis=0).astype(np.uint8)
        matrices[CONDITIONS[index % len(CONDITIONS)]] += confusion_matrix(mask, answer, classes)
    every = sum(matrices.values(), np.zeros((classes, classes), dtype=np.int64))
    figures = {"mIoU": mean_iou(every), "pixel accuracy": float(np.trace(every) / every.sum())}
    figures |= {f"mIoU {name}": mean_iou(matrix) for name, matrix in matrices.items()}
    ious = iou_per_class(every)
    figures |= {f"IoU {name}": float(ious[i]) for i, name in enumerate(CITYSCAPES.names)}
    return {name: round(value, 3) for name, value in figures.items()}


def fusion_figures(
    labeler: TinyLabeler, proposers: dict[str, MaskProposer], pool: ScenePool, count: int
) -> dict[str, dict[str, float]]:
    """The semantic branch alone against its vote with each kind of masks."""
    classes = len(CITYSCAPES)
    names = ["semantic branch alone", *proposers]
    matrices = {name: np.zeros((classes, classes), dtype=np.int64) for name in names}
    masks = dict.fromkeys(names, 0)
    for index in range(count):
        image, truth = pool[index]
        class_ids = labeler.label(image).argmax(axis=0).astype(np.uint8)
        matrices[names[0]] += confusion_matrix(truth, class_ids, classes)
        for name, proposer in proposers.items():
            proposals = proposer.propose(image)
            masks[name] += len(proposals)
            fused = fuse(proposals, class_ids).mask
            matrices[name] += confusion_matrix(truth, fused, classes)
    return {
        name: {
            "mIoU": round(mean_iou(matrix), 3),
            "pixel accuracy": round(float(np.trace(matrix) / matrix.sum()), 3),
            "masks a scene": round(masks[name] / count, 1),
        }
        for name, matrix in matrices.items()
    }


if __name__ == "__main__":
    main()
