"""What hard example mining is worth: mIoU after one round with the same number of labels.

python -m bench.choice --json
python -m bench.choice --out runs/bench/choice.jsonl      (resumable: done choices are kept)
python -m bench.choice --policies entropy cross_entropy --steps 100 --json

A camera streams drawn streets, mostly clear, the weather the shipped edge model was trained in;
dusk, rain, fog and night are rare. Each policy may send so many frames as the budget says: those
that its own score puts first; `... x novelty` is what a node's uploads go by with that policy.
Random choice sends as many, drawn evenly, with several seeds. The chosen frames get their exact
labels, and one round with the default settings learns from them. Every round starts from the same
weights and memory and sits the same hold-outs.
"""

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.kept_runs import keep_in, kept_in
from bench.measuring import report
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.demo.scenes import draw_scene
from cloud.learning.familiarity import FamiliarPicture
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import Examined, Holdouts, evaluate
from lifelong.hard_examples import disagreement, frame_scores
from lifelong.labels.second_looks import mirrored_look
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import EvaluationReport
from lifelong.sections.edge import HardExamplesSection
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import Pictures, joined, no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

POLICIES = (
    "entropy",
    "margin",
    "least_confidence",
    "share_below",
    "cross_entropy",
    "ibt",
    "flip_consistency",
    "novelty",
    "entropy x novelty",
    "cross_entropy x novelty",
    "ibt x novelty",
)
SHARES = {"clear": 0.80, "dusk": 0.08, "rain": 0.06, "fog": 0.04, "night": 0.02}
# Seeds of scenes; never shared.
MEMORY, HELD_BACK, STREAM, HELD_OUT = 1_000_000, 1_500_000, 3_000_000, 900_000


@dataclass(frozen=True, slots=True)
class Streamed:
    """A frame of the camera: which scene it is, and what the edge's model made of it."""

    condition: str
    seed: int
    scores: dict[str, float]

    @property
    def pair(self) -> Examined:
        scene = draw_scene(self.seed, self.condition)
        return scene.image, scene.mask


@dataclass(frozen=True, slots=True)
class Beginning:
    """What every round starts from."""

    section: TrainingSection
    weights: Weights
    memory: Pictures
    holdouts: Holdouts

    @property
    def how(self) -> Preprocessing:
        return Preprocessing(height=self.section.height, width=self.section.width)

    def bundle(self, weights: Weights, *, knows: bool = False) -> ModelBundle:
        """`knows`: with what the model of the camera was trained for, so that it tells the new."""
        manifest = BundleManifest(
            label_map=CITYSCAPES,
            preprocessing=self.how,
            network=self.section.network,
            weights_sha256=sha256_hex(weights_to_bytes(weights)),
        )
        if not knows:
            return packed(weights, manifest, [])
        known = [FamiliarPicture("clear", image) for image, _ in clear_scenes(MEMORY, 96)]
        held_back = [image for image, _ in clear_scenes(HELD_BACK, 64)]
        return packed(weights, manifest, held_back, familiar=known)

    def examined(self, weights: Weights) -> EvaluationReport:
        return evaluate(OnnxSegmenter(self.bundle(weights), threads=1), self.holdouts, CITYSCAPES)


def main() -> None:
    """Let every policy choose, train a round on each choice, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--stream", type=int, default=0, help="which camera: seed of the frames")
    parser.add_argument("--random", type=int, default=3, help="seeds of random choice")
    parser.add_argument(
        "--policies", nargs="+", choices=POLICIES, default=POLICIES, metavar="POLICY",
        help=f"these alone, of {', '.join(POLICIES)}",
    )  # fmt: skip
    parser.add_argument("--holdout", type=int, default=30, help="pictures of each condition")
    parser.add_argument("--steps", type=int, default=TrainingSection().steps)
    parser.add_argument("--out", type=Path, help="keep what is done here, and go on from it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    begun = beginning(given.steps, given.holdout)
    stream = streamed(begun, given.frames, given.stream)
    done = kept_in(given.out)
    figures = {"before": told(begun.examined(begun.weights))}
    wanted = choices(stream, given.budget, given.random, given.policies)
    for name, chosen in wanted.items():
        if name not in done:
            done[name] = told(after_a_round(begun, chosen)) | {
                "labelled": dict(Counter(frame.condition for frame in chosen))
            }
            keep_in(given.out, name, done[name])
        figures[name] = done[name]
    sizes = {name: vars(given)[name] for name in ("frames", "budget", "steps", "holdout")}
    told_all = figures | summary(figures, given.random, given.policies) | {"sizes": sizes}
    report(told_all, as_json=given.json)


def beginning(steps: int, holdout: int) -> Beginning:
    """The shipped weights, pictures of the weather they know, and hold-outs of all weathers."""
    section = TrainingSection(threads=1, steps=steps)
    how = Preprocessing(height=section.height, width=section.width)
    memory = clear_scenes(MEMORY, 96)
    holdouts = {
        condition: [
            (scene.image, scene.mask)
            for scene in (draw_scene(HELD_OUT + n, condition) for n in range(holdout))
        ]
        for condition in SHARES
    }
    return Beginning(
        section=section,
        weights=weights_from_bytes(EDGE_WEIGHTS.read_bytes(), str(EDGE_WEIGHTS)),
        memory=pictures_from_pairs(memory, how, learning_task="clear"),
        holdouts=holdouts,
    )


def clear_scenes(first: int, count: int) -> list[Examined]:
    """Pictures of the weather that the model knows, with their labels."""
    scenes = (draw_scene(first + number, "clear") for number in range(count))
    return [(scene.image, scene.mask) for scene in scenes]


def streamed(begun: Beginning, frames: int, seed: int) -> list[Streamed]:
    """The camera's frames in mixed order, with the scores of the edge's model."""
    segmenter = OnnxSegmenter(begun.bundle(begun.weights, knows=True), threads=1)
    section = HardExamplesSection()
    conditions = [name for name, share in SHARES.items() for _ in range(round(frames * share))]
    np.random.default_rng(seed).shuffle(conditions)
    found = []
    for number, condition in enumerate(conditions):
        scene = STREAM + 10_000 * seed + number
        image = draw_scene(scene, condition).image
        prediction = segmenter.segment(image)
        scores = frame_scores(prediction, section)
        assert prediction.novelty is not None
        scores["novelty"] = prediction.novelty
        for policy in ("entropy", "cross_entropy", "ibt"):
            scores[f"{policy} x novelty"] = scores[policy] * prediction.novelty
        scores["flip_consistency"] = disagreement(prediction, mirrored_look(segmenter, image))
        found.append(Streamed(condition, scene, scores))
    return found


def choices(
    stream: list[Streamed], budget: int, seeds: int, policies: Sequence[str]
) -> dict[str, list[Streamed]]:
    """What each policy sends: the frames its score puts first; and random draws."""
    found = {
        policy: sorted(stream, key=lambda frame: -frame.scores[policy])[:budget]
        for policy in policies
    }
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).choice(len(stream), budget, replace=False)
        found[f"random, seed {seed}"] = [stream[int(number)] for number in drawn]
    return found


def after_a_round(begun: Beginning, chosen: list[Streamed]) -> EvaluationReport:
    """Learn the chosen frames with the default settings, and sit the examination."""
    new = no_pictures(begun.how)
    for condition in dict.fromkeys(frame.condition for frame in chosen):
        pairs = [frame.pair for frame in chosen if frame.condition == condition]
        new = joined(new, pictures_from_pairs(pairs, begun.how, learning_task=condition))
    lesson = Lesson(
        section=begun.section,
        classes=len(CITYSCAPES),
        new=new,
        memory=begun.memory,
        incumbent=begun.weights,
    )
    return begun.examined(train(lesson))


def told(examined: EvaluationReport) -> dict[str, object]:
    """mIoU in points by condition, and their mean."""
    points = {name: round(100 * result.miou, 2) for name, result in examined.tasks.items()}
    return {"mean": round(float(np.mean(list(points.values()))), 2), **points}


def summary(
    figures: dict[str, dict[str, object]], seeds: int, policies: Sequence[str]
) -> dict[str, object]:
    """The mean of the random choices, and what each policy gains over it, in points of mIoU."""
    draws = [float(str(figures[f"random, seed {seed}"]["mean"])) for seed in range(seeds)]
    chance = round(float(np.mean(draws)), 2)
    return {
        "random, mean (least, most)": [chance, min(draws), max(draws)],
        "gain_over_random": {
            policy: round(float(str(figures[policy]["mean"])) - chance, 2) for policy in policies
        },
    }


if __name__ == "__main__":
    main()
