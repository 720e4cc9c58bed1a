"""LLL-07 and LLL-13: real bundles sit the real examination; every adversary is refused by name.

The models are 1x1 convolutions. A class's channel is brighter than the others, clearly by day and
faintly in fog; day is bright and fog is dark. Light flickers from pixel to pixel.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.releasing.releases import Releases
from cloud.sedna_eval import examine
from lifelong.config import Config, GateSection
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import RoundNumber, sample_id_of, sha256_hex
from lifelong.records.keys import bundle_key, image_key
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import Examination, ModelVersion
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, png_from_mask
from lifelong.records.samples import Sample, Split
from tests.builders import SMALL_MAP, a_mask, a_sample
from tests.tiny_bundle import tiny_bundle

PICTURES = 14
TASKS = {"day": (150.0, 60.0), "fog": (60.0, 14.0)}  # brightness, how much a class stands out
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def a_picture(task: str, seed: int) -> tuple[bytes, NDArray[np.uint8]]:
    """JPEG of 48 x 64 pixels and its mask."""
    random = np.random.default_rng([seed, len(task), ord(task[0])])
    mask = a_mask(seed + 1000 * ord(task[0]))
    base, apart = TASKS[task]
    image = np.full((48, 64, 3), base) + apart * np.eye(3)[mask]
    image += random.normal(0, 12, (48, 64, 1)) + random.normal(0, 9, (48, 64, 3))
    return jpeg_from_image(np.clip(image, 0, 255).astype(np.uint8)), mask


def a_model(
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
    label_map: LabelMap = SMALL_MAP,
    seed: int = 1,
) -> ModelBundle:
    """A bundle of logits = weights · levels + bias, levels 0 .. 255; of round 1 or 0."""
    scaled = weights * STD * 255.0
    shifted = bias + (weights * MEAN * 255.0).sum(axis=1)
    kernel = scaled.astype(np.float32)[:, :, None, None]
    return tiny_bundle(label_map, height=48, width=64, weights=(kernel, shifted.astype(np.float32)))


SHARP, NONE = np.eye(3), np.zeros(3)
BIASED = np.array([9.0, 0.0, 0.0])  # road wins where classes are faint
PERMUTED = LabelMap(SMALL_MAP.names[::-1], SMALL_MAP.colours[::-1])
WIDER = LabelMap((*SMALL_MAP.names, "unsure"), (*SMALL_MAP.colours, (1, 2, 3)))


def _by_flicker() -> ModelBundle:
    """Answers hang on the flicker of the light alone, which is the same for all channels."""
    slopes = np.array([-1.0, 0.0, 1.0])
    middle = 3 * 105.0
    return a_model(np.outer(slopes, np.ones(3)), -slopes * middle + np.array([-6.0, 0.0, -6.0]))


ADVERSARIES = {
    "a class erased": (a_model(SHARP, np.array([0, 0, -500.0])), "person 100.0 -> 0.0"),
    "day forgotten": (
        a_model(SHARP + 0.5 * np.eye(3)[:, :1], np.array([-150.0, 0, 0])),
        "day: forgot",
    ),
    "not a number": (a_model(SHARP * np.nan, NONE), "NaN"),
    "random": (_by_flicker(), "forgot"),
    "classes in another order": (a_model(SHARP[::-1], NONE, PERMUTED), "another order"),
    "names right, answers permuted": (
        a_model(np.roll(SHARP, 1, axis=0), NONE),
        "class names are exchanged",
    ),
    "one answer for all": (a_model(SHARP, np.array([900.0, 0, 0])), "answers 'road' nearly every"),
    "abstains by a class of its own": (
        a_model(np.vstack([SHARP, [0, 0, 0]]), np.array([0, 0, 0, 120.0]), WIDER),
        "other classes (unsure)",
    ),
    "the incumbent again": (a_model(SHARP, BIASED + 1.0), "no gain"),
}


class Room:
    """Storage with a deployed model that knows day, and a hold-out of day and fog."""

    def __init__(self, folder: Path, gate: GateSection, pictures: int = PICTURES) -> None:
        for task in TASKS:
            place = folder / "holdouts" / task / "eval"
            (place / "images").mkdir(parents=True)
            (place / "train_ids").mkdir()
            for seed in range(pictures):
                image, mask = a_picture(task, seed)
                (place / "images" / f"{seed:02d}.jpg").write_bytes(image)
                (place / "train_ids" / f"{seed:02d}.png").write_bytes(png_from_mask(mask))
        classes = [
            {"name": name, "colour": list(colour)}
            for name, colour in zip(SMALL_MAP.names, SMALL_MAP.colours, strict=True)
        ]
        (folder / "classes.json").write_text(json.dumps({"classes": classes}))
        self.config = Config(
            holdouts=folder / "holdouts", gate=gate, label_map=folder / "classes.json"
        )
        self.storage: Storage = open_storage("memory://")
        self.journal = Journal(folder / "journal", "test")
        self.kb = KnowledgeBase(self.storage)
        incumbent = a_model(SHARP, BIASED)
        self.know(incumbent, 0, [self.sample("day", 500)])
        Releases(self.storage, self.journal, utc_now).publish(
            incumbent.version_id, RoundNumber(0), "first model"
        )

    def sample(self, task: str, seed: int, image: bytes | None = None) -> Sample:
        picture, mask = a_picture(task, seed)
        data = image or picture
        sample_id, labels = sample_id_of(data), png_from_mask(mask)
        self.storage.put(image_key(sample_id), data)
        self.storage.put(f"masks/{sample_id}/1.png", labels)
        sample = a_sample(
            sample_id=sample_id,
            image_key=image_key(sample_id),
            image_sha256=sha256_hex(data),
            mask_key=f"masks/{sample_id}/1.png",
            mask_sha256=sha256_hex(labels),
            learning_task=task,
            split=Split.TRAIN,
        )
        self.kb.add([sample], why="test")
        return sample

    def know(self, bundle: ModelBundle, number: int, trained_on: list[Sample]) -> None:
        data = bundle.to_bytes()
        self.storage.put(bundle_key(bundle.version_id), data)
        version = ModelVersion(
            version_id=bundle.version_id,
            parent=None,
            round_number=RoundNumber(number),
            bundle_key=bundle_key(bundle.version_id),
            sha256=sha256_hex(data),
            label_map_digest=bundle.manifest.label_map.digest,
            network="tiny",
            strategy="",
            weights_sha256=bundle.manifest.weights_sha256,
            trained_on=tuple(sample.sample_id for sample in trained_on),
        )
        self.kb.add([version], why="test")

    def judge(self, candidate: ModelBundle, trained_on: list[Sample] | None = None) -> Examination:
        learned = [self.sample("day", 501), self.sample("fog", 502)]
        self.know(candidate, 1, trained_on if trained_on is not None else learned)
        return examine(candidate, self.config, self.storage, self.journal)


HONEST = a_model(SHARP, NONE)


def test_lll07_the_honest_candidate_is_accepted_with_intervals(tmp_path: Path) -> None:
    """LLL-07: and what it gained is told with its interval."""
    examination = Room(tmp_path, GateSection()).judge(HONEST)
    assert examination.decision.accepted, examination.decision.reasons
    notes = "\n".join(examination.decision.notes)
    assert "with 95 % confidence) on 14 images" in notes
    assert "mean over 2 learning tasks: +" in notes
    assert examination.candidate.tasks["fog"].miou > examination.incumbent.tasks["fog"].miou + 0.05  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ADVERSARIES)
def test_lll07_every_adversary_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """LLL-07: as a bundle, by ONNX Runtime, against the deployed model; the fault is told."""
    bundle, said = ADVERSARIES[name]
    decision = Room(tmp_path, GateSection()).judge(bundle).decision
    assert not decision.accepted, decision.notes
    assert any(said in reason for reason in decision.reasons), decision.reasons


def test_lll07_a_protected_class_erased_on_few_pictures_is_refused(tmp_path: Path) -> None:
    """LLL-07: three pictures prove little, and still no model passes that lost a class."""
    rules = GateSection(protected_classes=("person",), max_forgetting=1.0, min_gain=-1.0)
    bundle, _ = ADVERSARIES["a class erased"]
    decision = Room(tmp_path, rules, pictures=3).judge(bundle).decision
    assert any("a protected class drops" in reason for reason in decision.reasons)


def test_lll07_a_small_hold_out_lets_an_honest_candidate_pass(tmp_path: Path) -> None:
    """LLL-07: with three pictures, too."""
    assert Room(tmp_path, GateSection(), pictures=3).judge(HONEST).decision.accepted


def test_lll07_without_a_hold_out_nothing_is_accepted(tmp_path: Path) -> None:
    """LLL-07: neither without any, nor without that of a condition known before."""
    room = Room(tmp_path, GateSection())
    room.config = room.config.model_copy(update={"holdouts": None})
    assert room.judge(HONEST).decision.reasons == ("there is no hold-out to examine it on",)
    other = Room(tmp_path / "other", GateSection())
    for file in (tmp_path / "other/holdouts/day/eval").rglob("*.*"):
        file.unlink()
    for folder in ("day/eval/images", "day/eval/train_ids", "day/eval", "day"):
        (tmp_path / "other/holdouts" / folder).rmdir()
    reasons = other.judge(HONEST).decision.reasons
    assert any("day: known before, but the candidate was not examined" in r for r in reasons)


@pytest.mark.parametrize("how", ["itself", "mirrored and encoded again"])
def test_lll13_a_candidate_that_trained_on_its_hold_out_is_refused(
    how: str, tmp_path: Path
) -> None:
    """LLL-13: the best of models, and the pairs are named."""
    room = Room(tmp_path, GateSection())
    image, _ = a_picture("fog", 3)
    if how != "itself":
        turned = np.ascontiguousarray(image_from_bytes(image, "test")[:, ::-1])
        image = jpeg_from_image(turned, quality=80)
    leaking = room.sample("fog", 3, image)
    decision = room.judge(HONEST, [room.sample("day", 501), leaking]).decision
    assert not decision.accepted
    assert decision.reasons[0].startswith("leakage: 1 of the pictures it was trained on")
    assert leaking.sample_id in decision.reasons[0]
    assert "fog/03.jpg" in decision.reasons[0]


@pytest.mark.parametrize(("task", "leaks"), [("rain", True), ("day", False)])
def test_lll13_replayed_pictures_and_samples_that_examine_count(
    task: str, leaks: bool, tmp_path: Path
) -> None:
    """LLL-13: a held-back sample of `day` examines nobody, since a folder does; rain has none."""
    room = Room(tmp_path, GateSection())
    twin = room.sample("day", 777)
    held = replace(twin, sample_id=sample_id_of(b"x"), split=Split.EVAL, learning_task=task)
    room.kb.add([held], why="test")
    room.know(HONEST, 1, [room.sample("day", 501), room.sample("fog", 502)])
    replaying = a_model(SHARP, NONE - 1)
    room.storage.put(bundle_key(replaying.version_id), replaying.to_bytes())
    known = room.kb.versions[HONEST.version_id]
    version = replace(known, version_id=replaying.version_id, replayed=(twin.sample_id,))
    room.kb.add([version], why="test")
    decision = examine(replaying, room.config, room.storage, room.journal).decision
    assert any(r.startswith("leakage: 1 of") for r in decision.reasons) is leaks, decision


def test_an_unexamined_candidate_is_recorded_and_repeating_answers_the_same(tmp_path: Path) -> None:
    room = Room(tmp_path, GateSection())
    bundle, _ = ADVERSARIES["not a number"]
    first = room.judge(bundle)
    assert examine(bundle, room.config, room.storage, room.journal) == first
