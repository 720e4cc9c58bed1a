"""What this process measures itself: latencies, requests, what came into the journal."""

import json
import re
import threading
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from cloud.metrics.catalogue import CATALOGUE

# From a click that was answered from memory to a picture that was embedded without a GPU.
_ANSWERS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DRAFTS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0)
OTHER = "other"
_EVENT = re.compile(r"[a-z][a-z_]{0,39}\.[a-z][a-z_]{0,39}")
_EVENTS = 200  # names; a journal that somebody fills with others must not fill the database


class Measures:
    """One for a process; whoever measures is handed a method of it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.registry = CollectorRegistry()
        self._answers = self._histogram("assist_answer_seconds", _ANSWERS)
        self._failures = self._counter("assist_failures_total")
        self._drafts = self._histogram("drafting_seconds", _DRAFTS)
        self._times = self._histogram("http_request_seconds", _REQUESTS)
        self._requests = self._counter("http_requests_total")

    @contextmanager
    def answer(self, kind: str) -> Iterator[None]:
        """Around an answer of the smart tool; one that fails counts as a failure, by its name.

        Args:
            kind: "click" for prompts of a person, "draft" for whole tasks.
        """
        began = self._clock()
        try:
            yield
        except Exception as error:
            self._failures.labels(type(error).__name__).inc()
            raise
        self._answers.labels(kind).observe(self._clock() - began)

    @contextmanager
    def draft(self) -> Iterator[None]:
        """Around the drafting of one picture."""
        began = self._clock()
        yield
        self._drafts.observe(self._clock() - began)

    def request(self, area: str, status: int, seconds: float) -> None:
        """One request was answered.

        Args:
            area: of the service, e.g. "pages"; a few words, never a path.
            status: of HTTP.
        """
        self._times.labels(area).observe(seconds)
        self._requests.labels(f"{status // 100}xx").inc()

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        told = CATALOGUE[name]
        return Histogram(name, told.meaning, told.labels, buckets=buckets, registry=self.registry)

    def _counter(self, name: str) -> Counter:
        told = CATALOGUE[name]
        return Counter(
            name.removesuffix("_total"), told.meaning, told.labels, registry=self.registry
        )


class JournalTail:
    """Counts what comes into the journal of this machine from now on, whoever writes it.

    What was there before is not counted: a counter begins at 0 with its process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._counts: Counted[str] = Counted()
        self._read: dict[Path, tuple[int, int]] = {
            path: (stat.st_ino, stat.st_size) for path, stat in self._files()
        }

    def counts(self) -> Mapping[str, int]:
        """Events by name, since this object was made."""
        with self._lock:
            for path, stat in self._files():
                inode, offset = self._read.get(path, (stat.st_ino, 0))
                if inode != stat.st_ino or offset > stat.st_size:
                    offset = stat.st_size  # rewritten, since something was forgotten
                elif offset < stat.st_size:
                    offset += self._count(path, offset)
                self._read[path] = (stat.st_ino, offset)
            return dict(self._counts)

    def _count(self, path: Path, offset: int) -> int:
        """Count whole lines from there on; returns how many bytes they have."""
        done = 0
        try:
            with path.open("rb") as lines:
                lines.seek(offset)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    done += len(line)
                    name = _event_of(line)
                    is_known = name in self._counts or len(self._counts) < _EVENTS
                    self._counts[name if is_known else OTHER] += 1
        except OSError:
            return done  # gone, or not ours to read: nothing of it is counted
        return done

    def _files(self) -> list[tuple[Path, Any]]:
        found = []
        for path in self._folder.glob("*/*.jsonl"):
            try:
                found.append((path, path.stat()))
            except OSError:
                continue  # taken away a moment ago
        return found


def _event_of(line: bytes) -> str:
    """The name of an event; `other` for what no program of ours wrote."""
    try:
        name = json.loads(line)["event"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return OTHER
    return name if isinstance(name, str) and _EVENT.fullmatch(name) else OTHER
