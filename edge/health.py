"""The liveness file: what a probe, or a person with `cat`, learns about this node."""

import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now

logger = logging.getLogger(__name__)

FPS_WINDOW_S = 10.0
TIMINGS_KEPT = 1000
OUTCOMES_KEPT = 200


@dataclass(slots=True)
class Vitals:
    """Counts since the start and what is so at the moment; the content of `health.json`."""

    version: str | None = None  # of the running model
    frames: int = 0
    frames_failed: int = 0
    frames_unreadable: int = 0
    frames_passed_over: int = 0
    hard_examples: int = 0
    outbox_examples: int = 0
    outbox_bytes: int = 0
    uploaded: int = 0
    dropped: int = 0
    known_scenes: int = 0  # hard frames that were not kept because their scene is known
    withheld: int = 0  # … for privacy
    swaps: int = 0
    fallbacks: int = 0
    release_number: int = 0  # that brought the running model; 0: not known
    refused_version: str | None = None
    refused_reason: str = ""
    source_exhausted: bool = False
    source_error: str = ""  # why no frame comes at present
    last_error: str = ""


@dataclass(slots=True)
class Health:
    """Counts frames and writes `health.json`, whole, at most once a second.

    A full disk stops neither counting nor the node: the file keeps its old words and gets a new
    time of change, which is what a probe looks at. A disk that takes not even that lets it grow
    old.
    """

    path: Path
    every_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    vitals: Vitals = field(default_factory=Vitals)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=TIMINGS_KEPT))
    _moments: deque[float] = field(default_factory=deque)
    _failures: deque[bool] = field(default_factory=lambda: deque(maxlen=OUTCOMES_KEPT))
    _timed_version: str | None = None  # the model that the timings are of
    _written_at: float | None = None

    def frame_took(self, seconds: float, version: str | None = None) -> None:
        """A frame was segmented and judged in so many seconds, by a model of this version."""
        if version != self._timed_version:
            self._seconds.clear()  # another model: its times say nothing of the one before
            self._timed_version = version
        self.vitals.frames += 1
        self._failures.append(False)
        self._seconds.append(seconds)
        self._moments.append(self.clock())

    def frame_failed(self, reason: str) -> None:
        """A frame came that no model could answer."""
        self.vitals.frames_failed += 1
        self.vitals.last_error = reason
        self._failures.append(True)

    @property
    def failed_share(self) -> float:
        """Share of the last frames that no model could answer, 0 .. 1."""
        return sum(self._failures) / len(self._failures) if self._failures else 0.0

    @property
    def fps(self) -> float:
        """Frames a second over the last ten seconds."""
        now = self.clock()
        while self._moments and self._moments[0] < now - FPS_WINDOW_S:
            self._moments.popleft()
        if len(self._moments) < 2:
            return 0.0
        return (len(self._moments) - 1) / max(now - self._moments[0], 1e-9)

    def quantile_ms(self, share: float) -> float:
        """The time in ms that `share` of the last frames stayed within; nearest rank."""
        if not self._seconds:
            return 0.0
        ranked = sorted(self._seconds)
        return 1000.0 * ranked[min(int(share * len(ranked)), len(ranked) - 1)]

    def beat(self, *, at_once: bool = False) -> None:
        """Write the file if the last writing is a second ago, or `at_once`."""
        now = self.clock()
        if not at_once and self._written_at is not None and now - self._written_at < self.every_s:
            return
        self._written_at = now
        content = {
            "schema": 1,
            "at": self.now().isoformat(),
            **asdict(self.vitals),
            "fps": round(self.fps, 2),
            "p50_ms": round(self.quantile_ms(0.50), 3),
            "p99_ms": round(self.quantile_ms(0.99), 3),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(content, indent=1).encode())
        except OSError as error:
            logger.warning("cannot write %s: %s", self.path, error)
            with contextlib.suppress(OSError):
                os.utime(self.path)  # needs no space: alive is alive


def age_s(path: Path, now: Callable[[], float] = time.time) -> float | None:
    """Seconds since the liveness file was written or touched; None when there is none.

    A clock that was set back makes it look written in the future: that is 0, not dead.
    """
    try:
        return max(now() - path.stat().st_mtime, 0.0)
    except OSError:
        return None
