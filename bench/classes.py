"""What it costs to add classes: old classes kept, new ones learned, beside plainer ways.

python -m bench.classes --json

A first model learns drawn streets in which sidewalks are painted "road" and vegetation "terrain"
(`--hide NEW=OLD` names others). Then both become classes. A round gets a few pictures with present
labels, and a memory of old ones, whose labels were never touched. Every way starts from the same
grown weights and takes as many steps; they differ in what they know of the change:

* `ours`: old labels count for what they may be, the teacher for the classes it knows;
* `at their word`: the same replay and distillation, but an old label "road" means no sidewalk,
  and the teacher's "road" too: the background shift that nobody takes care of;
* `fine-tuning`: the new pictures alone, no memory and no teacher;
* `all painted anew`: the memory too has present labels: what our way cannot know (upper bound).

Old classes are judged on pixels that both models have a name for, as the gate does.
"""

import argparse
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch

from bench.measuring import report, seconds_of
from cloud.demo.scenes import draw_scene
from cloud.learning.class_examination import Reports, examined
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.evaluation import Examined
from lifelong.labels.map_changes import LabelMapChange, change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader
from lifelong.model_bundle import BundleManifest
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES, LabelMap
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, weights_to_bytes
from lifelong.training.datasets import Pictures, no_pictures, pictures_from_pairs
from lifelong.training.head_growth import grown_weights
from lifelong.training.label_shift import ClassesBefore, teacher_classes
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

HIDDEN = ("sidewalk=road", "vegetation=terrain")  # new class = what it was painted before
# Seeds of scenes; never shared.
OLD, NEW, HELD_OUT = 5_000_000, 6_000_000, 7_000_000


@dataclass(frozen=True, slots=True)
class World:
    """Streets before and after the change, at one size, with one pace of training."""

    section: TrainingSection
    hidden: dict[str, str]  # new class -> what it was painted before
    change: LabelMapChange

    @property
    def how(self) -> Preprocessing:
        """The network's input."""
        return Preprocessing(height=self.section.height, width=self.section.width)

    @property
    def reader(self) -> LabelReader:
        """Reads masks of both label maps."""
        return LabelReader(LabelMapHistory(self.change.after, [self.change]))

    def painted(self, mask: np.ndarray, label_map: LabelMap) -> np.ndarray:
        """A drawn mask with the ids of a label map; what that does not know is its parent."""
        table = np.full(256, 255, dtype=np.uint8)
        for class_id, name in enumerate(CITYSCAPES.names):
            table[class_id] = label_map.id_of(name if name in label_map else self.hidden[name])
        return np.asarray(table[mask])

    def pictures(self, pairs: Iterable[Examined]) -> Pictures:
        """Pictures at the network's size."""
        return pictures_from_pairs(pairs, self.how, learning_task="clear")

    def segmenter(self, weights: Weights, label_map: LabelMap) -> OnnxSegmenter:
        """The exported model, as an edge would run it."""
        manifest = BundleManifest(
            label_map=label_map,
            preprocessing=self.how,
            network=self.section.network,
            weights_sha256=sha256_hex(weights_to_bytes(weights)),
        )
        return OnnxSegmenter(packed(weights, manifest, []), threads=1)


def the_change(hidden: dict[str, str]) -> LabelMapChange:
    """From the classes without the hidden ones to all, the hidden ones at the end."""
    kept = [i for i, name in enumerate(CITYSCAPES.names) if name not in hidden]
    before = LabelMap(
        tuple(CITYSCAPES.names[i] for i in kept), tuple(CITYSCAPES.colours[i] for i in kept)
    )
    return change_classes(before, add={name: (parent,) for name, parent in hidden.items()})


@cache
def drawn(first: int, count: int) -> tuple[Examined, ...]:
    """Streets in clear weather with the drawn masks."""
    scenes = (draw_scene(first + n, "clear") for n in range(count))
    return tuple((scene.image, scene.mask) for scene in scenes)


def main() -> None:
    """Train a first model, change its classes in every way, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=int, default=96, help="pictures of before the change")
    parser.add_argument("--new", type=int, default=24, help="pictures with the new classes")
    parser.add_argument("--holdout", type=int, default=40)
    parser.add_argument("--first-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("--strategy", default=TrainingSection().strategy, help="of our way")
    parser.add_argument("--only", action="append", help="one of the ways, may be given again")
    parser.add_argument("--hide", action="append", help="NEW=OLD, may be given again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    section = TrainingSection(
        height=given.height,
        width=given.width,
        steps=given.steps,
        threads=1,
        seed=given.seed,
        strategy=given.strategy,
    )
    hidden = dict(text.split("=", 1) for text in given.hide or HIDDEN)
    world = World(section, hidden, the_change(hidden))
    first = first_model(world, given.old, given.first_steps)
    figures: dict[str, object] = {"steps": given.steps}
    for name, lesson in ways(world, first, given.old, given.new).items():
        if given.only and name not in given.only:
            continue
        weights, seconds = seconds_of(partial(train, lesson))
        sat = sit(world, first, weights, given.holdout)
        figures["before"] = told(world, sat, of_incumbent=True)
        figures[name] = told(world, sat) | {"seconds": round(seconds, 1)}
    report(figures, as_json=given.json)


def first_model(world: World, old: int, steps: int) -> Weights:
    """A model of the classes before the change, from nothing."""
    before = world.change.before
    pairs = [(image, world.painted(mask, before)) for image, mask in drawn(OLD, old)]
    section = world.section.model_copy(update={"steps": steps, "first_steps_factor": 1})
    return train(
        Lesson(
            section=section,
            classes=len(before),
            new=world.pictures(pairs),
            memory=no_pictures(world.how),
            incumbent=None,
        )
    )


def ways(world: World, first: Weights, old: int, new: int) -> dict[str, Lesson]:
    """One lesson for each way to add the classes."""
    change, reader = world.change, world.reader
    before, after = change.before, change.after
    masks = [(image, world.painted(mask, before)) for image, mask in drawn(OLD, old)]
    coded = [(image, reader.read(mask, before.digest, "memory")) for image, mask in masks]
    plain = [(image, reader.sure(mask, before.digest, "memory")) for image, mask in masks]
    anew = [(image, world.painted(mask, after)) for image, mask in drawn(OLD, old)]
    fresh = [(image, world.painted(mask, after)) for image, mask in drawn(NEW, new)]
    ours = Lesson(
        section=world.section,
        classes=len(after),
        new=world.pictures(fresh),
        memory=world.pictures(coded),
        incumbent=grown_weights(first, world.section.network, change),
        codes=reader.codes,
        classes_before=ClassesBefore(first, len(before), teacher_classes(change)),
    )
    simple = replace(ours, codes=None, classes_before=None)
    alone = world.section.model_copy(update={"strategy": "naive"})
    replay = world.section.model_copy(update={"strategy": "replay"})
    return {
        "ours": ours,
        "at their word": replace(simple, memory=world.pictures(plain)),
        "fine-tuning": replace(simple, section=alone, memory=no_pictures(world.how)),
        "all painted anew": replace(simple, section=replay, memory=world.pictures(anew)),
    }


def sit(world: World, first: Weights, weights: Weights, count: int) -> Reports:
    """The first model and a later one on the same held-out streets."""
    before, after = world.change.before, world.change.after
    held_out = [(image, world.painted(mask, after)) for image, mask in drawn(HELD_OUT, count)]
    return examined(
        world.segmenter(weights, after),
        (world.segmenter(first, before), before),
        {"clear": held_out},
        world.reader,
    )


def told(world: World, sat: Reports, *, of_incumbent: bool = False) -> dict[str, object]:
    """mIoU of the old classes and IoU of parents and new classes, in points."""
    old = sat.incumbent if of_incumbent else sat.compared
    assert old is not None
    seen = old.tasks["clear"]
    figures: dict[str, object] = {"old_miou": round(100 * seen.miou, 1)}
    figures |= {
        name: round(100 * seen.iou[name], 1) for name in dict.fromkeys(world.hidden.values())
    }
    if not of_incumbent:
        iou = sat.candidate.tasks["clear"].iou
        figures |= {name: round(100 * iou[name], 1) for name in world.hidden}
    return figures


if __name__ == "__main__":
    main()
