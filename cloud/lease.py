"""One service at a time: a lease in storage, taken by put-if-absent of numbered terms.

`lease/{term}.json` says who holds term number so-and-so and until when. Who finds the newest
term expired may try to write the next one; only one writer can. The holder renews by
rewriting its own term, and stops as soon as a newer term exists.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cloud.worker_process import process_start
from lifelong.errors import LeaseLostError, ObjectExistsError
from lifelong.links.storage import Storage
from lifelong.records.wire import from_json, to_json

LEASES = "lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Who may advance rounds, and until when."""

    number: int
    host: str
    process: int
    started: str  # tells a process from a later one of the same number
    until: datetime  # UTC


class Lease:
    """Held by one process; `hold` takes or renews it."""

    def __init__(
        self, storage: Storage, seconds: float, now: Callable[[], datetime], *, room: str = LEASES
    ) -> None:
        """Args: `room` holds the terms; that of the service, or of other work for one."""
        self._storage = storage
        self._room = room
        self._length = timedelta(seconds=seconds)
        self._now = now
        self._mine: Term | None = None

    def hold(self) -> bool:
        """Take or renew the lease; False while somebody else has it.

        Raises:
            LeaseLostError: this process had it, and another took the next term.
        """
        newest = self._newest()
        if self._mine is not None:
            if newest is None or newest.number != self._mine.number:
                holder = f"{newest.host}, process {newest.process}" if newest else "nobody"
                raise LeaseLostError(f"the lease of {self._storage.url} now belongs to {holder}")
            if self._mine.until - self._now() < self._length / 2:
                self._mine = self._term(self._mine.number)
                self._storage.put(self._key(self._mine.number), to_json(self._mine))
            return True
        if newest is not None and newest.until > self._now() and not is_dead(newest):
            return False
        term = self._term((newest.number if newest else 0) + 1)
        try:
            self._storage.put_if_absent(self._key(term.number), to_json(term))
        except ObjectExistsError:
            return False
        self._mine = term
        return True

    def release(self) -> None:
        """Let the next one begin at once; nothing happens when the lease is not held."""
        if self._mine is not None:
            ended = self._term(self._mine.number, until=self._now())
            self._storage.put(self._key(ended.number), to_json(ended))
            self._mine = None

    def _newest(self) -> Term | None:
        keys = list(self._storage.keys(self._room))
        return from_json(Term, self._storage.get(keys[-1]), keys[-1]) if keys else None

    def _term(self, number: int, until: datetime | None = None) -> Term:
        return Term(
            number=number,
            host=_here(),
            process=os.getpid(),
            started=process_start(os.getpid()),
            until=until or self._now() + self._length,
        )

    def _key(self, number: int) -> str:
        return f"{self._room}/{number:08d}.json"


def _here() -> str:
    """This host, and where it has several: which of its numberings of processes is ours.

    Pods on the host's network have its name, and each of them a process number 1.
    """
    try:
        numbering = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {numbering}"


def is_dead(term: Term) -> bool:
    """A holder on this very host that is no longer running need not be waited for."""
    return term.host == _here() and process_start(term.process) != term.started
