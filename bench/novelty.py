"""How well a model tells what is new to it, and what hard example mining costs a frame.

python -m bench.novelty --json

Three questions, each answered by the bundle's novelty and, on the same pictures with the same
network, by the mean of one minus the largest softmax and by the mean energy (Liu et al. 2020,
-ln Σ exp logits). AUROC is the chance that a new picture scores above a familiar one.

* `scenes_*`: a network trained on drawn streets in clear weather; other weather is new.
* `class_*`: one trained on streets without truck, bus and train; streets with one are new
  (EDGE-06), and so are the cells that one covers.
* `camvid_*`: one trained on CamVid's day sequences; the dusk sequence is new. Skipped without
  CamVid beside the repository.

Networks are trained once and kept in `runs/novelty`, which git ignores; a run that was stopped
goes on. `mining_share_*` compares a frame judged with everything (`segment`, then `judge`) with a
frame that is only segmented by the same network without a description.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.measuring import report
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.demo.scenes import draw_scene
from cloud.learning.familiarity import FamiliarPicture
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.hard_examples import judge
from lifelong.labels.folders import labelled_pairs
from lifelong.links.durable_files import write_whole
from lifelong.logit_masks import mask_from_logits
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing, network_target, softmax
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.sections.edge import HardExamplesSection
from lifelong.segmenter import STRANGENESS, OnnxSegmenter
from lifelong.training.checkpoints import weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import Pair, no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

Image = NDArray[np.uint8]
Scores = dict[str, list[float]]

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
KEPT = Path("runs") / "novelty"
HOW = Preprocessing(height=160, width=240)
NEW_WEATHER = ("dusk", "fog", "rain", "night")
NEW_CLASSES = tuple(CITYSCAPES.id_of(name) for name in ("truck", "bus", "train"))
_STEPS_FACTOR = 6  # of a first model, see `training.first_steps_factor`
_LEAST_COVER = 6.0  # cells of 8 pixels that a new thing must cover to count as shown
_COVERED = 0.6  # of a cell, to be a cell of the new thing


def main() -> None:
    """Answer all questions and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="of the networks that are trained")
    parser.add_argument("--pictures", type=int, default=60, help="of each kind that are scored")
    parser.add_argument("--frames", type=int, default=200, help="timed for the cost of mining")
    parser.add_argument("--only", nargs="+", choices=sorted(QUESTIONS), help="these questions")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures: dict[str, object] = {}
    for question in given.only or QUESTIONS:
        figures |= QUESTIONS[question](given.steps, given.pictures, given.frames)
    report(figures, as_json=given.json)


def auroc(familiar: Sequence[float], new: Sequence[float]) -> float:
    """The chance that a new one scores above a familiar one, ties counted half.

    >>> auroc([0.1, 0.2], [0.2, 0.3])
    0.875
    """
    first, second = np.asarray(familiar)[:, None], np.asarray(new)[None]
    return float(((second > first) + 0.5 * (second == first)).mean())


def weather(bundle: ModelBundle, count: int) -> dict[str, object]:
    """Streets in weather that the network has never seen, the same streets as the clear ones."""
    seeds = range(790_000, 790_000 + count)
    familiar = scores_of(bundle, (draw_scene(seed, "clear").image for seed in seeds))
    figures: dict[str, object] = {}
    for condition in NEW_WEATHER:
        new = scores_of(bundle, (draw_scene(seed, condition).image for seed in seeds))
        figures |= compared(f"scenes_{condition}", familiar, new)
    return figures


def held_out_class(steps: int, count: int) -> dict[str, object]:
    """Streets with trucks, buses and trains for a network that never saw one."""
    trained_on = [pair for pair, _ in zip(_streets(50_000, False), range(240), strict=False)]
    bundle = bundle_of(trained("streets_without_trucks", trained_on, steps), split(trained_on))
    plain = [pair[0] for pair, _ in zip(_streets(200_000, False), range(count), strict=False)]
    showing = [pair for pair, _ in zip(_streets(300_000, True), range(count), strict=False)]
    figures = compared(
        "class", scores_of(bundle, plain), scores_of(bundle, [image for image, _ in showing])
    )
    return figures | _cells_of_new_things(bundle, showing)


def camvid(steps: int) -> dict[str, object]:
    """Dusk for a network that knows the day; its held-back day pictures are the familiar ones."""
    if not (CAMVID / "day" / "train").is_dir():
        return {"camvid": "skipped, no CamVid beside the repository"}
    trained_on = list(camvid_pairs("day", "train"))
    bundle = bundle_of(trained("camvid_day", trained_on, steps), split(trained_on))
    day = scores_of(bundle, (image for image, _ in camvid_pairs("day", "eval")))
    dusk = scores_of(
        bundle,
        (image for part in ("train", "eval") for image, _ in camvid_pairs("dusk", part)),
    )
    return compared("camvid_dusk", day, dusk)


def scores_of(bundle: ModelBundle, images: Iterable[Image]) -> Scores:
    """Every score of each picture, by name."""
    segmenter, section = OnnxSegmenter(bundle, threads=1), HardExamplesSection()
    scores: Scores = {
        name: [] for name in ("novelty", "picture", "classes", "softmax", "energy", "entropy")
    }
    for image in images:
        prediction = segmenter.segment(image)
        verdict = judge(prediction, section, {}, 1.0)
        logits = segmenter.logits(image)
        scores["novelty"].append(verdict.scores["novelty"])
        scores["picture"].append(prediction.novelty or 0.0)
        scores["classes"].append(verdict.scores.get("class_novelty", 0.0))
        scores["softmax"].append(verdict.scores["least_confidence"])
        scores["energy"].append(float(_energy(logits).mean()))
        scores["entropy"].append(verdict.scores["entropy"])
    return scores


def compared(name: str, familiar: Scores, new: Scores) -> dict[str, object]:
    """AUROC of every score."""
    return {f"{name}_{score}": round(auroc(familiar[score], new[score]), 4) for score in familiar}


def mining(bundle: ModelBundle, height: int, width: int, frames: int) -> dict[str, object]:
    """What judging adds to a frame: shares of the time of bare segmentation, one thread.

    The two take turns; medians of processor time.
    """
    bare = bundle_of(EDGE_WEIGHTS.read_bytes(), ([], []))
    plain, full = OnnxSegmenter(bare, threads=1), OnnxSegmenter(bundle, threads=1)
    section, quantiles = HardExamplesSection(), bundle.manifest.score_quantiles
    images = [draw_scene(seed, "clear", height, width).image for seed in range(8)]
    predictions = [full.segment(image) for image in images]
    seconds: dict[str, list[float]] = {"bare": [], "segment": [], "judge": []}
    for number in range(frames):
        image, prediction = images[number % 8], predictions[number % 8]
        seconds["bare"].append(_seconds(partial(_bare, plain, image)))
        seconds["segment"].append(_seconds(partial(full.segment, image)))
        seconds["judge"].append(_seconds(partial(judge, prediction, section, quantiles, 0.5)))
    usual = {name: 1000.0 * float(np.median(values)) for name, values in seconds.items()}
    size = f"{width}x{height}"
    return {
        f"bare_ms_{size}": round(usual["bare"], 3),
        f"segment_ms_{size}": round(usual["segment"], 3),
        f"judge_ms_{size}": round(usual["judge"], 3),
        f"judge_share_{size}": round(usual["judge"] / usual["segment"], 4),
        f"mining_share_{size}": round((usual["segment"] + usual["judge"]) / usual["bare"] - 1.0, 4),
    }


def _mining(frames: int) -> dict[str, object]:
    bundle = scenes_bundle()
    return mining(bundle, 360, 480, frames) | mining(bundle, 480, 640, frames)


# Steps, pictures, frames to figures.
QUESTIONS: dict[str, Callable[[int, int, int], dict[str, object]]] = {
    "weather": lambda steps, pictures, frames: weather(scenes_bundle(), pictures),
    "class": lambda steps, pictures, frames: held_out_class(steps, pictures),
    "camvid": lambda steps, pictures, frames: camvid(steps),
    "mining": lambda steps, pictures, frames: _mining(frames),
}


def scenes_bundle() -> ModelBundle:
    """The demo's edge model, described by clear streets."""
    images = [draw_scene(seed, "clear").image for seed in range(100_000, 100_190)]
    return bundle_of(EDGE_WEIGHTS.read_bytes(), (images[:128], images[128:]))


def bundle_of(weights: bytes, pictures: tuple[list[Image], list[Image]]) -> ModelBundle:
    """Weights of the small CNN as a bundle; pictures to fit to, and others to measure on."""
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=HOW,
        network="fast_cnn",
        weights_sha256=sha256_hex(weights),
    )
    fitted, measured = pictures
    return packed(
        weights_from_bytes(weights, "weights of the bench"),
        manifest,
        measured,
        familiar=[FamiliarPicture("known", image) for image in fitted],
    )


def _cells_of_new_things(bundle: ModelBundle, pairs: Sequence[Pair]) -> dict[str, object]:
    """AUROC cell by cell: those that a new thing covers against those without any of it."""
    segmenter = OnnxSegmenter(bundle, threads=1)
    familiar: Scores = {"novelty": [], "softmax": [], "energy": []}
    new: Scores = {"novelty": [], "softmax": [], "energy": []}
    for image, mask in pairs:
        logits, strangeness = segmenter.outputs(image, ("logits", STRANGENESS))
        grid = strangeness.shape[1:]
        cover = _shrunk(_is_new(mask), grid).ravel()
        for name, values in (
            ("novelty", strangeness[0]),
            ("softmax", _shrunk(1.0 - softmax(logits[0]).max(axis=0), grid)),
            ("energy", _shrunk(_energy(logits[0]), grid)),
        ):
            new[name] += values.ravel()[cover >= _COVERED].tolist()
            familiar[name] += values.ravel()[cover == 0.0].tolist()
    rows = {name: auroc_of_many(familiar[name], new[name]) for name in new}
    return {f"class_cells_{name}": round(value, 4) for name, value in rows.items()}


def auroc_of_many(familiar: Sequence[float], new: Sequence[float]) -> float:
    """As `auroc`, for numbers whose table of pairs would not fit into memory."""
    ranked = np.sort(np.asarray(familiar))
    below = np.searchsorted(ranked, new, "left") + np.searchsorted(ranked, new, "right")
    return float(below.mean() / (2 * len(ranked)))


def _energy(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = logits.max(axis=0)
    energy: NDArray[np.float32] = -(largest + np.log(np.exp(logits - largest).sum(axis=0)))
    return energy


def _is_new(mask: Image) -> NDArray[np.float32]:
    """(160, 240) float32: 1 where a new thing is."""
    return np.isin(network_target(mask, HOW), NEW_CLASSES).astype(np.float32)


def _shrunk(values: NDArray[np.float32], grid: tuple[int, ...]) -> NDArray[np.float32]:
    """Means over the cells of a grid that divides the values evenly."""
    rows, columns = grid
    height, width = values.shape
    cells = values.reshape(rows, height // rows, columns, width // columns)
    means: NDArray[np.float32] = cells.mean(axis=(1, 3))
    return means


def _streets(first_seed: int, wanted: bool) -> Iterator[Pair]:
    """Clear streets that show a new thing well, or none at all; without end."""
    seed = first_seed
    while True:
        scene = draw_scene(seed, "clear")
        seed += 1
        if (wanted and float(_is_new(scene.mask).sum()) / 64.0 >= _LEAST_COVER) or (
            not wanted and not np.isin(scene.mask, NEW_CLASSES).any()
        ):
            yield scene.image, scene.mask


def camvid_pairs(condition: str, part: str) -> Iterator[Pair]:
    for image, mask in labelled_pairs(CAMVID / condition / part):
        yield (
            image_from_bytes(image.read_bytes(), str(image)),
            mask_from_png(mask.read_bytes(), str(mask)),
        )


def split(pairs: Sequence[Pair]) -> tuple[list[Image], list[Image]]:
    """Every fourth picture measures, the others are fitted to; all of them were trained on."""
    return (
        [image for number, (image, _) in enumerate(pairs) if number % 4],
        [image for image, _ in pairs[::4]],
    )


def trained(name: str, pairs: Iterable[Pair], steps: int) -> bytes:
    """Weights of the small CNN, trained on one core or taken from an earlier run."""
    kept = KEPT / f"{name}_{steps}.safetensors"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        section = TrainingSection(
            steps=max(steps // _STEPS_FACTOR, 1), threads=1, seed=7, strategy="naive"
        )
        lesson = Lesson(
            section=section,
            classes=len(CITYSCAPES),
            new=pictures_from_pairs(pairs, HOW),
            memory=no_pictures(HOW),
            incumbent=None,
        )
        weights = train(lesson, checkpoint=kept.with_suffix(".checkpoint"))
        write_whole(kept, weights_to_bytes(weights))
    return kept.read_bytes()


def _bare(segmenter: OnnxSegmenter, image: Image) -> NDArray[np.uint8]:
    """A mask, and nothing about its doubt."""
    return mask_from_logits(segmenter.logits(image), image.shape[0], image.shape[1])


def _seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()  # of this one-threaded process alone, whatever else runs
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
