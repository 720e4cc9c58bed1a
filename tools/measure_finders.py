"""How well words and "all like this" do with the shipped models, on pictures nobody calibrated on.

python -m tools.measure_finders [--scenes N]

Words: drawn scenes of seeds 930,000 on, all conditions in turn. All like this: the same scenes with
the shipped SAM, and drawn shapes of seeds 2,000 on with a model for clicks that knows colours only.
Prints JSON. An object counts as found where an answer has an IoU of 0.5 with it (shapes: 0.7).
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Found, Thresholds
from cloud.assist.finders import Seen
from cloud.assist.interactive_model import InteractiveModel, go_on
from cloud.assist.likeness import EmbeddingLikeness
from cloud.assist.mask_overlaps import iou
from cloud.assist.propagation import propagated
from cloud.demo.scenes import CONDITIONS, draw_layers, draw_scene, photograph_layers
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.ontology import ontology_of
from cloud.preannotation.sam.by_name import promptable_from
from cloud.preannotation.semantic_labels import TinyLabeler
from cloud.preannotation.word_finder import ClassWords, Vocabulary
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import MasksSection
from tests.drawn_shapes import ColourModel, draw_shapes

_SCENES, _SHAPES = 930_000, 2_000
_WORDS = {"the road": "road", "sky": "sky", "houses": "building", "cars": "car", "man": "person"}
_LEAST_PX = 150  # of objects that shall be found: smaller ones are specks even to people


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    count: int = parser.parse_args().scenes
    sam = InteractiveSam(
        promptable_from(MasksSection(type="tiny"), device="cpu", precision="float32"),
        weights_digest="", precision="float32", device="cpu", takes_masks=False,
    )  # fmt: skip
    told = {
        "scenes": count,
        "words": words_figures(sam, count),
        "like_cars": scene_figures(sam, count, "car"),
        "track_cars": track_figures(sam, min(count, 12)),
        "like_shapes": shape_figures(20, (320, 400)),
        "like_shapes_portrait": shape_figures(20, (500, 260)),
    }
    print(json.dumps(told, indent=2))


def words_figures(sam: InteractiveModel, count: int) -> dict[str, Any]:
    """By phrase: IoU of everything found with the class, share of regions mostly of the class."""
    finder = ClassWords(
        TinyLabeler(CITYSCAPES, device="cpu"), Vocabulary(ontology_of(CITYSCAPES), CITYSCAPES)
    )
    told: dict[str, Any] = {}
    for phrase, name in _WORDS.items():
        ious, right, regions, seconds = [], 0, 0, []
        for number in range(count):
            scene = draw_scene(_SCENES + number, CONDITIONS[number % len(CONDITIONS)])
            truth = scene.mask == CITYSCAPES.id_of(name)
            seen = _seen(sam, scene.image)
            begun = time.perf_counter()
            found = finder.find(seen, [phrase], labels=CITYSCAPES.names, thresholds=Thresholds())
            seconds.append(time.perf_counter() - begun)
            masks = [one.mask for one in found]
            regions += len(masks)
            right += sum((mask & truth).sum() > 0.5 * mask.sum() for mask in masks)
            if truth.sum() >= _LEAST_PX:
                ious.append(iou(np.any([*masks, np.zeros_like(truth)], axis=0), truth))
        told[phrase] = {
            "scenes_with_it": len(ious),
            "mean_iou": round(float(np.mean(ious)), 3),
            "regions": regions,
            "mostly_right": round(float(right / max(1, regions)), 3),
            "median_seconds": round(statistics.median(seconds), 3),
        }
    return told


def scene_figures(sam: InteractiveModel, count: int, name: str) -> dict[str, Any]:
    """The largest object of a class as the example, all its others as the truth."""
    class_id = CITYSCAPES.id_of(name)
    answers: list[tuple[list[Found], list[NDArray[np.bool_]]]] = []
    seconds = []
    for number in range(count):
        seed = _SCENES + number
        layers = draw_layers(seed)
        image = photograph_layers(layers, seed, CONDITIONS[number % len(CONDITIONS)])
        numbers = np.unique(layers.instance[layers.mask == class_id])
        objects = [layers.instance == one for one in numbers if one]
        objects = sorted((m for m in objects if m.sum() >= _LEAST_PX), key=lambda m: -m.sum())
        if len(objects) > 1:
            seen = _seen(sam, image)
            begun = time.perf_counter()
            found = EmbeddingLikeness().find_like(seen, objects[0], label=name)
            seconds.append(time.perf_counter() - begun)
            answers.append((found, objects[1:]))
    return {**_figures(answers, 0.5), "median_seconds": round(statistics.median(seconds), 3)}


def track_figures(sam: InteractiveModel, count: int) -> dict[str, Any]:
    """The largest car, while the camera turns by eight pixels a frame, for twelve frames."""
    car = CITYSCAPES.id_of("car")
    ious, frames, seconds = [], 0, []
    for number in range(count):
        seed = _SCENES + number
        layers = draw_layers(seed)
        image = photograph_layers(layers, seed, CONDITIONS[number % len(CONDITIONS)])
        parts = [np.s_[:, 8 * step : 8 * step + 380] for step in range(13)]
        numbers = [int(one) for one in np.unique(layers.instance[layers.mask == car]) if one]
        largest = max((layers.instance == one for one in numbers), key=np.sum, default=None)
        if largest is None or min(largest[part].sum() for part in parts) < 1_000:
            continue
        begun = time.perf_counter()
        pictures = (image[part] for part in parts[1:])
        answers = list(propagated(sam, image[parts[0]], pictures, {1: largest[parts[0]]}))
        seconds.append((time.perf_counter() - begun) / len(parts))
        frames += len(parts) - 1
        for part, answer in zip(parts[1:], answers, strict=False):
            if 1 in answer.seen:
                ious.append(iou(answer.seen[1].mask, largest[part]))
    return {
        "frames": frames,
        "seen_in": len(ious),
        "mean_iou_where_seen": round(float(np.mean(ious)), 3) if ious else None,
        "median_seconds_a_frame": round(statistics.median(seconds), 3) if seconds else None,
    }


def shape_figures(count: int, size: tuple[int, int]) -> dict[str, Any]:
    """One of seven copies as the example, the six others as the truth, seven other shapes."""
    model = ColourModel()
    answers = []
    for seed in range(_SHAPES, _SHAPES + count):
        drawn = draw_shapes(seed, size=size)
        seen = _seen(model, drawn.image)
        found = EmbeddingLikeness().find_like(seen, drawn.wanted[0], label="x")
        answers.append((found, drawn.wanted[1:]))
    return {**_figures(answers, 0.7), "clicks_a_picture": round(model.decoded / count, 1)}


def _figures(
    answers: Sequence[tuple[list[Found], list[NDArray[np.bool_]]]], least: float
) -> dict[str, Any]:
    wanted = sum(len(objects) for _, objects in answers)
    given = sum(len(found) for found, _ in answers)
    hits = sum(
        any(iou(one.mask, thing) > least for one in found)
        for found, objects in answers
        for thing in objects
    )
    right = sum(
        any(iou(one.mask, thing) > least for thing in objects)
        for found, objects in answers
        for one in found
    )
    return {
        "pictures": len(answers),
        "objects": wanted,
        "answers": given,
        "recall": round(hits / wanted, 3),
        "precision": round(right / max(1, given), 3),
    }


def _seen(model: InteractiveModel, image: NDArray[np.uint8]) -> Seen:
    return Seen(
        digest="",
        model=model,
        embedded=model.embed(image),
        pixels=lambda: image,
        pause=go_on,
    )


if __name__ == "__main__":
    main()
