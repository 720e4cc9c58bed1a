"""Append-only JSON lines of facts: `noun.verb` in the past tense, ids as fields.

One file a node and a day under `journal/{node}/`, on the local disk of who writes it; every
report and metric is counted from these lines.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lifelong.links.redaction import cleaned_fields
from lifelong.links.request_ids import current_request

logger = logging.getLogger(__name__)

JSONValue = str | int | float | bool | None | list[Any] | dict[str, Any]


def utc_now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


class Journal:
    """Writes events; safe for threads, and a line is either whole or absent."""

    def __init__(self, folder: Path, node: str, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = folder / node
        self._node = node
        self._now = now
        self._lock = threading.Lock()

    def event(self, name: str, **fields: JSONValue) -> None:
        """Write one fact, e.g. `event("hard_example.kept", sample_id=…, score=0.7)`.

        A full disk is told in the log and stops nobody: doing the work matters more than
        counting it.
        """
        at = self._now()
        line = {"schema": 1, "at": at.isoformat(), "node": self._node, "event": name}
        if current_request():
            line["request"] = current_request()
        line |= cleaned_fields(fields)  # a reason may quote an address with a password
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        try:
            with self._lock:
                self._append(f"{at:%Y-%m-%d}.jsonl", data)
        except OSError as error:
            logger.warning("journal: %s %s is not on the disk: %s", name, fields, error)

    def _append(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # One write with O_APPEND: lines of two processes do not mix.
        handle = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)


def read_events(folder: Path, node: str | None = None) -> Iterator[dict[str, Any]]:
    """All events under a journal folder in file order; a torn last line is passed over."""
    for path in sorted(folder.glob(f"{node or '*'}/*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event
