"""Which page has which task: two people never get the same one at once.

Kept in memory of `cornerloop serve` only. After a restart nobody has anything, and whoever hands
a task in first has done it.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: str
    until: float  # by the clock that was given, seconds


class Leases(Generic[K]):
    """Each holder has one thing at most; safe under threads."""

    def __init__(self, *, clock: Callable[[], float], seconds: float) -> None:
        """
        Args:
            clock: seconds that never go back.
            seconds: for which a lease lasts unless it is kept.
        """
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._leases: dict[K, _Lease] = {}

    def take(self, wanted: Sequence[K], holder: str, *, passed: frozenset[K]) -> K | None:
        """What the holder has already, else the first that nobody has; None: there is none.

        Args:
            wanted: best first; what the holder has and is not among these is let go.
            passed: what the holder wants only when there is nothing else.
        """
        with self._lock:
            self._forget_old()
            mine = [thing for thing, lease in self._leases.items() if lease.holder == holder]
            free = [thing for thing in wanted if thing not in self._leases or thing in mine]
            chosen = next((thing for thing in mine if thing in free and thing not in passed), None)
            if chosen is None:
                chosen = next((thing for thing in free if thing not in passed), None)
            if chosen is None:
                chosen = next(iter(free), None)
            for thing in mine:
                del self._leases[thing]
            if chosen is not None:
                self._leases[chosen] = _Lease(holder, self._clock() + self._seconds)
            return chosen

    def keep(self, thing: K, holder: str) -> bool:
        """Prolong a lease, also one that has run out; False: somebody else has it."""
        with self._lock:
            self._forget_old()
            there = self._leases.get(thing)
            if there is not None and there.holder != holder:
                return False
            self._leases[thing] = _Lease(holder, self._clock() + self._seconds)
            return True

    def release(self, holder: str) -> None:
        """Let go of what a holder has; nothing happens when that is nothing."""
        with self._lock:
            self._leases = {
                thing: lease for thing, lease in self._leases.items() if lease.holder != holder
            }

    def _forget_old(self) -> None:
        now = self._clock()
        self._leases = {thing: lease for thing, lease in self._leases.items() if lease.until > now}
