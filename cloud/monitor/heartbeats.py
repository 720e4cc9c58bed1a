"""Signs of life of the service's threads: whoever stops giving them hangs, or is dead.

A thread says how long it may be silent; one that is still busy with something honest (a picture
that is being drafted) beats in between. Only what a new start would cure belongs here: a storage
that is away makes no thread silent.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Heart:
    patience_s: float
    is_alive: Callable[[], bool]
    beat_at: float


class Heartbeats:
    """One for a process; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._hearts: dict[str, _Heart] = {}

    def expect(
        self, name: str, *, patience_s: float, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        """From now on `name` must beat, at the latest every `patience_s` seconds."""
        with self._lock:
            self._hearts[name] = _Heart(patience_s, is_alive, self._clock())

    def beat(self, name: str) -> None:
        """`name` is at work; nobody need expect it."""
        with self._lock:
            heart = self._hearts.get(name)
            if heart is not None:
                heart.beat_at = self._clock()

    def beater(self, name: str) -> Callable[[], None]:
        """`beat` for one name, to be handed on."""
        return lambda: self.beat(name)

    def silences(self) -> dict[str, float]:
        """Seconds since each one's last sign of life."""
        with self._lock:
            now = self._clock()
            return {name: now - heart.beat_at for name, heart in self._hearts.items()}

    def complaints(self) -> dict[str, str]:
        """Who is dead or hangs, in words; empty when all is well."""
        with self._lock:
            now, found = self._clock(), {}
            for name, heart in self._hearts.items():
                silent = now - heart.beat_at
                if not heart.is_alive():
                    found[name] = f"thread {name!r} has ended"
                elif silent > heart.patience_s:
                    found[name] = f"thread {name!r} has been silent for {silent:.0f} s"
            return found
