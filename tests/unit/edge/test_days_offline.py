"""EDGE-09: three days without network on a hand-wound clock, then catch-up within the budget."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cloud.inbox import Inbox
from edge.boot_clock import Moment
from edge.delivery.example_files import JPEG_QUALITY
from edge.delivery.outbox import Outbox
from edge.delivery.upload_budget import Budget
from edge.delivery.upload_ledger import DAY_S, HOUR_S, Ledger
from edge.delivery.upload_rules import UploadRules
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.records.ids import sample_id_of
from lifelong.records.pixels import jpeg_from_image
from lifelong.sections.delivery import OutboxSection, UploadSection
from tests.builders import NOON, a_frame, a_prediction
from tests.edge_fixtures import FlakyStorage, HandClock, an_uploader, events

EVERY_S = 1800.0  # a hard frame
DAYS = 3


@dataclass
class Robot:
    """A node that goes on for days, started anew now and then, and what it has seen."""

    folder: Path
    section: UploadSection

    def __post_init__(self) -> None:
        self.clock, self.storage = HandClock(), FlakyStorage()
        self.journal = Journal(self.folder / "journal", "edge-1", self.clock.now)
        self.inbox = Inbox(self.storage, Journal(self.folder / "journal", "cloud"), self.clock.now)
        self.random = np.random.default_rng(9)
        self.seen: dict[str, float] = {}
        self.start()

    def moment(self) -> Moment:
        return Moment("boot", self.clock(), self.clock.now().timestamp())

    def start(self) -> None:
        self.outbox = Outbox(
            OutboxSection(path=self.folder / "outbox", max_mib=1), self.journal, self.clock.now
        )
        ledger = Ledger(self.folder / "uploads.jsonl", self.moment)
        self.uploader = an_uploader(
            self.outbox,
            self.storage,
            self.journal,
            self.clock,
            UploadRules(budget=Budget(self.section, ledger)),
        )

    def see(self) -> None:
        number = len(self.seen)
        image = self.random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        verdict = Verdict(
            is_hard=True, score=round(float(self.random.uniform()), 6), reasons=("hard",), scores={}
        )
        self.outbox.put(a_frame(number, image=image), a_prediction(), verdict)
        self.seen[sample_id_of(jpeg_from_image(image, JPEG_QUALITY))] = verdict.priority

    def go_on(self, seconds: float, *, seeing: bool = True) -> None:
        ends = self.clock() + seconds
        while self.clock() < ends:
            if seeing:
                self.see()
            for _ in range(10):
                self.uploader.drain()
                self.clock.advance(EVERY_S / 10)


@pytest.fixture(scope="module")
def caught_up(tmp_path_factory) -> Robot:
    """A robot after three days offline, with restarts, and a day and a half of catch-up."""
    robot = Robot(
        tmp_path_factory.mktemp("robot"),
        UploadSection(max_mib_per_day=0.5, max_samples_per_hour=12),
    )
    robot.storage.is_down = True
    for _ in range(DAYS):
        robot.go_on(DAY_S)
        robot.start()
    robot.held = {e.sample_id: e.priority for e in robot.outbox.waiting()}
    robot.size_at_most = robot.outbox.size
    robot.storage.is_down = False
    robot.online_at = robot.clock.now()
    robot.go_on(1.5 * DAY_S, seeing=False)
    # Here, because a test below lets the cloud empty its inbox.
    robot.stored = Counter()
    for entry in robot.storage.entries("inbox/edge-1"):
        robot.stored[entry.key.split("/")[2]] += entry.size
    return robot


def test_edge_09_three_days_offline_the_outbox_keeps_the_highest_priorities(caught_up):
    assert len(caught_up.seen) == DAYS * 48
    assert 20 <= len(caught_up.held) < len(caught_up.seen)
    assert caught_up.size_at_most <= 2**20
    lost = [p for sample, p in caught_up.seen.items() if sample not in caught_up.held]
    assert max(lost) <= min(caught_up.held.values())


def test_edge_09_catch_up_goes_by_worth_and_stays_within_the_budget(caught_up):
    uploaded = events(caught_up.folder / "journal", "hard_example.uploaded")
    seconds = [(datetime.fromisoformat(line["at"]) - NOON).total_seconds() for line in uploaded]
    sizes = [caught_up.stored[line["sample_id"]] for line in uploaded]
    for begin in seconds:
        assert sum(begin <= s < begin + HOUR_S for s in seconds) <= 12
        day = [size for s, size in zip(seconds, sizes, strict=True) if begin <= s < begin + DAY_S]
        assert sum(day) <= 0.5 * 2**20
    assert sum(sizes) >= 0.9 * 0.5 * 2**20  # and the budget is used


def test_edge_09_the_first_to_go_are_worth_more_than_what_stays(caught_up):
    uploaded = events(caught_up.folder / "journal", "hard_example.uploaded")
    priorities = [line["priority"] for line in uploaded]
    assert len(priorities) >= 20
    # All pictures have nearly the same size here: worth for the bytes is priority, within a tenth.
    assert all(b <= 1.1 * a for a, b in pairwise(priorities))
    waiting = [e.priority for e in caught_up.outbox.waiting()]
    assert max(waiting, default=0.0) <= 1.1 * min(priorities)


def test_edge_09_everything_that_was_sent_is_admitted_once(caught_up):
    uploaded = events(caught_up.folder / "journal", "hard_example.uploaded")
    admitted = [e.sample_id for e in caught_up.inbox.collect()]
    assert sorted(admitted) == sorted(line["sample_id"] for line in uploaded)
    assert len(set(admitted)) == len(admitted)


def test_edge_09_a_clock_that_jumps_about_changes_neither_what_is_kept_nor_its_order(tmp_path):
    """TR-08: the device's own count orders equals; only ages look at the clock."""
    robot = Robot(tmp_path, UploadSection())
    robot.storage.is_down = True
    jumps = [0]
    robot.outbox._now = lambda: robot.clock.now() + timedelta(days=jumps[-1])
    for days in (0, 400, -800, 3, -5):
        jumps.append(days)
        for _ in range(3):
            number = len(robot.seen)
            verdict = Verdict(is_hard=True, score=0.5, reasons=("hard",), scores={})
            example = robot.outbox.put(a_frame(number), a_prediction(), verdict)
            robot.seen[example.sample_id] = 0.5
    assert [e.sequence for e in robot.outbox.waiting()] == list(range(15))
