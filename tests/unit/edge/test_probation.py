"""Canary and probation, EDGE-11: what is not fit goes, by itself, and no frame is lost over it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.errands import Errand
from edge.models.model_slot import BESIDE_EVERY, IDLE_S, ModelSlot
from edge.models.probation import Comparison, Guards
from lifelong.errors import ModelOutputError
from lifelong.links.journal import Journal
from lifelong.model_bundle import ModelBundle
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import Prediction
from lifelong.segmenter import OnnxSegmenter
from tests.builders import a_frame, a_mask, a_prediction
from tests.edge_fixtures import (
    FlakyStorage,
    HandClock,
    events,
    release,
    street_bundle,
    unsigned_updates,
)
from tests.tiny_bundle import tiny_weights

OLD, NEW, THIRD = street_bundle(0), street_bundle(1), street_bundle(2)


class Killed(BaseException):
    """The process ends here, as by a signal: nothing of ours may catch it."""


class Behaviour:
    """How a fake model answers; times pass on the hand-wound timer."""

    def __init__(self, seconds: float = 0.01, confidence: float = 0.9, **more) -> None:
        self.seconds = seconds
        self.confidence = confidence
        self.mask: np.ndarray = more.get("mask", a_mask())
        self.raises: BaseException | None = more.get("raises")
        self.from_answer: int = more.get("from_answer", 0)  # all this begins with that answer


class Fake:
    def __init__(self, bundle: ModelBundle, how: Behaviour, timer: HandClock) -> None:
        self.version_id = bundle.version_id
        self.how = how
        self.timer = timer
        self.answers = 0

    def segment(self, _image: np.ndarray) -> Prediction:
        self.answers += 1
        how = self.how if self.answers > self.how.from_answer else Behaviour()
        self.timer.advance(how.seconds)
        if how.raises is not None:
            raise how.raises
        return a_prediction(how.confidence, mask=how.mask, version_id=self.version_id)


class Yard:
    """A node's slot that runs OLD; `killed()` starts it anew as after a power cut."""

    def __init__(self, folder: Path, **changes) -> None:
        self.folder = folder
        self.storage = FlakyStorage()
        self.clock, self.timer = HandClock(), HandClock()
        self.how: dict[str, Behaviour] = {}
        self.changes = changes
        self.slot = self.killed()
        release(self.storage, OLD)
        self.refresh()

    def killed(self) -> ModelSlot:
        journal = Journal(self.folder / "journal", "edge-1")
        updates = unsigned_updates(self.storage, self.folder / "models", journal)
        self.slot = ModelSlot(
            updates,
            lambda bundle: Fake(bundle, self.how.get(bundle.version_id, Behaviour()), self.timer),
            journal,
            Errand("updates", inline=True),
            clock=self.clock,
            timer=self.timer,
            **self.changes,
        )
        self.slot.start()
        return self.slot

    def refresh(self) -> None:
        self.clock.advance(2.0)
        self.slot.refresh()

    def see(self, count: int) -> list[str]:
        answered: list[str] = []
        for seed in range(count):
            answered.append(self.slot.segment(a_frame(seed)).version_id)
            self.refresh()
        return answered

    def events(self, name: str) -> list[dict]:
        return events(self.folder / "journal", name)


SLOW = Behaviour(seconds=0.04)
UNSURE = Behaviour(confidence=0.3)
BLIND = Behaviour(mask=np.zeros_like(a_mask()))
BROKEN = Behaviour(raises=ModelOutputError("logits hold NaN"))
WORSE = [
    (SLOW, "median time 40.0 ms, 10.0 ms"),
    (UNSURE, "mean confidence 0.30, 0.90"),
    (BLIND, "sees class 0 everywhere"),
    (BROKEN, "NaN"),
    (Behaviour(raises=MemoryError("no memory")), "no memory"),
]


def later(how: Behaviour, answers: int) -> Behaviour:
    """The same after so many good answers; the warm-up takes two."""
    changed = Behaviour(how.seconds, how.confidence, mask=how.mask, raises=how.raises)
    changed.from_answer = answers + 2
    return changed


@pytest.mark.parametrize(("how", "reason"), WORSE)
def test_edge_11_a_canary_that_is_not_fit_never_takes_over(tmp_path, how, reason):
    yard = Yard(tmp_path, canary_frames=10)
    yard.how[NEW.version_id] = later(how, 0)
    release(yard.storage, NEW, 2)
    assert yard.see(30) == [OLD.version_id] * 30
    (refused,) = yard.events("model.refused")
    assert reason in refused["reason"]
    assert (yard.slot.swaps, yard.slot.fallbacks, yard.slot.on_probation) == (1, 0, False)
    assert yard.slot.refused_version == NEW.version_id
    assert reason in yard.slot.refused_reason


@pytest.mark.parametrize(("how", "reason"), WORSE)
def test_edge_11_a_model_that_turns_bad_on_probation_goes_and_every_frame_is_answered(
    tmp_path, how, reason
):
    yard = Yard(tmp_path, canary_frames=10, proven_after=1000)
    yard.how[NEW.version_id] = later(how, 30)
    release(yard.storage, NEW, 2)
    answered = yard.see(200)
    assert len(answered) == 200
    back = answered.index(OLD.version_id, answered.index(NEW.version_id))
    # It is found out within as many frames as the window of ten compared ones reaches over.
    assert back <= 11 + 20 + 10 * BESIDE_EVERY + 1
    assert set(answered[back:]) == {OLD.version_id}
    assert (yard.slot.swaps, yard.slot.fallbacks, yard.slot.on_probation) == (3, 1, False)
    (fell,) = yard.events("model.fell_back")
    assert (fell["from"], fell["to"]) == (NEW.version_id, OLD.version_id)
    assert reason[:15] in fell["reason"]  # the window holds good answers, too
    assert yard.killed().version_id == OLD.version_id  # nor does a restart bring it back


def test_edge_11_a_fit_model_is_proven_and_the_old_one_leaves_the_memory(tmp_path):
    yard = Yard(tmp_path, canary_frames=10, proven_after=40)
    release(yard.storage, NEW, 2)
    yard.see(11)
    slot = yard.slot
    assert (slot.version_id, slot.release_number) == (NEW.version_id, 2)
    assert (slot.on_probation, slot.previous.version_id) == (True, OLD.version_id)
    yard.see(40)
    assert (slot.on_probation, slot.previous) == (False, None)
    assert not list((tmp_path / "models").glob("probation.json"))
    assert not list((tmp_path / "models").glob("canary.json"))


def test_the_previous_model_stays_for_who_asks_it_also_after_a_restart(tmp_path):
    yard = Yard(tmp_path, proven_after=5, keep_previous=True)
    release(yard.storage, NEW, 2)
    yard.see(10)
    assert not yard.slot.on_probation
    assert yard.slot.previous.version_id == OLD.version_id
    yard.slot.finish()
    assert yard.killed().previous.version_id == OLD.version_id
    assert not yard.slot.on_probation


def test_a_machine_that_slows_both_down_is_not_blamed_on_the_new_model(tmp_path):
    yard = Yard(tmp_path, canary_frames=10, proven_after=100)
    release(yard.storage, NEW, 2)
    yard.see(15)
    for fake in (yard.slot._running, yard.slot._previous):
        fake.segmenter.how = Behaviour(seconds=0.5)
    yard.see(100)
    assert (yard.slot.version_id, yard.slot.fallbacks) == (NEW.version_id, 0)


def test_a_node_without_frames_compares_on_the_last_one_it_had(tmp_path):
    yard = Yard(tmp_path, canary_frames=10)
    yard.see(1)
    yard.how[NEW.version_id] = later(SLOW, 0)
    release(yard.storage, NEW, 2)
    for _ in range(int(IDLE_S) + 12):
        yard.refresh()
    assert len(yard.events("model.refused")) == 1
    release(yard.storage, THIRD, 3)
    for _ in range(int(IDLE_S) + 12):
        yard.refresh()
    assert yard.slot.version_id == THIRD.version_id


def test_a_node_that_never_had_a_frame_takes_over_and_watches(tmp_path):
    yard = Yard(tmp_path, canary_frames=10)
    release(yard.storage, NEW, 2)
    for _ in range(int(IDLE_S)):
        yard.refresh()
    assert yard.slot.version_id == NEW.version_id
    assert yard.slot.on_probation


def test_edge_11_under_load_every_frame_is_answered_once_whatever_is_released(tmp_path):
    """Real models, a thread that fetches them, good and bad ones one after the other."""
    storage, journal = FlakyStorage(), Journal(tmp_path / "journal", "edge-1")
    errand = Errand("updates")
    slot = ModelSlot(
        unsigned_updates(storage, tmp_path / "models", journal),
        lambda bundle: OnnxSegmenter(bundle, threads=1),
        journal,
        errand,
        poll_seconds=0,
        canary_frames=4,
        proven_after=30,
        guards=Guards(max_slowdown=1e6, min_confidence_share=0.0),
    )
    release(storage, OLD)
    slot.refresh()
    assert errand.wait(120)
    slot.refresh()
    weights, bias = tiny_weights(CITYSCAPES, 9)
    bad = street_bundle(weights=(weights * np.nan, bias))
    good = [street_bundle(seed) for seed in range(3, 8)]
    answered: list[str] = []
    for number, bundle in enumerate([*good, bad, *good[:3]], start=2):
        release(storage, bundle, number)
        for seed in range(60):
            answered.append(slot.segment(a_frame(seed)).version_id)
            slot.refresh()
            if seed == 10:
                assert errand.wait(120)
    assert len(answered) == 9 * 60
    assert slot.swaps >= 8
    assert bad.version_id not in answered
    changes = sum(a != b for a, b in pairwise(answered))
    assert changes == slot.swaps - 1  # a frame is never answered by one model amid another's


# -- a process that dies ------------------------------------------------------------------------


def test_edge_11_a_model_that_kills_the_process_in_service_is_refused_at_a_later_start(tmp_path):
    yard = Yard(tmp_path, canary_frames=3)
    release(yard.storage, NEW, 2)
    yard.see(10)
    starts = []
    for _ in range(4):
        starts.append(yard.killed().version_id)
        yard.see(3)
    # One death is forgiven: a power cut looks the same.
    assert starts == [NEW.version_id, OLD.version_id, OLD.version_id, OLD.version_id]
    (refused,) = yard.events("model.refused")
    assert "ended 2 times" in refused["reason"]
    assert len(yard.events("model.fell_back")) == 1
    assert yard.slot.version_id == OLD.version_id


def test_edge_11_a_model_that_kills_the_process_as_a_canary_is_not_fetched_for_ever(tmp_path):
    yard = Yard(tmp_path, canary_frames=3)
    yard.how[NEW.version_id] = Behaviour(raises=Killed())
    release(yard.storage, NEW, 2)
    deaths = 0
    for _ in range(5):
        try:
            yard.see(10)
        except Killed:
            deaths += 1
            assert yard.killed().version_id == OLD.version_id
    assert deaths == 2
    assert len(yard.events("model.refused")) == 1
    assert yard.slot.fallbacks == 0


def test_an_end_that_was_asked_for_is_no_death(tmp_path):
    yard = Yard(tmp_path)
    release(yard.storage, NEW, 2)
    yard.see(2)
    for _ in range(5):
        yard.slot.finish()
        assert yard.killed().version_id == NEW.version_id
        assert yard.slot.on_probation
    yard.killed()
    assert yard.slot.version_id == NEW.version_id


def test_the_only_model_is_never_refused_for_the_deaths_of_its_process(tmp_path):
    yard = Yard(tmp_path)
    for _ in range(5):
        assert yard.killed().version_id == OLD.version_id
    release(yard.storage, NEW, 2)
    yard.see(1)
    (tmp_path / "models" / f"{OLD.version_id}.bundle").unlink()
    for _ in range(5):
        assert yard.killed().version_id == NEW.version_id


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 100])
def test_a_damaged_mark_costs_the_protection_and_not_the_node(tmp_path, damage):
    yard = Yard(tmp_path)
    release(yard.storage, NEW, 2)
    yard.see(2)
    (tmp_path / "models/probation.json").write_bytes(damage)
    assert yard.killed().version_id == NEW.version_id


# -- the rules alone ----------------------------------------------------------------------------


def compared(frames: int, old: Behaviour, new: Behaviour, **guards) -> list[str]:
    comparison = Comparison(Guards(**guards))
    for _ in range(frames):
        sides = [(a_prediction(b.confidence, mask=b.mask), b.seconds) for b in (old, new)]
        comparison.note(sides[0], sides[1])
    return comparison.reasons()


def test_nothing_is_judged_on_too_few_frames():
    assert compared(9, Behaviour(), UNSURE) == []
    assert len(compared(10, Behaviour(), UNSURE)) == 1


@pytest.mark.parametrize(
    ("old", "new", "fit"),
    [
        (Behaviour(seconds=0.01), Behaviour(seconds=0.03), True),
        (Behaviour(seconds=0.01), Behaviour(seconds=0.031), False),
        (Behaviour(confidence=0.8), Behaviour(confidence=0.41), True),
        (Behaviour(confidence=0.8), Behaviour(confidence=0.39), False),
        (BLIND, BLIND, True),  # the old one sees one class only, too
        (BLIND, Behaviour(), True),
    ],
)
def test_the_guards_are_where_the_configuration_says(old, new, fit):
    assert (compared(10, old, new) == []) is fit
