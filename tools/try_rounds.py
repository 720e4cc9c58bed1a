"""Try the training defaults: a first model, then one round per new condition, judged by the gate.

    python -m tools.try_rounds scenes --conditions fog night
    python -m tools.try_rounds camvid --data shared/data/camvid

`scenes` starts from the demo's first model, `camvid` trains one from scratch on `day` and then
learns `dusk`. Fields of the training section may be set: `--set steps=300 learning_rate=0.001`.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from cloud.demo.scenes import draw_scene
from cloud.packing import packed
from lifelong.config import GateSection, TrainingSection
from lifelong.evaluation import Examined, FileHoldout, Holdouts, evaluate, read_holdouts
from lifelong.gate import decide
from lifelong.model_bundle import BundleManifest
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import EvaluationReport
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import Pictures, joined, no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

FIRST = Path("cloud/demo/weights/edge_clear.safetensors")
HELD_OUT, MEMORY, NEW = 900_000, 1_000_000, 2_000_000  # seeds


class Trial:
    """Rounds one after the other, each from the weights of the one before."""

    def __init__(self, section: TrainingSection, holdouts: Holdouts) -> None:
        self.section = section
        self.holdouts = holdouts
        self.how = Preprocessing(height=section.height, width=section.width)
        self.weights: Weights | None = None
        self.report: EvaluationReport | None = None
        self.memory = no_pictures(self.how)

    def begin_with(self, weights: Weights, memory: Pictures) -> None:
        """Start from weights that were trained before."""
        self.weights, self.memory = weights, memory
        self.report = self._examined(weights)
        _tell("first model", self.report)

    def learn(self, condition: str, pairs: Iterable[Examined]) -> None:
        """One round: train, examine, let the gate decide."""
        new = pictures_from_pairs(pairs, self.how, learning_task=condition)
        lesson = Lesson(
            section=self.section,
            classes=len(CITYSCAPES),
            new=new,
            memory=self.memory,
            incumbent=self.weights,
        )
        wall, cpu = time.monotonic(), time.process_time()
        weights = train(lesson)
        took = f"{time.monotonic() - wall:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"
        report = self._examined(weights)
        _tell(f"{condition}: {lesson.steps} steps in {took}", report)
        if self.report is not None:
            earlier = list(dict.fromkeys(self.memory.learning_tasks))
            known = {*earlier, condition}
            decision = decide(
                _only(report, known), _only(self.report, known), GateSection(), earlier=earlier
            )
            for line in (*decision.reasons, *decision.notes):
                print(f"    {line}", flush=True)
            print(f"    {'accepted' if decision.accepted else 'refused'}", flush=True)
        self.weights, self.report, self.memory = weights, report, joined(self.memory, new)

    def _examined(self, weights: Weights) -> EvaluationReport:
        manifest = BundleManifest(
            label_map=CITYSCAPES,
            preprocessing=self.how,
            network=self.section.network,
            weights_sha256=sha256_hex(weights_to_bytes(weights)),
        )
        segmenter = OnnxSegmenter(packed(weights, manifest, []), threads=1)
        return evaluate(segmenter, self.holdouts, CITYSCAPES)


def main() -> None:
    """Read the options and run one of the two trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", choices=["scenes", "camvid"])
    parser.add_argument("--conditions", nargs="+", default=["fog", "night"])
    parser.add_argument("--new", type=int, default=24, help="annotated pictures in a round")
    parser.add_argument("--data", type=Path, default=Path("shared/data/camvid"))
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    changes = {k: yaml.safe_load(v) for k, v in (text.split("=", 1) for text in options.set)}
    section = TrainingSection.model_validate(changes)
    if options.world == "scenes":
        _try_scenes(section, options.conditions, options.new)
    else:
        _try_camvid(section, options.data)


def _try_scenes(section: TrainingSection, conditions: list[str], new: int) -> None:
    holdouts = {c: _scenes(c, HELD_OUT, 30) for c in ["clear", *conditions]}
    trial = Trial(section, holdouts)
    memory = pictures_from_pairs(_scenes("clear", MEMORY, 96), trial.how, learning_task="clear")
    trial.begin_with(weights_from_bytes(FIRST.read_bytes(), str(FIRST)), memory)
    for number, condition in enumerate(conditions):
        trial.learn(condition, _scenes(condition, NEW + 1000 * number, new))


def _try_camvid(section: TrainingSection, data: Path) -> None:
    trial = Trial(section, read_holdouts(data))
    for condition in ("day", "dusk"):
        folder = data / condition / "train"
        images = sorted((folder / "images").iterdir())
        pairs = tuple((image, folder / "train_ids" / f"{image.stem}.png") for image in images)
        trial.learn(condition, FileHoldout(pairs))


def _scenes(condition: str, first: int, count: int) -> list[Examined]:
    scenes = (draw_scene(first + number, condition) for number in range(count))
    return [(scene.image, scene.mask) for scene in scenes]


def _only(report: EvaluationReport, tasks: set[str]) -> EvaluationReport:
    kept = {task: result for task, result in report.tasks.items() if task in tasks}
    return EvaluationReport(version_id=report.version_id, tasks=kept)


def _tell(what: str, report: EvaluationReport) -> None:
    values = ", ".join(f"{task} {100 * r.miou:.1f}" for task, r in report.tasks.items())
    print(f"{what}: mIoU {values}", flush=True)


if __name__ == "__main__":
    main()
