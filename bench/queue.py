"""What a round's budget finds under each strategy of the queue, beside choosing at random.

python -m bench.queue --json
python -m bench.queue --waiting 300 --budgets 16 32

The knowledge base holds drawn streets in clear weather and the shipped edge model, which knows no
other. What waits is mostly clear too; dusk, rain, fog and night are rare. Scores and masks are the
edge model's own; the true labels only measure: how many conditions a budget meets, how many of its
pictures are of new conditions, and how much they show of classes that make up less than a
two-hundredth of the labelled pixels. Random choice is the mean, least and most of 20 seeds.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bench.demo_cloud import demo_cloud
from bench.measuring import report, seconds_of
from cloud.assembly import Cloud
from cloud.demo.worlds import ScenesWorld
from cloud.selecting.selection import Queue
from lifelong.hard_examples import frame_scores
from lifelong.records.ids import EdgeId, SampleId, sample_id_of, sha256_hex
from lifelong.records.keys import edge_mask_key, image_key
from lifelong.records.pixels import image_from_bytes, png_from_mask
from lifelong.records.samples import HardExample
from lifelong.sections.edge import HardExamplesSection
from lifelong.sections.queue import QueueSection
from lifelong.segmenter import OnnxSegmenter

STRATEGIES = ("expected_value", "entropy", "margin", "bald", "oldest")
SHARES = {"clear": 0.80, "dusk": 0.08, "rain": 0.06, "fog": 0.04, "night": 0.02}
RARE = 0.005  # of the labelled pixels
SEEDS = 20
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Truth:
    """What a waiting picture really shows; the queue never sees it."""

    condition: str
    shares: tuple[float, ...]  # of the picture's pixels, by class id


def main() -> None:
    """Let every strategy choose, and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=200)
    parser.add_argument("--budgets", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        report(compared(Path(folder), given.waiting, given.budgets, given.seed), as_json=given.json)


def compared(folder: Path, waiting: int, budgets: Sequence[int], seed: int) -> dict[str, object]:
    """Figures of every strategy for every budget."""
    cloud, world = demo_cloud(folder, seed)
    examples, truths = waiting_in(cloud, world, waiting, seed)
    rare = rare_classes(cloud)
    figures: dict[str, object] = {
        "waiting": len(examples),
        "waiting_by_condition": {
            name: sum(truth.condition == name for truth in truths.values()) for name in SHARES
        },
        "rare_classes": [cloud.label_map.names[class_id] for class_id in sorted(rare)],
        "rare_permille_of_what_waits": told(list(truths), truths, rare)["rare_permille"],
    }
    for budget in budgets:
        for strategy in STRATEGIES:
            found, took = seconds_of(
                lambda s=strategy, b=budget: chosen(cloud, examples, QueueSection(strategy=s), b)  # type: ignore[misc]
            )
            figures[f"{strategy} of {budget}"] = told(found, truths, rare) | {
                "seconds": round(took, 2)
            }
        draws = [
            told(
                chosen(cloud, examples, QueueSection(strategy="random", seed=s), budget),
                truths,
                rare,
            )
            for s in range(SEEDS)
        ]
        figures[f"random of {budget}, mean (least, most) of {SEEDS}"] = {
            name: [
                round(float(np.mean([draw[name] for draw in draws])), 2),
                min(draw[name] for draw in draws),
                max(draw[name] for draw in draws),
            ]
            for name in draws[0]
        }
    return figures


def waiting_in(
    cloud: Cloud, world: ScenesWorld, count: int, seed: int
) -> tuple[list[HardExample], dict[SampleId, Truth]]:
    """Hard examples with the edge model's own masks and scores, in storage, in mixed order."""
    incumbent = cloud.releases.incumbent()
    assert incumbent is not None
    segmenter = OnnxSegmenter(incumbent, threads=1)
    section = HardExamplesSection()
    conditions = [name for name, share in SHARES.items() for _ in range(round(count * share))]
    np.random.default_rng(seed).shuffle(conditions)
    streams = {name: world.stream(name, 0, count) for name in SHARES}
    examples, truths = [], {}
    for number, condition in enumerate(conditions):
        picture = next(streams[condition])
        image = image_from_bytes(picture.image, picture.name)
        prediction = segmenter.segment(image)
        mask = png_from_mask(prediction.mask)
        scores = frame_scores(prediction, section)
        sample_id = sample_id_of(picture.image)
        cloud.storage.put(image_key(sample_id), picture.image)
        cloud.storage.put(edge_mask_key(sample_id), mask)
        examples.append(
            HardExample(
                sample_id=sample_id,
                edge_id=EdgeId("edge-1"),
                captured_at=BEGUN + timedelta(minutes=number),
                sequence=number,
                version_id=incumbent.version_id,
                score=scores["entropy"],
                reasons=(),
                image_key=image_key(sample_id),
                image_sha256=sha256_hex(picture.image),
                mask_key=edge_mask_key(sample_id),
                mask_sha256=sha256_hex(mask),
                height=image.shape[0],
                width=image.shape[1],
                scores=scores,
            )
        )
        shares = np.bincount(picture.mask.ravel(), minlength=256) / picture.mask.size
        truths[sample_id] = Truth(condition, tuple(shares[: len(cloud.label_map)].tolist()))
    return examples, truths


def rare_classes(cloud: Cloud) -> frozenset[int]:
    """Classes with next to no labelled pixels in the knowledge base."""
    pixels = np.zeros(len(cloud.label_map), dtype=np.int64)
    for sample in cloud.kb.samples.values():
        for class_id, count in sample.class_pixels.items():
            pixels[class_id] += count
    return frozenset(int(i) for i in np.flatnonzero(pixels < RARE * pixels.sum()))


def chosen(
    cloud: Cloud, examples: Sequence[HardExample], section: QueueSection, budget: int
) -> list[SampleId]:
    """What a fresh queue takes; pictures were read before, as in a service that has run a while."""
    queue = Queue(
        section=section,
        kb=cloud.kb,
        storage=cloud.storage,
        journal=cloud.journal,
        bundle=cloud.releases.bundle,
    )
    incumbent = examples[0].version_id
    found = queue.choose(examples, incumbent=incumbent, budget=budget, at_least=1)
    return [example.sample_id for example in found]


def told(
    found: Sequence[SampleId], truths: dict[SampleId, Truth], rare: frozenset[int]
) -> dict[str, float]:
    """What a choice is worth, by the truth."""
    seen = [truths[sample_id] for sample_id in found]
    return {
        "conditions": len({truth.condition for truth in seen}),
        "of_new_conditions": sum(truth.condition != "clear" for truth in seen),
        "rare_permille": round(
            1000.0 * float(np.mean([sum(truth.shares[c] for c in rare) for truth in seen])), 2
        ),
    }


if __name__ == "__main__":
    main()
