"""Which labels are worth their price: a round on a few chosen pictures beside one on all of them.

python -m bench.labels --data DIR [--domains day,dusk] [--seeds 3] --json --out FILE

DIR is laid out as `{domain}/{train,eval}/{images,train_ids}`. A network learns the first domain;
its weights are kept in `runs/labels`. A round (`training.steps`, the first domain replayed) then
learns the second one from all its labels, or from a share of them that a strategy of
`lifelong/labels/selection.py` chose by what the network of the first domain says. With
`+unlabelled` the pictures that were not chosen teach too, without their labels, in equally many
steps (`lifelong/training/self_training.py`). Each round is one line of FILE; a run that was
stopped goes on. Figures are mIoU in points on the second domain's `eval`, which no choice sees.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.kept_runs import keep_in, kept_in
from bench.measuring import report, seconds_of
from cloud.learning.label_choice import unlabelled
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import Holdouts, evaluate
from lifelong.labels.folders import labelled_pairs
from lifelong.labels.selection import STRATEGIES, Unlabelled, choose_for_labels
from lifelong.links.durable_files import write_whole
from lifelong.model_bundle import BundleManifest
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import (
    Weights,
    weights_from_bytes,
    weights_to_bytes,
)
from lifelong.training.datasets import Pair, Pictures, no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.self_training import train_with_unlabelled
from lifelong.training.trainer import train

KEPT = Path("runs") / "labels"
UNLABELLED = "+unlabelled"  # behind a strategy's name
ALL = "all"  # every label of the second domain

Plan = tuple[str, float, int]  # strategy, share of the labels, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What every round starts from."""

    section: TrainingSection
    weights: Weights
    first: Pictures
    second: Pictures
    seen: tuple[Unlabelled, ...]  # what the network of the first domain says of `second`
    holdouts: Holdouts


def main() -> None:
    """Choose, learn, examine; print the table."""
    given = _arguments()
    torch.set_num_threads(1)
    first, second = given.domains.split(",")
    begun = beginning(given.data, first, second, given.steps)
    done = kept_in(given.out)
    for plan in plans(given.strategies.split(","), given.shares, given.seeds):
        key = name_of(plan)
        if key not in done:
            done[key] = a_round(begun, plan)
            keep_in(given.out, key, done[key])
    wanted = [
        name_of(plan) for plan in plans(given.strategies.split(","), given.shares, given.seeds)
    ]
    report(summary({key: done[key] for key in wanted}, second), as_json=given.json)


def beginning(data: Path, first: str, second: str, steps: int) -> Beginning:
    """Pictures of both domains, and a network that knows the first."""
    section = TrainingSection(threads=1, steps=steps)
    how = Preprocessing(height=section.height, width=section.width)
    known, new = (
        pictures_from_pairs(_pairs(data / name / "train"), how, learning_task=name)
        for name in (first, second)
    )
    weights = _first_weights(section, known, KEPT / f"{first}_{section.steps}.safetensors")
    return Beginning(
        section=section,
        weights=weights,
        first=known,
        second=new,
        seen=unlabelled(weights, section, len(CITYSCAPES), new),
        holdouts={name: list(_pairs(data / name / "eval")) for name in (first, second)},
    )


def plans(strategies: Sequence[str], shares: Sequence[float], seeds: int) -> list[Plan]:
    """Every round to learn: all labels first, then every share by every strategy."""
    rounds: list[Plan] = [(ALL, 1.0, seed) for seed in range(seeds)]
    rounds += [
        (name, share, seed) for share in shares for seed in range(seeds) for name in strategies
    ]
    return rounds


def a_round(begun: Beginning, plan: Plan) -> dict[str, object]:
    """Learn what a plan may see of the second domain, and sit the examinations."""
    strategy, share, seed = plan
    count = math.ceil(share * len(begun.second))
    name = strategy.removesuffix(UNLABELLED)
    chosen = (
        tuple(range(len(begun.second)))
        if name == ALL
        else choose_for_labels(begun.seen, count, strategy=name, seed=seed)
    )
    lesson = Lesson(
        section=begun.section.model_copy(update={"seed": seed}),
        classes=len(CITYSCAPES),
        new=begun.second.take(chosen),
        memory=begun.first,
        incumbent=begun.weights,
    )
    rest = begun.second.take([n for n in range(len(begun.second)) if n not in set(chosen)])

    def learn() -> Weights:
        if strategy.endswith(UNLABELLED):
            return train_with_unlabelled(lesson, rest)
        return train(lesson)

    weights, seconds = seconds_of(learn)
    return {
        "labels": len(chosen),
        "chosen": sorted(chosen),
        "miou": examined(begun, weights),
        "seconds": round(seconds, 1),
    }


def examined(begun: Beginning, weights: Weights) -> dict[str, float]:
    """mIoU in points, by domain."""
    data = weights_to_bytes(weights)
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=Preprocessing(height=begun.section.height, width=begun.section.width),
        network=begun.section.network,
        weights_sha256=sha256_hex(data),
    )
    segmenter = OnnxSegmenter(packed(weights, manifest, []), threads=1)
    tasks = evaluate(segmenter, begun.holdouts, CITYSCAPES).tasks
    return {name: round(100.0 * result.miou, 2) for name, result in tasks.items()}


def summary(done: dict[str, dict[str, object]], second: str) -> dict[str, object]:
    """By strategy and share: mean mIoU of the second domain, all values, share of the full one."""
    values: dict[str, list[float]] = {}
    for key, figures in done.items():
        miou = figures["miou"]
        assert isinstance(miou, dict)
        values.setdefault(key.rpartition(" seed ")[0], []).append(miou[second])
    full = float(np.mean(values[f"{ALL} 1.0"]))
    return {
        name: {
            "mean": round(float(np.mean(found)), 2),
            "seeds": found,
            "of_full": round(float(np.mean(found)) / full, 4),
        }
        for name, found in values.items()
    }


def name_of(plan: Plan) -> str:
    """How a round is called in the file."""
    strategy, share, seed = plan
    return f"{strategy} {share} seed {seed}"


def _first_weights(section: TrainingSection, pictures: Pictures, kept: Path) -> Weights:
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        lesson = Lesson(
            section=section,
            classes=len(CITYSCAPES),
            new=pictures,
            memory=no_pictures(Preprocessing(height=section.height, width=section.width)),
            incumbent=None,
        )
        weights = train(lesson, checkpoint=kept.with_suffix(".checkpoint"))
        write_whole(kept, weights_to_bytes(weights))
    return weights_from_bytes(kept.read_bytes(), str(kept))


def _pairs(folder: Path) -> Iterator[Pair]:
    for image, mask in labelled_pairs(folder):
        pixels: NDArray[np.uint8] = image_from_bytes(image.read_bytes(), str(image))
        yield pixels, mask_from_png(mask.read_bytes(), str(mask))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--domains", default="day,dusk", help="the known one, the new one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25], help="of the labels")
    parser.add_argument(
        "--strategies",
        default=f"random,ours,random{UNLABELLED},ours{UNLABELLED}",
        help=f"with commas; there are {', '.join(STRATEGIES)}, each also with {UNLABELLED}",
    )
    parser.add_argument("--steps", type=int, default=TrainingSection().steps)
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
