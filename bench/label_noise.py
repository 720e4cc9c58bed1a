"""How many planted errors of annotation are found, and what they cost a training.

python -m bench.label_noise --json [--weather clear] [--out FILE]

Drawn streets are annotated exactly, then `--errors` errors are planted into each annotation as
people make them: a piece has another name, is left out, or runs over its edge
(`annotation/review/audit_scores.py`). The demo's edge model, which has seen none of these
streets, says what it takes for something else (`lifelong/labels/errors.py`).

* `precision_at_R`, `recall_at_R`: when as many regions are looked at as errors were planted. A
  region is right when at least half of its pixels are annotated wrongly; an error is found when at
  least half of its pixels are in such a region. `..._at_2R`: twice as many looks.
* `found_by_chance`: precision of regions drawn at random among all pieces of the annotations.
* `miou_*`: a round on these streets, in points on other streets of that weather, annotated exactly
  (`clean`), with the errors (`noisy`), with what is suspected left out (`ignored`), and with the
  suspected regions among R looks put right (`asked`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from annotation.review.audit_scores import errors_in, with_planted_errors
from bench.labels import keep_in, kept_in
from bench.measuring import report
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.demo.scenes import draw_scene
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import evaluate
from lifelong.labels.errors import (
    ClassThresholds,
    SuspectRegion,
    Suspects,
    most_suspicious,
    suspects,
    without_suspects,
)
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing, enlarged, softmax
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.regions import connected_pieces
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

Mask = NDArray[np.uint8]

HOW = Preprocessing(height=160, width=240)
CLASSES = len(CITYSCAPES)
# Seeds of scenes; never shared.
ANNOTATED, MEMORY, HELD_OUT = 4_000_000, 4_500_000, 4_900_000


@dataclass(frozen=True, slots=True)
class Annotated:
    """A street, what is there, and what its annotator said."""

    image: Mask
    truth: Mask
    said: Mask


def main() -> None:
    """Plant, look, train, print."""
    given = _arguments()
    torch.set_num_threads(1)
    streets = [annotated(ANNOTATED + n, given.weather, given.errors) for n in range(given.pictures)]
    found = looked_at([street.image for street in streets], [street.said for street in streets])
    figures = judged(streets, found)
    done = kept_in(given.out)
    for seed in range(given.seeds):
        for name, masks in targets(streets, found, int(str(figures["planted"]))).items():
            key = f"{name}, {given.weather}, seed {seed}"
            if key not in done:
                weights = after_a_round(streets, masks, seed, given.steps)
                done[key] = {"miou": miou(weights, given.weather, given.holdout)}
                keep_in(given.out, key, done[key])
            values = figures.setdefault(f"miou_{name}", [])
            assert isinstance(values, list)
            values.append(done[key]["miou"])
    report(figures, as_json=given.json)


def annotated(seed: int, weather: str, errors: int) -> Annotated:
    """A street with so many errors in its annotation."""
    scene = draw_scene(seed, weather)
    said = with_planted_errors(scene.mask, classes=CLASSES, errors=errors, seed=seed)
    return Annotated(scene.image, scene.mask, said)


def looked_at(images: Sequence[Mask], masks: Sequence[Mask]) -> list[Suspects]:
    """What the edge's model suspects, its thresholds taken from these annotations."""
    segmenter = OnnxSegmenter(_bundle(_edge_weights()), threads=1)
    thresholds = ClassThresholds(CLASSES)
    for image, mask in zip(images, masks, strict=True):
        thresholds.add(_shares(segmenter, image), mask)
    return [
        suspects(_shares(segmenter, image), mask, thresholds.values)
        for image, mask in zip(images, masks, strict=True)
    ]


def judged(streets: Sequence[Annotated], found: Sequence[Suspects]) -> dict[str, object]:
    """Precision and recall of the looks."""
    planted = [errors_in(street.said, street.truth) for street in streets]
    total = sum(map(len, planted))
    wrong = [float(np.mean(street.said != street.truth)) for street in streets]
    figures: dict[str, object] = {
        "pictures": len(streets),
        "planted": total,
        "wrong_pixels": round(float(np.mean(wrong)), 4),
        "suspected": sum(len(one.regions) for one in found),
        "found_by_chance": round(_by_chance(streets), 4),
    }
    for name, budget in (("R", total), ("2R", 2 * total)):
        chosen = most_suspicious(found, budget)
        hits = [_is_right(streets[place], found[place], region) for place, region in chosen]
        covered = [np.zeros(street.said.shape, dtype=bool) for street in streets]
        for place, region in chosen:
            covered[place] |= _place(found[place], region)
        caught = sum(
            bool(covered[place][error].mean() >= 0.5)
            for place, errors in enumerate(planted)
            for error in errors
        )
        figures[f"precision_at_{name}"] = round(float(np.mean(hits)), 4) if hits else None
        figures[f"recall_at_{name}"] = round(caught / max(total, 1), 4)
    return figures


def targets(
    streets: Sequence[Annotated], found: Sequence[Suspects], looks: int
) -> dict[str, list[Mask]]:
    """What each training is told."""
    asked = [street.said.copy() for street in streets]
    for place, region in most_suspicious(found, looks):
        there = _place(found[place], region)
        asked[place][there] = streets[place].truth[there]
    return {
        "clean": [street.truth for street in streets],
        "noisy": [street.said for street in streets],
        "ignored": [without_suspects(s.said, one) for s, one in zip(streets, found, strict=True)],
        "asked": asked,
    }


def after_a_round(
    streets: Sequence[Annotated], masks: Sequence[Mask], seed: int, steps: int
) -> Weights:
    """A round of the edge's model with clear streets as its memory."""
    clear = [draw_scene(MEMORY + number, "clear") for number in range(48)]
    return train(
        Lesson(
            section=TrainingSection(threads=1, steps=steps, seed=seed),
            classes=CLASSES,
            new=pictures_from_pairs(
                [(street.image, mask) for street, mask in zip(streets, masks, strict=True)],
                HOW,
                learning_task="new",
            ),
            memory=pictures_from_pairs(
                [(scene.image, scene.mask) for scene in clear], HOW, learning_task="clear"
            ),
            incumbent=_edge_weights(),
        )
    )


def miou(weights: Weights, weather: str, count: int) -> float:
    """In points, on streets that no training saw."""
    scenes = (draw_scene(HELD_OUT + number, weather) for number in range(count))
    holdouts = {weather: [(scene.image, scene.mask) for scene in scenes]}
    segmenter = OnnxSegmenter(_bundle(weights), threads=1)
    return round(100.0 * evaluate(segmenter, holdouts, CITYSCAPES).tasks[weather].miou, 2)


def _by_chance(streets: Sequence[Annotated]) -> float:
    """Share of all annotated pieces of some size of which at least half is wrong."""
    right = []
    for street in streets:
        pieces = connected_pieces(street.said)
        areas = np.bincount(pieces.labels.ravel())
        bad = np.bincount(pieces.labels.ravel(), (street.said != street.truth).ravel())
        right += (bad / areas >= 0.5)[areas >= 16].tolist()
    return float(np.mean(right))


def _is_right(street: Annotated, found: Suspects, region: SuspectRegion) -> bool:
    there = _place(found, region)
    return bool((street.said[there] != street.truth[there]).mean() >= 0.5)


def _place(found: Suspects, region: SuspectRegion) -> NDArray[np.bool_]:
    place: NDArray[np.bool_] = found.places == 1 + found.regions.index(region)
    return place


def _shares(segmenter: OnnxSegmenter, image: Mask) -> NDArray[np.float32]:
    """(C, H, W): the model's probabilities at the picture's size."""
    logits = segmenter.logits(image)
    height, width = image.shape[:2]
    return softmax(np.stack([enlarged(plane, height, width) for plane in logits]))


def _edge_weights() -> Weights:
    return weights_from_bytes(EDGE_WEIGHTS.read_bytes(), str(EDGE_WEIGHTS))


def _bundle(weights: Weights) -> ModelBundle:
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=HOW,
        network="fast_cnn",
        weights_sha256=sha256_hex(weights_to_bytes(weights)),
    )
    return packed(weights, manifest, [])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weather", default="dusk", help="of the annotated streets")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--errors", type=int, default=6, help="planted into each annotation")
    parser.add_argument("--seeds", type=int, default=2, help="of each training; 0: none")
    parser.add_argument("--steps", type=int, default=TrainingSection().steps)
    parser.add_argument("--holdout", type=int, default=40)
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
