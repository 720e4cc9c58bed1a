"""TR-02 (parts, resumed after a cut at any byte), TR-03 (hashes, receipts), TR-01 (once)."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from cloud.inbox import Inbox
from edge.delivery.outbox import Outbox
from edge.delivery.upload_budget import Budget
from edge.delivery.upload_ledger import Ledger
from edge.delivery.upload_rules import UploadRules
from edge.delivery.uploader import REFUSALS, Uploader
from lifelong.errors import StorageUnavailableError
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.records.deliveries import Receipt
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json
from lifelong.sections.delivery import OutboxSection, UploadSection
from tests.builders import NOON, a_frame, a_prediction
from tests.edge_fixtures import FlakyStorage, HandClock, an_uploader, events

PART = 2048

Confirm = Literal["read_back", "receipt"]


class CuttableStorage(FlakyStorage):
    """The link dies when so many bytes have gone through; an object that was cut is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_left: int | None = None
        self.sent = 0
        self.downloads = 0

    def put(self, key: str, data: bytes) -> None:
        if self.bytes_left is not None:
            self.bytes_left -= len(data)
            if self.bytes_left < 0:
                self.sent += len(data) + self.bytes_left
                self.is_down = True
        if not self.is_down:
            self.sent += len(data)
        super().put(key, data)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.downloads += key.startswith("inbox/")
        return super().get(key, sha256=sha256)


class Coast:
    """A node with pictures that need several parts, and the cloud's inbox."""

    def __init__(self, folder: Path, confirm: Confirm = "read_back", budget: Budget | None = None):
        self.folder, self.clock, self.storage = folder, HandClock(), CuttableStorage()
        self.journal = Journal(folder / "journal", "edge-1")
        self.outbox = Outbox(OutboxSection(path=folder / "outbox"), self.journal)
        self.rules = UploadRules(part_bytes=PART, confirm=confirm, budget=budget)
        self.uploader = self.restarted()
        self.inbox = Inbox(self.storage, Journal(folder / "journal", "cloud"), self.clock.now)

    def restarted(self) -> Uploader:
        self.uploader = an_uploader(self.outbox, self.storage, self.journal, self.clock, self.rules)
        return self.uploader

    def answer(
        self, example: HardExample, verdict: Literal["admitted", "refused"], **told: Any
    ) -> None:
        """A receipt that the inbox did not write."""
        receipt = Receipt(
            edge_id=example.edge_id,
            sample_id=example.sample_id,
            verdict=verdict,
            at=NOON,
            **told,
        )
        self.storage.put(f"receipts/edge-1/{example.sample_id}.json", to_json(receipt))

    def put(self, seed: int, score: float = 0.5) -> HardExample:
        image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        verdict = Verdict(is_hard=True, score=score, reasons=("test",), scores={})
        example = self.outbox.put(a_frame(seed, image=image), a_prediction(), verdict)
        assert example is not None
        return example

    def drain(self, *, times: int = 1) -> None:
        for _ in range(times):
            self.uploader.drain()
            self.clock.advance(10)

    def puts(self) -> list[str]:
        return [key for what, key in self.storage.calls if what == "put"]


@pytest.fixture(params=["read_back", "receipt"])
def coast(request, tmp_path) -> Coast:
    return Coast(tmp_path, request.param)


def test_tr_02_a_large_file_goes_in_parts_and_the_record_last_lists_them(coast):
    example = coast.put(1)
    folder = f"inbox/edge-1/{example.sample_id}"
    coast.drain()
    puts = coast.puts()
    assert puts[-1] == f"{folder}/example.json"
    record = from_json(HardExample, coast.storage.get(puts[-1]), "record")
    parts = record.parts["image.jpg"]
    assert [f"{folder}/parts/{part}" for part in parts] == puts[: len(parts)]
    assert len(parts) >= 4
    assert all(len(coast.storage.get(key)) <= PART for key in puts[: len(parts)])
    assert "mask.png" not in record.parts
    assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]
    (admitted,) = coast.inbox.collect()
    assert admitted.parts == {}
    assert coast.storage.get(admitted.image_key, sha256=example.image_sha256)
    assert list(coast.storage.keys("inbox")) == []


def test_tr_02_cut_at_any_byte_at_most_one_part_is_lost_and_only_what_is_missing_is_sent(tmp_path):
    whole = Coast(tmp_path / "whole")
    whole.put(1)
    whole.drain()
    needed = whole.storage.sent
    draw = random.Random(2)
    for number, cut in enumerate(sorted(draw.sample(range(needed), 60))):
        coast = Coast(tmp_path / str(number), draw.choice(["read_back", "receipt"]))
        example = coast.put(1)
        coast.storage.bytes_left = cut
        coast.drain()
        assert len(coast.outbox) == 1
        coast.storage.is_down, coast.storage.bytes_left = False, None
        coast.restarted()
        coast.drain()
        assert needed <= coast.storage.sent <= needed + PART + 64
        assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]
        coast.drain()
        assert len(coast.outbox) == 0


def test_tr_02_cut_again_and_again_it_arrives_all_the_same(coast):
    coast.put(1)
    draw = random.Random(3)
    for _ in range(200):
        coast.storage.is_down = False
        coast.storage.bytes_left = draw.randrange(PART, 2 * PART)
        coast.restarted()
        coast.drain()
        coast.storage.is_down, coast.storage.bytes_left = False, None
        coast.inbox.collect()
        if not len(coast.outbox):
            break
    assert len(coast.outbox) == 0
    assert len(coast.inbox.collect()) == 1


def test_tr_02_with_another_part_size_after_a_restart_it_still_arrives_whole(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    coast.storage.bytes_left = 3 * PART
    coast.drain()
    coast.storage.is_down, coast.storage.bytes_left = False, None
    coast.rules = UploadRules(part_bytes=1500, confirm="receipt")
    coast.restarted()
    coast.drain()
    assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]
    assert list(coast.storage.keys("inbox")) == []
    assert list(coast.storage.keys("refused")) == []


def test_tr_03_a_spoiled_part_is_found_at_once_when_everything_is_read_back(tmp_path):
    coast = Coast(tmp_path)
    example = coast.put(1)
    flips = iter([False, True])
    coast.storage.flip_next = lambda key: "/parts/" in key and next(flips, False)
    coast.drain()
    assert coast.outbox.waiting() == [example]
    coast.drain()
    assert len(coast.outbox) == 0
    assert max(Counter(coast.puts()).values()) == 2  # that one part
    assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]


# -- receipts ----------------------------------------------------------------------------------


def test_tr_03_with_receipts_the_copy_stays_until_the_inbox_says_that_it_has_it(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    coast.drain(times=20)
    assert coast.outbox.waiting() == [example]
    assert max(Counter(coast.puts()).values()) == 1  # sent once, however long the cloud takes
    assert coast.storage.downloads == 0  # nothing is read back
    coast.inbox.collect()
    assert coast.outbox.waiting() == [example]
    coast.drain()
    assert len(coast.outbox) == 0
    assert coast.uploader.uploaded == 1
    assert list(coast.storage.keys("receipts")) == []
    assert len(events(tmp_path / "journal", "hard_example.uploaded")) == 1


def test_tr_03_what_was_damaged_on_the_way_is_refused_and_sent_again(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    flips = iter([True])
    coast.storage.flip_next = lambda key: "/parts/" in key and next(flips, False)
    coast.drain()
    assert coast.inbox.collect() == []
    assert len(list(coast.storage.keys("refused"))) > 0
    coast.drain(times=2)
    assert coast.outbox.waiting() == [example]
    assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]
    coast.drain()
    assert len(coast.outbox) == 0


def test_tr_03_what_is_refused_again_and_again_is_given_up_with_the_reason(tmp_path):
    coast = Coast(tmp_path, "receipt")
    coast.put(1)
    coast.storage.flip_next = lambda key: "/mask.png" in key and key.startswith("inbox/")
    for _ in range(2 * REFUSALS):
        coast.drain()
        coast.inbox.collect()
    assert len(coast.outbox) == 0
    (dropped,) = events(tmp_path / "journal", "hard_example.dropped")
    assert "refused by the cloud" in dropped["reason"]
    assert len(events(tmp_path / "journal", "hard_example.refused")) == REFUSALS


def test_tr_03_what_can_never_be_right_is_given_up_at_once(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    coast.drain()
    coast.answer(example, "refused", reason="larger than what is read", is_final=True)
    coast.drain()
    assert len(coast.outbox) == 0
    (dropped,) = events(tmp_path / "journal", "hard_example.dropped")
    assert "larger than what is read" in dropped["reason"]


def test_tr_03_a_receipt_for_other_bytes_confirms_nothing(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    coast.drain()
    coast.answer(example, "admitted", hashes={"image.jpg": "0" * 64})
    coast.drain()
    assert coast.outbox.waiting() == [example]


def test_a_delivery_that_got_lost_without_a_receipt_is_sent_again(tmp_path):
    coast = Coast(tmp_path, "receipt")
    example = coast.put(1)
    coast.drain()
    for key in list(coast.storage.keys("inbox")):
        coast.storage.delete(key)
    coast.drain(times=10)
    assert list(coast.storage.keys("inbox")) == []
    coast.clock.advance(3600)
    coast.drain()
    assert [e.sample_id for e in coast.inbox.collect()] == [example.sample_id]


def test_receipts_that_nobody_waits_for_are_cleared_by_node_and_inbox(tmp_path):
    coast = Coast(tmp_path, "receipt")
    first = coast.put(1)
    coast.drain()
    coast.inbox.collect()
    coast.outbox.delivered(first.sample_id)  # killed after the local copy, before the receipt
    coast.put(2)
    coast.restarted()
    coast.drain()
    assert list(coast.storage.keys("receipts")) == []


@pytest.mark.parametrize("cut", range(24))
def test_tr_01_cut_at_any_call_with_receipts_every_sample_is_admitted_once(
    tmp_path, monkeypatch, cut
):
    coast = Coast(tmp_path, "receipt")
    expected = {coast.put(seed).sample_id for seed in (1, 2)}
    called, count = coast.storage._called, 0

    def dying(what: str, key: str) -> None:
        nonlocal count
        count += 1
        if count == cut + 1:
            raise StorageUnavailableError("cut")
        called(what, key)

    monkeypatch.setattr(coast.storage, "_called", dying)
    for _ in range(12):
        coast.drain()
        try:
            coast.inbox.collect()
        except StorageUnavailableError:
            continue
        coast.restarted()
    assert len(coast.outbox) == 0
    assert {e.sample_id for e in coast.inbox.collect()} == expected
    assert len(events(tmp_path / "journal", "hard_example.admitted")) == 2
    assert list(coast.storage.keys("inbox")) == list(coast.storage.keys("refused")) == []


# -- the budget in a delivery ------------------------------------------------------------------


def test_edge_05_every_byte_that_leaves_is_in_the_ledger_also_those_of_a_cut_upload(tmp_path):
    ledger = Ledger(tmp_path / "uploads.jsonl")
    coast = Coast(tmp_path, budget=Budget(UploadSection(), ledger))
    coast.put(1)
    coast.storage.bytes_left = 3 * PART
    coast.drain()
    coast.storage.is_down, coast.storage.bytes_left = False, None
    coast.drain()
    assert len(coast.outbox) == 0
    counted = ledger.bytes_since(0.0)
    assert coast.storage.sent <= counted <= coast.storage.sent + PART
    assert ledger.samples_since(0.0) == 1


def test_edge_05_a_dead_link_costs_nothing_of_the_budget(tmp_path):
    ledger = Ledger(tmp_path / "uploads.jsonl")
    coast = Coast(tmp_path, budget=Budget(UploadSection(), ledger))
    coast.put(1)
    coast.storage.is_down = True
    coast.drain(times=50)
    assert ledger.bytes_since(0.0) == 0


def test_edge_05_when_bytes_are_short_what_is_worth_most_for_its_bytes_goes_first(tmp_path):
    budget = Budget(UploadSection(max_mib_per_day=100), Ledger(tmp_path / "uploads.jsonl"))
    coast = Coast(tmp_path, budget=budget)
    large = coast.put(1, 0.6)
    plain = Verdict(is_hard=True, score=0.5, reasons=("test",), scores={})
    small = coast.outbox.put(a_frame(2), a_prediction(), plain)
    coast.drain()
    sent = [line["sample_id"] for line in events(tmp_path / "journal", "hard_example.uploaded")]
    assert sent == [small.sample_id, large.sample_id]
