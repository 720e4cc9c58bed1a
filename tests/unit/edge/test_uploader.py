"""The uploader: TR-01 (once), TR-03 (checksums), TR-04 (back-off), EDGE-09 (priority)."""

import threading
from pathlib import Path

import pytest

from edge.delivery.outbox import Outbox
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.records.ids import sha256_hex
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json
from lifelong.sections.delivery import OutboxSection
from tests.builders import a_frame, a_prediction
from tests.edge_fixtures import FlakyStorage, HandClock, events


class Yard:
    """An outbox, a storage that fails on demand, and an uploader between them."""

    def __init__(self, folder: Path, *, inline: bool = True) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.storage = FlakyStorage()
        self.journal = Journal(folder / "journal", "edge-1")
        self.outbox = Outbox(OutboxSection(path=folder / "outbox"), self.journal)
        self.uploader = self.new_uploader(inline=inline)

    def new_uploader(self, *, inline: bool = True) -> Uploader:
        return Uploader(
            self.outbox,
            self.storage,
            self.journal,
            Errand("uploads", inline=inline),
            clock=self.clock,
            waits=lambda: iter([1.0, 2.0, 4.0, 8.0, 16.0, 32.0] + [60.0] * 1000),
        )

    def put(self, seed: int, score: float = 0.5) -> HardExample:
        verdict = Verdict(is_hard=True, score=score, reasons=("test",), scores={})
        example = self.outbox.put(a_frame(seed), a_prediction(), verdict)
        assert example is not None
        return example

    def arrived(self) -> list[HardExample]:
        """What a reader of the inbox finds, every checksum verified."""
        found = []
        for key in self.storage.keys("inbox/edge-1"):
            if key.endswith("example.json"):
                example = from_json(HardExample, self.storage.get(key), key)
                self.storage.get(example.image_key, sha256=example.image_sha256)
                self.storage.get(example.mask_key, sha256=example.mask_sha256)
                found.append(example)
        return found


@pytest.fixture
def yard(tmp_path) -> Yard:
    return Yard(tmp_path)


def test_the_record_goes_last_and_the_local_copy_after_it(yard):
    example = yard.put(1)
    yard.uploader.drain()
    puts = [key for what, key in yard.storage.calls if what == "put"]
    assert puts == [
        f"inbox/edge-1/{example.sample_id}/{name}"
        for name in ("image.jpg", "mask.png", "example.json")
    ]
    assert yard.arrived() == [example]
    assert len(yard.outbox) == 0
    assert list((yard.folder / "outbox").iterdir()) == []
    (event,) = events(yard.folder / "journal", "hard_example.uploaded")
    assert event["sample_id"] == example.sample_id


def test_edge_09_the_hardest_is_delivered_first(yard):
    for seed, score in ((1, 0.1), (2, 0.9), (3, 0.5)):
        yard.put(seed, score)
    yard.uploader.drain()
    uploaded = events(yard.folder / "journal", "hard_example.uploaded")
    assert [event["score"] for event in uploaded] == [0.9, 0.5, 0.1]


@pytest.mark.parametrize("name", ["image.jpg", "mask.png", "example.json"])
def test_tr_03_one_flipped_byte_in_storage_keeps_the_local_copy_and_is_retried(yard, name):
    example = yard.put(1)
    flips = iter([True])
    yard.storage.flip_next = lambda key: key.endswith(name) and next(flips, False)
    yard.uploader.drain()
    assert yard.outbox.waiting() == [example]
    assert yard.uploader.last_error
    yard.clock.advance(1.1)
    yard.uploader.drain()
    assert yard.arrived() == [example]
    assert len(yard.outbox) == 0
    assert yard.uploader.last_error == ""


def test_a_sample_that_storage_keeps_spoiling_does_not_hold_up_the_others(yard):
    spoiled = yard.put(1, 0.9)
    other = yard.put(2, 0.1)
    yard.storage.flip_next = lambda key: key == spoiled.image_key
    yard.uploader.drain()
    assert yard.outbox.waiting() == [spoiled]
    assert yard.arrived() == [other]


def test_tr_04_a_dead_link_is_left_alone_for_a_growing_while(yard):
    yard.put(1)
    yard.storage.is_down = True
    tried_at = []
    for _ in range(200):
        before = len(yard.storage.calls)
        yard.uploader.drain()
        if len(yard.storage.calls) > before:
            tried_at.append(yard.clock.seconds - 1000.0)
        yard.clock.advance(0.5)
    assert tried_at == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0]
    yard.storage.is_down = False
    yard.clock.advance(60)
    yard.uploader.drain()
    assert len(yard.arrived()) == 1
    assert yard.uploader.last_error == ""


def test_tr_04_after_a_success_patience_starts_afresh(yard):
    yard.put(1)
    yard.storage.is_down = True
    for _ in range(3):
        yard.uploader.drain()
        yard.clock.advance(100)
    yard.storage.is_down = False
    yard.uploader.drain()
    yard.storage.is_down = True
    yard.put(2)
    yard.uploader.drain()
    yard.storage.is_down = False
    yard.clock.advance(1.1)
    yard.uploader.drain()
    assert len(yard.arrived()) == 2


@pytest.mark.parametrize("calls_before_the_cut", range(14))
def test_tr_01_cut_at_any_call_and_started_again_a_sample_arrives_exactly_once(
    tmp_path, monkeypatch, calls_before_the_cut
):
    yard = Yard(tmp_path)
    example = yard.put(1)
    called = yard.storage._called

    def cut(what: str, key: str) -> None:
        if len(yard.storage.calls) == calls_before_the_cut:
            yard.storage.is_down = True
        called(what, key)

    monkeypatch.setattr(yard.storage, "_called", cut)
    yard.uploader.drain()
    monkeypatch.undo()
    yard.storage.is_down = False
    assert len(yard.arrived()) + len(yard.outbox) >= 1
    yard.new_uploader().drain()
    assert yard.arrived() == [example]
    assert len(yard.outbox) == 0


def test_tr_01_what_arrived_before_is_confirmed_and_not_overwritten(yard):
    example = yard.put(1, 0.4)
    yard.uploader.drain()
    yard.storage.calls.clear()
    again = yard.put(1, 0.8)  # the same picture, seen again by another model
    assert again.sample_id == example.sample_id
    yard.uploader.drain()
    assert [call for call in yard.storage.calls if call[0] == "put"] == []
    assert yard.arrived() == [example]
    assert len(yard.outbox) == 0


def test_an_upload_that_was_spoiled_in_storage_meanwhile_is_repaired(yard):
    example = yard.put(1)
    yard.uploader.drain()
    data = yard.storage.get(example.image_key)
    yard.storage.put(example.image_key, data[:-1])
    yard.put(1)
    yard.uploader.drain()
    assert sha256_hex(yard.storage.get(example.image_key)) == example.image_sha256


def test_finish_delivers_everything_and_ends_at_once_on_a_dead_link(yard):
    for seed in range(40):
        yard.put(seed)
    assert yard.uploader.finish(5.0, wait=yard.clock.advance)
    assert len(yard.arrived()) == 40
    yard.put(50)
    yard.storage.is_down = True
    yard.storage.calls.clear()
    assert not yard.uploader.finish(5.0, wait=yard.clock.advance)
    assert len(yard.storage.calls) == 1


def test_a_slow_upload_never_holds_a_frame_up(tmp_path, monkeypatch):
    yard = Yard(tmp_path, inline=False)
    yard.put(1)
    gate, called = threading.Event(), yard.storage._called

    def slow(what: str, key: str) -> None:
        assert gate.wait(60)
        called(what, key)

    monkeypatch.setattr(yard.storage, "_called", slow)
    for _ in range(100):
        yard.uploader.drain()  # returns while the first one hangs
    assert len(yard.outbox) == 1
    gate.set()
    yard.clock.advance(0)
    assert yard.uploader._errand.wait(60)
    assert len(yard.arrived()) == 1


def test_an_entry_evicted_while_it_is_sent_is_no_error(yard, monkeypatch):
    example = yard.put(1)
    called = yard.storage._called

    def evict(what: str, key: str) -> None:
        yard.outbox.drop(example.sample_id, "a harder example came")
        called(what, key)

    monkeypatch.setattr(yard.storage, "_called", evict)
    yard.uploader.drain()
    assert len(yard.outbox) == 0
