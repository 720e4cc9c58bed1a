"""Retrying and journals."""

import logging
import random
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from lifelong.errors import ChecksumError, LifelongError, StorageUnavailableError
from lifelong.links.journal import Journal, read_events
from lifelong.links.retry import delays, with_retries

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_tr04_pauses_grow_to_a_limit_and_are_never_in_step() -> None:
    """TR-04 (back-off): exponential with jitter."""
    first = list(islice(delays(first_s=1, longest_s=8, random_=random.Random(1)), 8))
    other = list(islice(delays(first_s=1, longest_s=8, random_=random.Random(2)), 8))
    for pauses in (first, other):
        ceilings = [1, 2, 4, 8, 8, 8, 8, 8]
        assert all(c / 2 <= p <= c for p, c in zip(pauses, ceilings, strict=True))
    assert first != other


class Flaky:
    def __init__(self, *errors: LifelongError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_only_what_may_heal_is_tried_again() -> None:
    slept: list[float] = []
    away = StorageUnavailableError("away")
    flaky = Flaky(away, away)
    assert with_retries(flaky, tries=3, sleep=slept.append) == "done"
    assert (flaky.calls, len(slept)) == (3, 2)
    with pytest.raises(StorageUnavailableError):
        with_retries(Flaky(away, away, away), tries=3, sleep=slept.append)
    damaged = Flaky(ChecksumError("damaged"))
    with pytest.raises(ChecksumError):
        with_retries(damaged, tries=3, sleep=slept.append)
    assert damaged.calls == 1


def test_a_journal_is_read_back_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "edge-1", lambda: NOON)
    journal.event("model.swapped", to="v1")
    with (tmp_path / "edge-1" / "2026-01-01.jsonl").open("ab") as file:
        file.write(b'{"event": "torn')
    (event,) = read_events(tmp_path)
    assert event == {
        "schema": 1,
        "at": "2026-01-01T12:00:00+00:00",
        "node": "edge-1",
        "event": "model.swapped",
        "to": "v1",
    }


def test_a_journal_that_cannot_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "edge-1").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        Journal(tmp_path, "edge-1", lambda: NOON).event("model.swapped", to="v1")
    assert "model.swapped" in caplog.text
