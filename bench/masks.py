"""segment-anything's automatic masks and ours, with equal weights, on the same picture.

python -m bench.masks --json [--model tiny|random_tiny|random_vit_b|…] [--height 1024 --width 2048]
    [--points-per-side 64] [--device cpu] [--precision bfloat16] [--threads N]

Each of the two runs in a process of its own, so that its peak memory is its own. The settings are
SSA's unless said otherwise. With `--precision bfloat16` ours computes so, and `mean_iou` says how
far its masks are from the peer's. One JSON object: seconds (by the clock, and of the CPU, which
other work on the machine disturbs less), peak memory, whether both found the same masks.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from pycocotools import mask as coco_mask
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.modeling import Sam

from bench.measuring import in_child, report, seconds_of
from cloud.demo.scenes import draw_scene
from cloud.preannotation.grid_masks import SSA_SETTINGS, GridProposer, GridSettings
from cloud.preannotation.sam.by_name import TINY_STABILITY_OFFSET
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import build_tiny_sam, load_tiny_sam

Runs = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One comparison, as it travels to the children."""

    model: str
    height: int
    width: int
    seed: int
    device: str
    threads: int
    precision: str
    settings: GridSettings


def _random(build: Callable[[], Sam], seed: int) -> Sam:
    """Seeded weights that think well of a share of their masks, as trained ones do."""
    torch.manual_seed(seed)
    sam = build().eval()
    last = sam.mask_decoder.iou_prediction_head.layers[-1]
    with torch.no_grad():
        last.weight.mul_(20)
        last.bias.fill_(0.8)
    return sam


# Weights, and the offset that suits the size of their logits: those of random weights are tiny.
MODELS: dict[str, tuple[Callable[[], Sam], float]] = {
    "tiny": (load_tiny_sam, TINY_STABILITY_OFFSET),
    "random_tiny": (lambda: _random(build_tiny_sam, 0), 0.0003),
    "random_vit_b": (lambda: _random(sam_model_registry["vit_b"], 0), 0.0003),
    "random_vit_l": (lambda: _random(sam_model_registry["vit_l"], 0), 0.0003),
    "random_vit_h": (lambda: _random(sam_model_registry["vit_h"], 0), 0.0003),
}


def peer(case: _Case) -> tuple[list[Runs], float, float]:
    """Runs of segment-anything's masks; seconds, and CPU seconds, without loading."""
    sam, image, offset = _prepared(case)
    generator = SamAutomaticMaskGenerator(
        sam.to(case.device),
        output_mode="uncompressed_rle",
        stability_score_offset=offset,
        **asdict(case.settings),
    )
    # segment-anything puts tensors into numpy arrays the way numpy 1 liked it.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    before = time.process_time()
    found, seconds = seconds_of(lambda: generator.generate(image))
    spent = time.process_time() - before
    return [tuple(one["segmentation"]["counts"]) for one in found], seconds, spent


def ours(case: _Case) -> tuple[list[Runs], float, float]:
    """Runs of our masks; seconds, and CPU seconds, without loading."""
    sam, image, offset = _prepared(case)
    model = SegmentAnythingModel(
        sam, name=case.model, device=case.device, stability_offset=offset, precision=case.precision
    )
    on_cpu = case.device == "cpu"
    proposer = GridProposer(
        model,
        case.settings,
        crop_batch=1 if on_cpu else 5,
        workers=case.threads if on_cpu else 1,
    )
    before = time.process_time()
    found, seconds = seconds_of(lambda: proposer.propose(image))
    spent = time.process_time() - before
    return [tuple(rle["counts"]) for rle in found.rles], seconds, spent


def _prepared(case: _Case) -> tuple[Sam, np.ndarray, float]:
    torch.set_num_threads(case.threads)
    build, offset = MODELS[case.model]
    image = draw_scene(case.seed, "clear", case.height, case.width).image
    return build(), np.ascontiguousarray(image), offset


def mean_best_iou(expected: list[Runs], found: list[Runs], height: int, width: int) -> float:
    """The mean over the expected masks of their best IoU with any found one; 1 without any."""
    if not expected:
        return 1.0
    if not found:
        return 0.0
    packed = [
        [
            coco_mask.frPyObjects({"size": [height, width], "counts": list(runs)}, height, width)
            for runs in side
        ]
        for side in (expected, found)
    ]
    ious = np.asarray(coco_mask.iou(packed[0], packed[1], [0] * len(packed[1])))
    return float(ious.max(axis=1).mean())


def compared(case: _Case) -> dict[str, object]:
    """Both, one after the other."""
    (expected, peer_seconds, peer_cpu), _, peer_peak = in_child(peer, case)
    (found, our_seconds, our_cpu), _, our_peak = in_child(ours, case)
    return {
        "peer_seconds": round(peer_seconds, 2),
        "our_seconds": round(our_seconds, 2),
        "ratio": round(peer_seconds / our_seconds, 2),
        "peer_cpu_seconds": round(peer_cpu, 2),
        "our_cpu_seconds": round(our_cpu, 2),
        "cpu_ratio": round(peer_cpu / our_cpu, 2),
        "equal": set(expected) == set(found),
        "mean_iou": round(mean_best_iou(expected, found, case.height, case.width), 4),
        "peer_peak_mib": round(peer_peak),
        "our_peak_mib": round(our_peak),
        "peak_ratio": round(our_peak / peer_peak, 3),
        "masks": len(found),
        "peer_masks": len(expected),
        "model": case.model,
        "height": case.height,
        "width": case.width,
        "scene": case.seed,
        "device": case.device,
        "precision": case.precision,
        "threads": case.threads,
        "load_average": round(os.getloadavg()[0], 1),
        "settings": asdict(case.settings),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--model", choices=sorted(MODELS), default="tiny")
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=3, help="of the drawn scene")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--points-per-side", type=int, default=SSA_SETTINGS.points_per_side)
    parser.add_argument("--crop-n-layers", type=int, default=SSA_SETTINGS.crop_n_layers)
    given = parser.parse_args()
    settings = replace(
        SSA_SETTINGS, points_per_side=given.points_per_side, crop_n_layers=given.crop_n_layers
    )
    case = _Case(
        model=given.model,
        height=given.height,
        width=given.width,
        seed=given.seed,
        device=given.device,
        threads=given.threads,
        precision=given.precision,
        settings=settings,
    )
    report(compared(case), as_json=given.json)


if __name__ == "__main__":
    main()
