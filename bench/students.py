"""Every student network on the same pictures: mIoU from scratch, size, arithmetic, speed.

    python -m bench.students --data ../shared/data/camvid --json
    python -m bench.students --data DIR --out runs/students/camvid.jsonl --steps 2000

DIR holds one folder per domain, each with train/ and eval/ of images/ and train_ids/. A student
is trained from nothing on all domains' train pictures with the same recipe (`TrainingSection`'s
defaults for a first model, but for --steps), then examined by `OnnxSegmenter` on each domain's
eval pictures and on all of them at once (`together`). One thread everywhere.

A name may say its input size: `fast_cnn@240x360`. Those of --untrained are only built, counted
and timed, with random weights. With --out a finished student is kept as a line and not trained
again; one that was stopped goes on from its checkpoint beside the file.

Columns: `parameters`; `bundle_bytes` as shipped, with the description of what is familiar;
`gflops` of one picture at the input's size, a multiplication and an addition counted as two;
`miou` in points over the classes that occur; `core_seconds` of training; `p50_ms` and `fps` of an
edge's frame in ONNX Runtime (`OnnxSegmenter.segment`: picture in, mask and doubts at picture size
out; and the judgement whether to keep it), in a process of its own (`bench/edge_process.py`);
`cpu_p50_ms` is its processor's time alone, which other work on the machine hardly moves.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.kept_runs import keep_in, kept_in
from bench.measuring import report
from cloud.learning.familiarity import FamiliarPicture
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import FileHoldout, evaluate
from lifelong.labels.folders import labelled_pairs
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_of, weights_to_bytes
from lifelong.training.datasets import Pictures, joined, no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.networks import NETWORKS, build_network
from lifelong.training.trainer import train

QUICK = ("fast_cnn", "lraspp_mobilenet_v3", "segformer_b0")
TOGETHER = "together"
_TIMED = 32  # different pictures that the edge process walks through
_HELD_BACK = 16  # every so many pictures one tells the bundle how unsure is usual
# AMX halves the time of plain convolutions and matrices; depthwise ones it slows down.
_COMPUTE: dict[str, Literal["auto", "fp32", "bf16"]] = {"lraspp_mobilenet_v3": "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A network at an input size, trained for so many steps; 0: it is only built."""

    network: str
    how: Preprocessing
    steps: int

    @property
    def name(self) -> str:
        return f"{self.network}@{self.how.height}x{self.how.width}"

    @property
    def section(self) -> TrainingSection:
        return TrainingSection(
            network=self.network,
            height=self.how.height,
            width=self.how.width,
            steps=max(1, self.steps),
            first_steps_factor=1,
            checkpoint_every=100,
            threads=1,
            device="cpu",
            compute=_COMPUTE.get(self.network, "auto"),
        )


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled pictures by domain."""

    domains: tuple[str, ...]
    folder: Path

    def train(self, how: Preprocessing) -> Pictures:
        """All domains' train pictures at a network's size."""
        found = no_pictures(how)
        for domain in self.domains:
            pairs = FileHoldout(labelled_pairs(self.folder / domain / "train"))
            found = joined(found, pictures_from_pairs(pairs, how, learning_task=domain))
        return found

    def examination(self) -> dict[str, FileHoldout]:
        """Each domain's eval pictures, and all of them."""
        paths = {d: labelled_pairs(self.folder / d / "eval") for d in self.domains}
        paths[TOGETHER] = tuple(pair for domain in self.domains for pair in paths[domain])
        return {name: FileHoldout(pairs) for name, pairs in paths.items()}

    def familiar(self) -> list[FamiliarPicture]:
        """Train pictures with their domain."""
        return [
            FamiliarPicture(domain, image)
            for domain in self.domains
            for image, _ in FileHoldout(labelled_pairs(self.folder / domain / "train"))
        ]


def main() -> None:
    """Train, examine and time every student that is not done yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--domains", default="day,dusk")
    parser.add_argument("--names", default=",".join(QUICK), help="trained from nothing")
    parser.add_argument("--untrained", default="", help="only built, counted and timed")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--frames", type=int, default=200, help="timed")
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    data = Data(tuple(given.domains.split(",")), given.data)
    done = kept_in(given.out)
    for student in students(given.names, given.untrained, given.steps):
        key = f"{student.name}, {student.steps} steps"
        if key not in done:
            done[key] = figures_of(student, data, given.frames, given.out)
            keep_in(given.out, key, done[key])
    figures: dict[str, object] = {
        "bench": "students",
        "domains": list(data.domains),
        "students": list(done.values()),
    }
    if not given.json:
        print(table(list(done.values())))
    report(figures, as_json=given.json)


def students(names: str, untrained: str, steps: int) -> Iterator[Student]:
    """What was asked for, in that order."""
    for listed, count in ((names, steps), (untrained, 0)):
        for spec in filter(None, listed.split(",")):
            network, _, size = spec.partition("@")
            if network not in NETWORKS:
                raise SystemExit(f"{network}: there are {', '.join(NETWORKS)}")
            height, _, width = (size or "160x240").partition("x")
            how = Preprocessing(height=int(height), width=int(width))
            yield Student(network=network, how=how, steps=count)


def figures_of(student: Student, data: Data, frames: int, out: Path | None) -> dict[str, Any]:
    """One row of the table."""
    network = build_network(student.network, len(CITYSCAPES), seed=0).eval()
    row: dict[str, Any] = {
        "name": student.network,
        "input": [student.how.height, student.how.width],
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflops": round(gflops(network, student.how), 3),
        "steps": student.steps,
    }
    weights = weights_of(network)
    if student.steps:
        weights, seconds = trained(student, data, out)
        row |= {"core_seconds": round(seconds), "compute": student.section.compute}
    images = [image for image, _ in data.examination()[TOGETHER]]
    bundle = bundle_of(student, weights, data, images)
    row["bundle_bytes"] = len(bundle.to_bytes())
    if student.steps:
        examined = evaluate(OnnxSegmenter(bundle, threads=1), data.examination(), CITYSCAPES)
        row["miou"] = {name: round(100 * r.miou, 2) for name, r in examined.tasks.items()}
        iou = examined.tasks[TOGETHER].iou
        row["iou"] = {name: round(100 * value, 1) for name, value in iou.items()}
    return row | timed(bundle, images, frames)


def gflops(network: nn.Module, how: Preprocessing) -> float:
    """Of one picture; the plain form of attention, since a fused kernel hides its arithmetic."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network(torch.zeros(1, 3, how.height, how.width))
    return float(counter.get_total_flops()) / 1e9


def trained(student: Student, data: Data, out: Path | None) -> tuple[Weights, float]:
    """Weights, and the processor's seconds for all steps, as one thread took them here.

    A run that goes on from a checkpoint counts its own steps and scales them to all.
    """
    section = student.section
    lesson = Lesson(
        section=section,
        classes=len(CITYSCAPES),
        new=data.train(student.how),
        memory=no_pictures(student.how),
        incumbent=None,
    )
    ticks: list[float] = [time.process_time()]

    def tell(step: int, steps: int, loss: float) -> None:
        ticks.append(time.process_time())
        if step % 50 == 0:
            print(f"{student.name}: step {step} of {steps}, loss {loss:.3f}", file=sys.stderr)

    place = out.with_name(f"{student.name}-{student.steps}.safetensors") if out else None
    weights = train(lesson, checkpoint=place, on_progress=tell)
    took = [after - before for before, after in pairwise(ticks)]
    return weights, lesson.steps * (statistics.mean(took) if took else 0.0)


def bundle_of(
    student: Student, weights: Weights, data: Data, images: Sequence[NDArray[np.uint8]]
) -> ModelBundle:
    """As a round would ship it."""
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=student.how,
        network=student.network,
        weights_sha256=sha256_hex(weights_to_bytes(weights)),
    )
    known = data.familiar()
    if not student.steps:  # nothing is learned from what random weights see
        known = known[:: max(1, len(known) // (2 * _HELD_BACK))]
    familiar = [picture for number, picture in enumerate(known) if number % _HELD_BACK]
    held_back = [picture.image for picture in known[::_HELD_BACK]]
    return packed(weights, manifest, held_back, familiar=familiar)


def timed(
    bundle: ModelBundle, images: Sequence[NDArray[np.uint8]], frames: int
) -> dict[str, float | int]:
    """Speed and memory in a process of its own, one thread, one picture at a time."""
    with tempfile.TemporaryDirectory(prefix="cornerloop-students-") as folder:
        target = Path(folder, "model.bundle")
        target.write_bytes(bundle.to_bytes())
        chosen = images[:: max(1, len(images) // _TIMED)]
        for number, image in enumerate(chosen):
            Path(folder, f"{number:03d}.jpg").write_bytes(jpeg_from_image(image))
        command = ["-m", "bench.edge_process", str(target), folder, "--frames", str(frames)]
        done = subprocess.run(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True
        )
    says = json.loads(done.stdout)
    return {
        "p50_ms": says["p50_ms"],
        "cpu_p50_ms": says["cpu_p50_ms"],
        "fps": round(1000.0 / says["p50_ms"], 1),
        "peak_mib": says["peak_mib"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, for the documentation."""
    domains = list(next((row["miou"] for row in rows if "miou" in row), {}))
    heads = ["student", "input", "parameters", "bundle", "GFLOPs", "steps", "core min"]
    lines = [[*heads, *(f"mIoU {name}" for name in domains), "p50 ms", "of CPU", "fps"]]
    for row in rows:
        seconds, points = row.get("core_seconds"), row.get("miou", {})
        lines.append(
            [
                f"`{row['name']}`",
                "x".join(str(side) for side in row["input"]),
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['bundle_bytes'] / 1e6:.1f} MB",
                f"{row['gflops']:.2f}",
                str(row["steps"] or "–"),
                f"{seconds / 60:.1f}" if seconds else "–",
                *(f"{points[name]:.1f}" if points else "–" for name in domains),
                f"{row['p50_ms']:.1f}",
                f"{row['cpu_p50_ms']:.1f}",
                f"{row['fps']:.1f}",
            ]
        )
    lines.insert(1, ["---", "---", *["--:"] * (len(lines[0]) - 2)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
