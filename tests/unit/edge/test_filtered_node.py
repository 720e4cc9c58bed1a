"""EDGE-10, EDGE-13: a whole node filters what it keeps, leaves answers, and may ask the cloud."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.assembly import build_node
from edge.node import EdgeNode
from edge.stop import Stop
from lifelong.errors import ConfigError
from lifelong.links.storage import Storage
from lifelong.records.escalations import Answer, Question
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import image_from_bytes, mask_from_png, png_from_mask
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json
from tests.builders import HEIGHT, WIDTH, a_frame, a_jpeg
from tests.edge_fixtures import (
    FlakyStorage,
    edge_config,
    events,
    make_old,
    release,
    street_bundle,
    with_exif,
    write_frames,
)

ROAD, PERSON = CITYSCAPES.id_of("road"), CITYSCAPES.id_of("person")


def sees_only(class_id: int, *, second: int = ROAD, lead: float = 4.0):
    """A model that answers one class everywhere, and gives another the second best score."""
    weights = np.zeros((len(CITYSCAPES), 3, 1, 1), np.float32)
    bias = np.full(len(CITYSCAPES), -20, np.float32)
    bias[second], bias[class_id] = 0, lead
    return street_bundle(weights=(weights, bias))


def node(folder: Path, storage: Storage, bundle=None, **edge) -> EdgeNode:
    if bundle is not None:
        release(storage, bundle)
    return build_node(edge_config(folder, **edge), Stop(), storage=storage, inline=True)


def arrived(storage: Storage) -> list[HardExample]:
    return [
        from_json(HardExample, storage.get(key), key)
        for key in storage.keys("inbox")
        if key.endswith("example.json")
    ]


def test_edge_10_nothing_of_a_blurred_class_and_no_metadata_reaches_storage(tmp_path):
    path = tmp_path / "frames/gate/0001.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(with_exif(a_jpeg(1), orientation=1))
    make_old(path)
    storage = FlakyStorage()
    privacy = {"blur": ["person"], "attributes": ["site"]}
    site = {"site": "north", "gps": "48.1,11.5"}
    node(tmp_path, storage, sees_only(PERSON), privacy=privacy, attributes=site).run()
    (example,) = arrived(storage)
    data = storage.get(example.image_key, sha256=example.image_sha256)
    picture = image_from_bytes(data, "stored").astype(float)
    seen = image_from_bytes(path.read_bytes(), "camera").astype(float)
    assert np.unique(seen.reshape(-1, 3), axis=0).shape[0] > 10
    # Four spots along 64 pixels of width, three along 48 of height; JPEG adds a little.
    assert np.abs(picture - seen).mean() > 10
    spots = picture.reshape(3, HEIGHT // 3, 4, WIDTH // 4, 3)[:, 6:10, :, 6:10]
    assert spots.std(axis=(1, 3)).max() < 4
    assert b"Exif" not in data
    assert example.attributes == {"site": "north"}
    mask = mask_from_png(storage.get(example.mask_key), "mask")
    assert (mask == PERSON).all()
    assert not (tmp_path / "outbox").exists() or not list((tmp_path / "outbox").rglob("*.jpg"))


def test_edge_10_the_running_model_tells_how_likely_a_watched_class_is(tmp_path):
    storage = FlakyStorage()
    nearly = sees_only(ROAD, second=PERSON, lead=1.0)  # person: 27 %
    built = node(tmp_path, storage, nearly, privacy={"blur": ["person"]})
    built.run()
    prediction = built.slot.segment(a_frame())
    assert set(prediction.watched) == {PERSON}
    assert prediction.watched[PERSON] == pytest.approx(0.269, abs=0.01)
    assert (prediction.mask == ROAD).all()


@pytest.mark.parametrize("probability", [0.2, 0.3])
def test_edge_10_a_likely_person_is_withheld(tmp_path, probability):
    write_frames(tmp_path, 2)
    storage = FlakyStorage()
    privacy = {"drop": ["person"], "from_probability": probability}
    node(tmp_path, storage, sees_only(ROAD, second=PERSON, lead=1.0), privacy=privacy).run()
    withheld = events(tmp_path / "state/journal", "frame.withheld")
    assert len(withheld) == (2 if probability == 0.2 else 0)
    assert len(arrived(storage)) == 2 - len(withheld)


def test_answers_of_a_node_are_those_that_see_returns(tmp_path):
    write_frames(tmp_path, 3)
    storage = FlakyStorage()
    built = node(
        tmp_path,
        storage,
        street_bundle(),
        answers={"path": tmp_path / "answers", "kept": 2},
        hard_examples={"policy": "edge_only"},
    )
    built.run()
    latest = json.loads((tmp_path / "answers/latest.json").read_text())
    assert (latest["sequence"], latest["by"]) == (2, "edge")
    assert latest["version"] == street_bundle().version_id
    shown = mask_from_png((tmp_path / "answers/latest.png").read_bytes(), "latest")
    # The folder is read by names: day/0000, day/0002, night/0001.
    frame = a_frame(image=image_from_bytes(a_jpeg(1), "frame"))
    assert np.array_equal(built.see(frame).mask, shown)
    assert len(list((tmp_path / "answers").glob("*.edge.png"))) == 2


class Answering(FlakyStorage):
    """Storage with a cloud behind it that answers every question at once: all road."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        if not key.endswith("/question.json"):
            return
        question = from_json(Question, data, key)
        folder = key.rpartition("/")[0]
        png = png_from_mask(np.full((question.height, question.width), ROAD, np.uint8))
        answer = Answer(
            question_id=question.question_id,
            image_sha256=question.image_sha256,
            verdict="answered",
            mask_sha256=sha256_hex(png),
            height=question.height,
            width=question.width,
            label_map_digest=CITYSCAPES.digest,
            drafted_by="sam+segformer",
        )
        super().put(f"{folder}/answer.png", png)
        super().put(f"{folder}/answer.json", to_json(answer))


def test_edge_13_a_node_that_waits_sees_the_clouds_answer(tmp_path):
    write_frames(tmp_path, 2)
    storage = Answering()
    built = node(
        tmp_path,
        storage,
        street_bundle(),
        escalation={"enabled": True, "wait": True, "deadline_seconds": 60},
        answers={"path": tmp_path / "answers"},
    )
    built.run()
    latest = json.loads((tmp_path / "answers/latest.json").read_text())
    assert (latest["by"], latest["version"]) == ("cloud", "sam+segformer")
    answer = built.see(a_frame(5))
    assert (answer.mask == ROAD).all()
    assert not (built.slot.segment(a_frame(5)).mask == ROAD).all()
    assert len(arrived(storage)) == 2, "what was asked about still teaches"
    kept = {mask_from_png(storage.get(e.mask_key), "mask").tobytes() for e in arrived(storage)}
    assert all(np.frombuffer(mask, np.uint8).any() for mask in kept), "with the node's own answer"
    assert list(storage.keys("escalations")) == []


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ({"privacy": {"blur": ["persn"]}}, r"edge\.privacy\.blur: no class 'persn'"),
        ({"privacy": {"drop": ["x", "y"]}}, r"edge\.privacy\.drop: no class 'x', 'y'"),
        (
            {"escalation": {"enabled": True}, "hard_examples": {"policy": "edge_only"}},
            r"edge\.escalation\.enabled: .*edge_only",
        ),
    ],
)
def test_edge_10_edge_13_a_setting_that_cannot_be_meant_is_told_at_the_start(
    tmp_path, edge, message
):
    with pytest.raises(ConfigError, match=message):
        node(tmp_path, FlakyStorage(), **edge)
