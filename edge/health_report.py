"""Health reports: what this node says of itself to storage, beside the frames.

A report never holds a frame up: it is put together and sent in a thread of its own, and a dead
link is left alone for a growing while. The number of the last report lies on the disk, so that it
rises over restarts, whatever the clock does.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edge.errands import Errand
from edge.health import Health
from edge.machine import Machine
from lifelong.errors import StorageError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now
from lifelong.links.redaction import cleaned
from lifelong.links.retry import delays
from lifelong.links.storage import Storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, VersionId
from lifelong.records.keys import health_key
from lifelong.records.wire import to_json

logger = logging.getLogger(__name__)

_SPREAD = 0.1  # of the pause: a fleet that got its power back together does not report together


class Drift(Protocol):
    """What has drifted since the running model was trained."""

    def statistics(self) -> Mapping[str, float]: ...

    def alarms(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """What of a report stays the same for the life of a process."""

    edge_id: EdgeId
    label_map_digest: str
    software: str
    report_seconds: float


class HealthReports:
    """Sends a report every `report_seconds`; 0: never."""

    def __init__(
        self,
        reporter: Reporter,
        storage: Storage,
        health: Health,
        errand: Errand,
        counter: Path,
        *,
        machine: Callable[[], Machine],
        oldest_s: Callable[[], float | None],
        drift: Drift | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        waits: Callable[[], Iterator[float]] = delays,
        random_: random.Random | None = None,
    ) -> None:
        """Tell storage of a node.

        Args:
            counter: the file with the number of the last report.
            oldest_s: seconds that the oldest hard example in the outbox has waited.
        """
        self._reporter = reporter
        self._storage = storage
        self._health = health
        self._errand = errand
        self._counter = counter
        self._machine = machine
        self._drift = drift
        self._oldest_s = oldest_s
        self._clock = clock
        self._now = now
        self._new_waits = waits
        self._waits = waits()
        self._random = random_ or random.Random()
        self._not_before = clock()
        self._number = _last_number(counter)
        self.last_error = ""

    def send_when_due(self) -> None:
        """Start a report when it is time; returns at once, also while one is under way."""
        if not self._is_wanted or self._clock() < self._not_before:
            return
        draft = self._draft()
        if self._errand.start(lambda: self._send(draft)):
            spread = self._random.uniform(1.0 - _SPREAD, 1.0 + _SPREAD)
            self._not_before = self._clock() + spread * self._reporter.report_seconds

    def finish(self, seconds: float) -> bool:
        """A last report within `seconds`; says whether storage has it."""
        if not self._is_wanted:
            return True
        if not self._errand.wait(seconds):
            return False
        draft = self._draft()
        self._errand.start(lambda: self._send(draft))
        return self._errand.wait(seconds) and not self.last_error

    @property
    def _is_wanted(self) -> bool:
        return self._reporter.report_seconds > 0

    def _draft(self) -> EdgeHealth:
        """What is cheap to say, taken between two frames; the rest is filled in by the thread."""
        vitals, health, reporter = self._health.vitals, self._health, self._reporter
        drift, oldest_s = self._drift, self._oldest_s()
        return EdgeHealth(
            edge_id=reporter.edge_id,
            report=0,
            at=self._now(),
            report_seconds=reporter.report_seconds,
            software=reporter.software,
            label_map_digest=reporter.label_map_digest,
            version_id=VersionId(vitals.version) if vitals.version else None,
            release_number=vitals.release_number,
            swaps=vitals.swaps,
            fallbacks=vitals.fallbacks,
            refused_version=VersionId(vitals.refused_version) if vitals.refused_version else None,
            refused_reason=cleaned(vitals.refused_reason),  # leaves the node: all may see it
            frames=vitals.frames,
            frames_failed=vitals.frames_failed,
            frames_unreadable=vitals.frames_unreadable,
            frames_passed_over=vitals.frames_passed_over,
            failed_share=health.failed_share,
            fps=round(health.fps, 2),
            p50_ms=round(health.quantile_ms(0.50), 3),
            p99_ms=round(health.quantile_ms(0.99), 3),
            hard_examples=vitals.hard_examples,
            outbox_examples=vitals.outbox_examples,
            outbox_bytes=vitals.outbox_bytes,
            outbox_oldest_s=None if oldest_s is None else round(oldest_s, 1),
            uploaded=vitals.uploaded,
            dropped=vitals.dropped,
            known_scenes=vitals.known_scenes,
            withheld=vitals.withheld,
            drift=dict(drift.statistics()) if drift else {},
            alarms=dict(drift.alarms()) if drift else {},
            source_error=cleaned(vitals.source_error),
            last_error=cleaned(vitals.last_error),
        )

    def _send(self, draft: EdgeHealth) -> None:
        self._number += 1
        self._remember(self._number)
        machine = self._machine()
        report = replace(
            draft,
            report=self._number,
            cpu_celsius=machine.cpu_celsius,
            load=machine.load,
            memory_bytes=machine.memory_bytes,
            outbox_free_bytes=machine.outbox_free_bytes,
            state_free_bytes=machine.state_free_bytes,
        )
        try:
            self._storage.put(health_key(report.edge_id), to_json(report))
        except StorageError as error:
            # The link may be back long before the next report is due, or not for days.
            self._not_before = self._clock() + next(self._waits)
            self.last_error = str(error)
            logger.warning("the health report waits: %s", error)
            return
        self._waits = self._new_waits()
        self.last_error = ""

    def _remember(self, number: int) -> None:
        try:
            write_whole(self._counter, str(number).encode())
        except OSError as error:
            logger.warning("the number of this report is only in memory: %s", error)


def _last_number(counter: Path) -> int:
    try:
        return int(counter.read_text())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        logger.warning("how many reports there were is not known: %s", error)
        return 0
