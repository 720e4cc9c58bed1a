"""UX-08: candidates answer behind the pages, within bounds, and say why when they cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.monitor.candidate_answers import CandidateAnswers, OnnxCandidate
from cloud.monitor.look import Look
from cloud.monitor.sample_pictures import SamplePictures
from cloud.monitor.sample_records import SampleRecords, samples_of
from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import VersionId
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import LabelMap
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, an_image
from tests.large_loop import live_long
from tests.tiny_bundle import tiny_bundle
from tests.web_parts import a_watch

OLD, NEW = VersionId("a" * 16), VersionId("b" * 16)


class Ones:
    """Answers class 1 everywhere."""

    def __init__(self, label_map: LabelMap = SMALL_MAP) -> None:
        self.label_map = label_map

    def answer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ones(image.shape[:2], dtype=np.uint8)


class Room:
    """Answers that nobody computes until the test says so."""

    def __init__(self, folder: Path) -> None:
        self.storage: Storage = open_storage("memory://")
        live_long(self.storage, rounds=2, samples=4, edges=1, pictures=2)
        self.look: Look = a_watch(self.storage, folder).refresh()
        self.pictures = SamplePictures(self.storage, SMALL_MAP, lambda: self.look)
        self.samples: tuple[SampleRecords, ...] = samples_of(self.look.rounds[0])
        self.asked: list[VersionId] = []
        self.now = 0.0
        self.started = 0

    def answers(self, model: Callable[[VersionId], Ones], **bounds: int) -> CandidateAnswers:
        def loaded(version: VersionId) -> Ones:
            self.asked.append(version)
            return model(version)

        def start(_: Callable[[], None]) -> None:
            self.started += 1

        return CandidateAnswers(
            self.pictures, loaded, clock=lambda: self.now, start=start, **bounds
        )


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_ux_08_asking_never_computes_and_the_answer_comes_with_shares(room: Room) -> None:
    answers = room.answers(lambda _: Ones())
    sample = room.samples[0]
    assert answers.ask(NEW, sample).standing == "waiting"
    assert room.asked == []
    assert answers.work()
    found = answers.ask(NEW, sample)
    assert found.standing == "ready"
    assert (found.mask == 1).all()
    assert found.shares is not None
    assert set(found.shares) == {"people", "learned", "errors"}
    for shares in found.shares.values():
        assert sum(shares.values()) == pytest.approx(1.0)
    truth = room.pictures.masks(sample, frozenset({"before", "corrected"}))
    mended = (truth["corrected"] == 1) & (truth["before"] != 1)
    assert found.shares["errors"]["mended"] == pytest.approx(mended.mean())
    assert not answers.work()
    assert room.started == 1


def test_ux_08_the_last_wish_comes_first_and_old_wishes_fall_out(room: Room) -> None:
    answers = room.answers(lambda _: Ones(), most_waiting=2)
    for sample in room.samples:
        answers.ask(NEW, sample)
    answers.work()
    assert answers.ask(NEW, room.samples[3]).standing == "ready"
    answers.work()
    assert not answers.work(), "two of four were kept"
    assert answers.ask(NEW, room.samples[2]).standing == "ready"
    assert answers.ask(NEW, room.samples[0]).standing == "waiting"


def test_ux_08_one_model_is_loaded_and_answers_are_kept_within_bounds(room: Room) -> None:
    answers = room.answers(lambda _: Ones(), most_bytes=1)
    for version in (NEW, NEW, OLD):
        answers.ask(version, room.samples[0])
        answers.ask(version, room.samples[1])
        while answers.work():
            pass
    assert room.asked == [NEW, OLD]
    assert answers.ask(OLD, room.samples[0]).standing == "waiting", "not one fits in a byte"


def test_ux_08_what_is_gone_says_so_and_is_tried_again_later(room: Room) -> None:
    def gone(version: VersionId) -> Ones:
        raise ObjectNotFoundError(f"models/{version}.bundle")

    answers = room.answers(gone)
    answers.ask(NEW, room.samples[0])
    answers.work()
    found = answers.ask(NEW, room.samples[0])
    assert found.standing == "failed"
    assert "no longer in storage" in found.why
    assert not answers.work(), "a failure is remembered"
    room.now = 31.0
    assert answers.ask(NEW, room.samples[0]).standing == "waiting"


def test_ux_08_an_answer_with_foreign_classes_is_refused_and_never_painted(room: Room) -> None:
    strange = LabelMap(("asphalt", "lorry"), ((1, 2, 3), (4, 5, 6)))
    answers = room.answers(lambda _: Ones(strange))
    answers.ask(NEW, room.samples[0])
    answers.work()
    found = answers.ask(NEW, room.samples[0])
    assert (found.standing, found.png) == ("failed", b"")


def test_ux_08_a_bundle_of_storage_answers_as_the_edge_does(room: Room) -> None:
    bundle = tiny_bundle()
    room.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    candidate = OnnxCandidate(room.storage, bundle.version_id)
    image = an_image(3)
    expected = OnnxSegmenter(bundle, threads=1).segment(image).mask
    assert np.array_equal(candidate.answer(image), expected)
    room.storage.put(bundle_key(NEW), bundle.to_bytes())
    with pytest.raises(RecordError, match="holds version"):
        OnnxCandidate(room.storage, NEW)
