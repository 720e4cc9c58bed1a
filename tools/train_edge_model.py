"""Train the demo's first model on drawn scenes in clear weather, and write its card.

    python -m tools.train_edge_model --work-dir /tmp/edge-model

Stopped at any moment, the same command goes on from its last checkpoint. Everything is seeded:
the same scenes, steps and torch give the same weights.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import evaluate
from lifelong.model_bundle import BundleManifest
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import EvaluationReport
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_from_bytes
from lifelong.training.datasets import no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

TARGET = Path("cloud/demo/weights/edge_clear.safetensors")
TRAIN_SEED, HELD_OUT_SEED = 1_000_000, 900_000
CONDITION = "clear"


class DrawnHoldout:
    """Scenes of fixed seeds, drawn anew each time they are looked at."""

    def __init__(self, condition: str, count: int) -> None:
        self.condition, self.count = condition, count

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for number in range(self.count):
            scene = draw_scene(HELD_OUT_SEED + number, self.condition)
            yield scene.image, scene.mask


def main() -> None:
    """Draw, train, store in half precision, measure what was stored, write the card."""
    options = _options()
    section = TrainingSection(
        steps=options.steps, first_steps_factor=1, threads=options.threads, checkpoint_every=200
    )
    if options.weights is not None:
        trained = weights_from_bytes(options.weights.read_bytes(), str(options.weights))
    else:
        trained = _trained(options, section)
    data = half_precision(trained)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(data)
    report = measure(data, section)
    TARGET.with_suffix(".md").write_text(card(data, report, options, section), encoding="utf-8")
    print(f"{TARGET} has {len(data)} bytes")


def _trained(options: argparse.Namespace, section: TrainingSection) -> Weights:
    how = Preprocessing(height=section.height, width=section.width)
    scenes = (draw_scene(TRAIN_SEED + n, CONDITION) for n in range(options.scenes))
    pairs = ((scene.image, scene.mask) for scene in scenes)
    lesson = Lesson(
        section=section,
        classes=len(CITYSCAPES),
        new=pictures_from_pairs(pairs, how, learning_task=CONDITION),
        memory=no_pictures(how),
        incumbent=None,
    )
    started = time.monotonic()

    def told(step: int, steps: int, loss: float) -> None:
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(f"step {step}/{steps} loss {loss:.3f} after {seconds:.0f} s", flush=True)

    checkpoint = options.work_dir / "edge_clear.checkpoint.safetensors"
    return train(lesson, checkpoint=checkpoint, on_progress=told)


def half_precision(weights: Weights) -> bytes:
    """A safetensors file of half the size; read back, its float32 numbers are exactly these."""
    halved = {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}
    if any(not bool(value.isfinite().all()) for value in halved.values()):
        raise SystemExit("a weight does not fit into half precision")
    return bytes(save({name: value.contiguous() for name, value in halved.items()}))


def measure(data: bytes, section: TrainingSection, images: int = 30) -> EvaluationReport:
    """mIoU of the stored weights, exported, on held-out scenes of every condition."""
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=Preprocessing(height=section.height, width=section.width),
        network=section.network,
        weights_sha256=sha256_hex(data),
    )
    bundle = packed(weights_from_bytes(data, str(TARGET)), manifest, [])
    holdouts = {condition: DrawnHoldout(condition, images) for condition in CONDITIONS}
    return evaluate(OnnxSegmenter(bundle, threads=1), holdouts, CITYSCAPES)


def card(
    data: bytes, report: EvaluationReport, options: argparse.Namespace, section: TrainingSection
) -> str:
    """What these weights are, how they were made, and how good they are."""
    rows = "\n".join(
        f"| {task} | {100 * result.miou:.1f} | {100 * result.pixel_accuracy:.1f} |"
        for task, result in report.tasks.items()
    )
    return f"""# edge_clear: the demo's first model

A `{section.network}` for the 19 Cityscapes classes at {section.height}x{section.width} pixels.
It has seen nothing but drawn streets in clear weather, so that fog and night are news to it.

Made by

    python -m tools.train_edge_model --scenes {options.scenes} --steps {options.steps}

from scratch: {options.scenes} scenes of `cloud/demo/scenes.py` in condition `{CONDITION}`,
seeds from {TRAIN_SEED}; {section.steps} steps of {section.batch_size} pictures on one CPU thread.
Stored in half precision; measured as stored, exported to ONNX.
SHA-256 `{sha256_hex(data)}`.

| condition | mIoU | pixel accuracy |
|---|--:|--:|
{rows}

in percent, on {next(iter(report.tasks.values())).images} held-out scenes each, seeds from
{HELD_OUT_SEED}, as drawn on the day of measuring; the drawing code has changed in details since
the weights were trained, and the figures move a little with it. No picture, weight or label of
anybody else went into it.
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--weights", type=Path, help="do not train: store and measure these")
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
