"""The model slot, EDGE-11: swaps between frames, canary frames, and the way back."""

import threading
from pathlib import Path

import numpy as np
import pytest

from edge.errands import Errand
from edge.models.model_slot import ModelSlot
from lifelong.errors import ModelLoadError, ModelOutputError
from lifelong.links.journal import Journal
from lifelong.model_bundle import ModelBundle
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import Prediction
from lifelong.segmenter import OnnxSegmenter
from tests.builders import a_frame, a_prediction
from tests.edge_fixtures import (
    FlakyStorage,
    HandClock,
    events,
    release,
    street_bundle,
    unsigned_updates,
)
from tests.tiny_bundle import tiny_weights


class FakeSegmenter:
    """Answers with its version; can be told to fail from the n-th answer on."""

    def __init__(self, bundle: ModelBundle, fails_from: int | None) -> None:
        self.version_id = bundle.version_id
        self.answers = 0
        self.fails_from = fails_from

    def segment(self, _image: np.ndarray) -> Prediction:
        if self.fails_from is not None and self.answers >= self.fails_from:
            raise ModelOutputError(f"version {self.version_id}: logits hold NaN")
        self.answers += 1
        return a_prediction(version_id=self.version_id)


class Yard:
    """A slot over a storage that fails on demand, with models that fail on demand."""

    def __init__(self, folder: Path, **changes) -> None:
        self.folder = folder
        self.storage = FlakyStorage()
        self.clock, self.timer = HandClock(), HandClock()
        self.fails_from: dict[str, int] = {}  # version -> number of answers before it fails
        self.loaded: list[FakeSegmenter] = []
        self.changes = changes
        self.slot = self.new_slot()

    def new_slot(self) -> ModelSlot:
        journal = Journal(self.folder / "journal", "edge-1")
        updates = unsigned_updates(self.storage, self.folder / "models", journal)
        settings = {
            "poll_seconds": 2.0,
            "clock": self.clock,
            "timer": self.timer,
            **self.changes,
        }
        return ModelSlot(updates, self.load, journal, Errand("updates", inline=True), **settings)

    def load(self, bundle: ModelBundle) -> FakeSegmenter:
        segmenter = FakeSegmenter(bundle, self.fails_from.get(bundle.version_id))
        self.loaded.append(segmenter)
        return segmenter

    def refresh(self) -> None:
        self.clock.advance(2.0)
        self.slot.refresh()

    def see(self, count: int = 1) -> list[str]:
        """Which model answered each of so many frames, with a refresh after every frame."""
        answered: list[str] = []
        for seed in range(count):
            answered.append(self.slot.segment(a_frame(seed)).version_id)
            self.slot.refresh()
        return answered

    def events(self, name: str) -> list[dict]:
        return events(self.folder / "journal", name)


OLD, NEW = street_bundle(0), street_bundle(1)


@pytest.fixture
def yard(tmp_path) -> Yard:
    yard = Yard(tmp_path)
    release(yard.storage, OLD)
    yard.refresh()
    return yard


def test_the_first_release_is_taken_and_warmed_up_before_any_frame(yard):
    assert yard.slot.version_id == OLD.version_id
    assert yard.loaded[0].answers == 2
    (swapped,) = yard.events("model.swapped")
    assert (swapped["from"], swapped["to"]) == (None, OLD.version_id)


def test_edge_11_every_frame_is_answered_across_a_swap(yard):
    answered = yard.see(10)
    release(yard.storage, NEW, 2)
    yard.clock.advance(2.0)
    answered += yard.see(10)
    assert answered == [OLD.version_id] * 11 + [NEW.version_id] * 9
    assert yard.slot.swaps == 2


def test_the_pointer_is_looked_at_only_every_poll_interval(yard):
    yard.storage.calls.clear()
    for _ in range(100):
        yard.clock.advance(0.1)
        yard.slot.refresh()
    assert yard.storage.calls.count(("get", "releases/current.json")) == 5


def test_edge_11_a_canary_answers_beside_the_old_model_before_the_swap(tmp_path):
    yard = Yard(tmp_path, canary_frames=3)
    release(yard.storage, OLD)
    yard.refresh()
    release(yard.storage, NEW, 2)
    yard.refresh()
    assert yard.slot.version_id == OLD.version_id
    assert yard.see(5) == [OLD.version_id] * 3 + [NEW.version_id] * 2
    assert yard.loaded[1].answers == 2 + 3 + 2


def test_edge_11_a_canary_that_fails_is_refused_and_no_frame_is_lost(tmp_path):
    yard = Yard(tmp_path, canary_frames=3)
    release(yard.storage, OLD)
    yard.refresh()
    yard.fails_from[NEW.version_id] = 2 + 1
    release(yard.storage, NEW, 2)
    yard.refresh()
    assert yard.see(6) == [OLD.version_id] * 6
    (refused,) = yard.events("model.refused")
    assert refused["version_id"] == NEW.version_id
    yard.refresh()
    assert len(yard.loaded) == 2  # it is not fetched again


def test_a_model_that_fails_its_warm_up_never_runs(yard):
    yard.fails_from[NEW.version_id] = 1
    release(yard.storage, NEW, 2)
    yard.refresh()
    assert yard.see(2) == [OLD.version_id] * 2
    assert [event["version_id"] for event in yard.events("model.refused")] == [NEW.version_id]
    assert yard.slot.swaps == 1


def test_edge_11_the_old_model_takes_over_when_the_new_one_fails_in_service(yard):
    yard.fails_from[NEW.version_id] = 2 + 3
    release(yard.storage, NEW, 2)
    yard.refresh()
    assert yard.see(6) == [NEW.version_id] * 3 + [OLD.version_id] * 3
    assert [(e["from"], e["to"]) for e in yard.events("model.swapped")][-1] == (
        NEW.version_id,
        OLD.version_id,
    )
    yard.refresh()
    assert yard.slot.version_id == OLD.version_id
    assert yard.new_slot().version_id is None
    restarted = yard.new_slot()
    restarted.start()
    assert restarted.version_id == OLD.version_id


def test_the_old_model_takes_over_also_when_a_restart_came_in_between(yard):
    release(yard.storage, NEW, 2)
    yard.refresh()
    yard.fails_from[NEW.version_id] = 2 + 1
    yard.slot = yard.new_slot()
    yard.slot.start()
    assert yard.see(3) == [NEW.version_id, OLD.version_id, OLD.version_id]


def test_edge_11_a_proven_model_lets_the_old_one_leave_and_does_not_fall_back(tmp_path):
    yard = Yard(tmp_path, proven_after=4)
    release(yard.storage, OLD)
    yard.refresh()
    yard.fails_from[NEW.version_id] = 2 + 4
    release(yard.storage, NEW, 2)
    yard.refresh()
    assert yard.see(4) == [NEW.version_id] * 4
    with pytest.raises(ModelOutputError):
        yard.slot.segment(a_frame())
    assert yard.slot.version_id == NEW.version_id


def test_a_restart_without_network_runs_the_kept_model(yard):
    yard.storage.is_down = True
    slot = yard.new_slot()
    slot.start()
    assert slot.version_id == OLD.version_id
    slot.refresh()
    assert "refused" in slot.last_error


def test_a_dead_link_is_asked_less_and_less_often_and_then_found_again(yard):
    yard.storage.is_down = True
    yard.storage.calls.clear()
    for _ in range(600):
        yard.clock.advance(1.0)
        yard.slot.refresh()
    assert 8 <= len(yard.storage.calls) <= 60
    yard.storage.is_down = False
    release(yard.storage, NEW, 2)
    yard.clock.advance(61.0)
    yard.slot.refresh()
    assert yard.slot.version_id == NEW.version_id
    assert yard.slot.last_error == ""


def test_a_roll_back_swaps_back(yard):
    release(yard.storage, NEW, 2)
    yard.refresh()
    release(yard.storage, OLD, 3, why="rolled back by operator")
    yard.refresh()
    assert yard.slot.version_id == OLD.version_id


def test_without_a_model_a_frame_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ModelLoadError, match="release one"):
        Yard(tmp_path).slot.segment(a_frame())


def test_a_real_model_that_answers_nan_is_refused_and_the_old_one_stays(tmp_path):
    storage, journal = FlakyStorage(), Journal(tmp_path / "journal", "edge-1")
    slot = ModelSlot(
        unsigned_updates(storage, tmp_path / "models", journal),
        lambda bundle: OnnxSegmenter(bundle, threads=1),
        journal,
        Errand("updates", inline=True),
        poll_seconds=0,
    )
    release(storage, OLD)
    slot.refresh()
    weights, bias = tiny_weights(CITYSCAPES, 5)
    release(storage, street_bundle(weights=(weights * np.nan, bias)), 2)
    slot.refresh()
    assert slot.version_id == OLD.version_id
    assert len(events(tmp_path / "journal", "model.refused")) == 1
    assert slot.segment(a_frame()).version_id == OLD.version_id


def test_the_update_beside_the_frames_does_not_hold_one_up(tmp_path):
    gate = threading.Event()
    yard = Yard(tmp_path)
    release(yard.storage, OLD)
    yard.refresh()

    def slow_load(bundle: ModelBundle) -> FakeSegmenter:
        assert gate.wait(60)
        return FakeSegmenter(bundle, None)

    yard.slot._load = slow_load
    errand = yard.slot._errand = Errand("updates")
    release(yard.storage, NEW, 2)
    yard.clock.advance(2.0)
    assert yard.see(50) == [OLD.version_id] * 50
    gate.set()
    assert errand.wait(60)
    yard.slot.refresh()
    assert yard.see(1) == [NEW.version_id]
