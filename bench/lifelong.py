"""Learning for life, measured: every strategy through the same domains from the same first model.

    python -m bench.lifelong --data DIR [--domains day,dusk] [--seeds 3] --json --out FOLDER
    python -m bench.lifelong --scenes clear,dusk,fog,rain,night --json --out FOLDER

DIR is laid out as `{domain}/{train,eval}/{images,train_ids}`. The first model is trained once a
seed and shared; each strategy then learns the other domains one after the other. Drawn scenes
begin with the demo's model of clear weather. `ours` is what a round does by default. The replay
strategies of other names keep `--replay-mib` (a budget that forces a choice); `joint` learns
everything at once from where the first model began, in as many steps as first model and rounds
together. With --out everything is kept in FOLDER, and a run that was stopped goes on; without,
nothing is. mIoU is a share, 0 .. 1.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bench.measuring import report, seconds_of
from cloud.demo.scenes import draw_scene
from cloud.learning.course import JOINT, Course, Stage
from cloud.learning.course_figures import figures_of
from cloud.learning.domains import Domain, read_domains
from cloud.learning.label_choice import LabelChoice
from lifelong.bundle_chunks import bytes_to_fetch
from lifelong.config import TrainingSection
from lifelong.evaluation import Examined
from lifelong.forgetting import accuracy_matrix, average_accuracy, backward_transfer
from lifelong.preprocessing import Preprocessing
from lifelong.records.label_map import CITYSCAPES
from lifelong.training.checkpoints import Weights, weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import pictures_from_pairs

CLEAR = Path("cloud/demo/weights/edge_clear.safetensors")
HELD_OUT, TRAIN = 900_000, 2_000_000  # seeds of scenes; never shared
KEPT_SMALL: dict[str, Any] = {"strategy": "replay"}
STRATEGIES: Mapping[str, dict[str, Any]] = {
    "ours": {"strategy": "replay+distillation"},
    "naive": {"strategy": "naive"},
    "replay": {"strategy": "replay"},
    "replay_reservoir": KEPT_SMALL | {"replay_choice": "reservoir"},
    "replay_class_balanced": KEPT_SMALL | {"replay_choice": "class_balanced"},
    "replay_herding": KEPT_SMALL | {"replay_choice": "herding"},
    "lwf": {"strategy": "distillation"},
    "ewc": {"strategy": "ewc"},
    "adapters": {"strategy": "adapters"},
    "joint": {"strategy": "joint"},
}
SHIPPED = frozenset({"ours", "adapters"})  # what a node fetches is told of these
MEANT = (
    *("matrix", "start", "final", "acc", "bwt", "fwt", "forgetting", "plasticity"),
    *("seconds", "seconds_first", "memory_bytes", "labels", "shipped"),
)
BOUNDED = frozenset({"replay_reservoir", "replay_class_balanced", "replay_herding"})


def main() -> None:
    """Let every strategy learn, and print what came of it."""
    given = _arguments()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="cornerloop-lifelong-") as folder:
        given.out = given.out or Path(folder)
        figures = learned(given)
    report({"strategies": figures}, as_json=True)


def learned(given: argparse.Namespace) -> dict[str, Any]:
    """Every strategy's figures, over all seeds."""
    figures: dict[str, list[dict[str, Any]]] = {}
    for seed in range(given.seeds):
        room = Room(given, seed)
        for name in given.strategies.split(","):
            figures.setdefault(name, []).append(room.learned(name))
        if given.avalanche:
            figures.setdefault("avalanche_replay", []).append(room.learned_by_avalanche())
    return {name: summary(runs) for name, runs in figures.items()}


class Room:
    """One seed: its first model, and the strategies that go on from there."""

    def __init__(self, given: argparse.Namespace, seed: int) -> None:
        changes = dict(text.split("=", 1) for text in given.set)
        self.section = TrainingSection.model_validate(
            {"threads": 1, "seed": seed}
            | {key: yaml.safe_load(value) for key, value in changes.items()}
        )
        self.given, self.folder = given, given.out / f"seed-{seed}"
        self.begin: Weights | None = None
        if given.scenes:
            self.domains = tuple(
                scene_domain(
                    name, number, given.new if number else given.known, given.holdout, seed
                )
                for number, name in enumerate(given.scenes.split(","))
            )
            self.begin = weights_from_bytes(CLEAR.read_bytes(), str(CLEAR))
        else:
            names = [name for name in given.domains.split(",") if name]
            self.domains = read_domains(given.data, names)
        self.first = self.begin or self._first_model()

    def learned(self, name: str) -> dict[str, Any]:
        """One strategy's course, or what is kept of it."""
        changes = dict(STRATEGIES[name])
        if name in BOUNDED:
            changes["replay_mib"] = self.given.replay_mib
        share = self.given.labels
        course = Course(
            self.domains,
            self.section.model_copy(update=changes),
            CITYSCAPES,
            self.folder / name,
            begin=self.first,
            begun=True,
            reports=self.folder / "reports",
            choice=LabelChoice(share=share, strategy=self.given.selection) if share < 1 else None,
        )
        if name == JOINT:
            return self._joint(course)
        stages = course.run()
        figures = figures_of(stages, course.untrained())
        return figures | ({"shipped": shipped(course, stages)} if name in SHIPPED else {})

    def learned_by_avalanche(self) -> dict[str, Any]:
        """Avalanche's replay from the same first model, see `bench/avalanche_replay.py`."""
        folder = self.folder / "avalanche"
        section = self.section.model_copy(update={"strategy": "replay"})
        course = Course(
            self.domains, section, CITYSCAPES, folder, begin=self.first, begun=True,
            reports=self.folder / "reports",
        )  # fmt: skip
        if not (folder / "seconds").exists():
            folder.mkdir(parents=True, exist_ok=True)
            how = Preprocessing(height=section.height, width=section.width)
            plan = section.model_dump(mode="json") | {
                "classes": len(CITYSCAPES),
                "domains": [domain.name for domain in self.domains],
            }
            (folder / "plan.json").write_text(json.dumps(plan))
            (folder / "first.safetensors").write_bytes(weights_to_bytes(self.first))
            tensors = {}
            for number, domain in enumerate(self.domains):
                pictures = pictures_from_pairs(domain.train, how)
                tensors |= {f"{number}.images": pictures.images, f"{number}.masks": pictures.masks}
            (folder / "data.safetensors").write_bytes(weights_to_bytes(tensors))
            command = [self.given.avalanche, "-m", "bench.avalanche_replay", str(folder)]
            _, seconds = seconds_of(lambda: subprocess.run(command, check=True, stdout=sys.stderr))
            (folder / "seconds").write_text(f"{seconds:.1f}")
        reports = [course.examined(self.first)]
        for number in range(1, len(self.domains)):
            path = folder / f"after-{number}.safetensors"
            reports.append(course.examined(weights_from_bytes(path.read_bytes(), str(path))))
        names = [domain.name for domain in self.domains]
        matrix = accuracy_matrix([{n: r.tasks[n].miou for n in names} for r in reports], names)
        return {
            "matrix": matrix.round(5).tolist(),
            "start": dict(zip(names, matrix[0].round(5).tolist(), strict=True)),
            "final": dict(zip(names, matrix[-1].round(5).tolist(), strict=True)),
            "acc": round(average_accuracy(matrix), 5),
            "bwt": round(backward_transfer(matrix), 5),
            "seconds": float((folder / "seconds").read_text()),
            "labels": {domain.name: len(domain.sizes) for domain in self.domains},
        }

    def _joint(self, course: Course) -> dict[str, Any]:
        """The upper bound has a first and a last row; between them nothing was learned."""
        rounds = len(self.domains) - 1
        steps = self.section.steps * (self.section.first_steps_factor + rounds)
        last = course.upper_bound(steps, self.begin)
        first = course.examined(self.first)
        rows = [
            {d.name: round(r.tasks[d.name].miou, 5) for d in self.domains}
            for r in (first, last.report)
        ]
        nothing: list[float | None] = [None] * len(self.domains)
        between = [nothing for _ in self.domains[2:]]
        matrix = [list(rows[0].values()), *between, list(rows[1].values())]
        is_pair = len(self.domains) == 2
        return {
            "matrix": matrix,
            "start": rows[0],
            "final": rows[1],
            "acc": round(float(np.mean(list(rows[1].values()))), 5),
            "bwt": round(rows[1][self.domains[0].name] - rows[0][self.domains[0].name], 5)
            if is_pair
            else None,
            "fwt": None,
            "seconds": last.seconds,
            "labels": {domain.name: len(domain.sizes) for domain in self.domains},
        }

    def _first_model(self) -> Weights:
        course = Course(self.domains[:1], self.section, CITYSCAPES, self.folder / "first")
        course.run()
        return course.weights(0)


def scene_domain(name: str, number: int, learned: int, holdout: int, seed: int) -> Domain:
    """A weather: scenes to learn from, others in each seed, and the same to be examined on."""

    def drawn(first: int, count: int) -> list[Examined]:
        scenes = (draw_scene(first + place, name) for place in range(count))
        return [(scene.image, scene.mask) for scene in scenes]

    train = drawn(TRAIN + 10_000 * number + 1_000 * seed, learned)
    sizes = tuple(image.nbytes + mask.nbytes for image, mask in train)
    return Domain(name=name, train=train, holdout=drawn(HELD_OUT, holdout), sizes=sizes)


def shipped(course: Course, stages: Sequence[Stage]) -> dict[str, int]:
    """Bytes of the last bundle, and of those that a node with the one before must fetch."""
    last = course.bundle(len(stages) - 1)
    before = course.bundle(len(stages) - 2) if len(stages) > 1 else None
    return {"bundle": len(last.to_bytes()), "to_fetch": bytes_to_fetch(last, before)}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, with each seed's figures beside them."""
    if len(runs) == 1:
        return runs[0]
    means: dict[str, Any] = {
        key: _mean([run[key] for run in runs]) for key in MEANT if key in runs[0]
    }
    return means | {"seeds": list(runs)}


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [_mean([value[place] for value in values]) for place in range(len(first))]
    if any(value is None for value in values):
        return None
    return round(float(np.mean(values)), 5)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    world = parser.add_mutually_exclusive_group(required=True)
    world.add_argument("--data", type=Path)
    world.add_argument("--scenes", default="", help="conditions, e.g. clear,dusk,fog")
    parser.add_argument("--domains", default="", help="in which order; default: by name")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--replay-mib", type=int, default=4)
    parser.add_argument("--labels", type=float, default=1.0, help="share of later domains' labels")
    parser.add_argument("--selection", default="ours")
    parser.add_argument("--new", type=int, default=24, help="scenes of a condition to learn")
    parser.add_argument("--known", type=int, help="scenes of the first condition; 4 x --new")
    parser.add_argument("--holdout", type=int, default=20, help="scenes of one to be examined on")
    parser.add_argument("--avalanche", default="", help="a Python that has Avalanche")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--json", action="store_true", help="one JSON object; there is no other")
    given = parser.parse_args()
    given.known = given.known or 4 * given.new
    if max(given.new, given.known) > 1_000 or given.seeds > 10:
        parser.error("a seed has a thousand scenes of a condition, a condition ten seeds")
    unknown = set(given.strategies.split(",")) - set(STRATEGIES)
    if unknown:
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(STRATEGIES)}")
    return given


if __name__ == "__main__":
    main()
