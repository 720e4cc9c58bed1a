"""The circuit breaker: after some failures in a row a link is left alone; then one try decides."""

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed: tries pass. Open: none does, for a while. Half-open: one does, and it decides."""

    def __init__(
        self,
        failures_to_open: int,
        open_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_to_open = failures_to_open
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def state(self) -> State:
        """How it stands now."""
        if self._opened_at is None:
            return "closed"
        is_over = self._clock() >= self._opened_at + self._open_seconds
        return "half-open" if is_over else "open"

    def succeeded(self) -> None:
        """A try went well."""
        self._failures, self._opened_at = 0, None

    def failed(self) -> bool:
        """A try failed; says whether the breaker has opened by it."""
        self._failures += 1
        if self.state == "closed" and self._failures < self._failures_to_open:
            return False
        self._opened_at = self._clock()
        return True
