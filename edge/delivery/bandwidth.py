"""The bandwidth cap: a token bucket of bytes, paid before each part leaves."""

import time
from collections.abc import Callable

BURST_S = 1.0  # so many seconds' worth may leave at once after a pause
LOOK_S = 1.0  # between two looks whether to go on, while waiting


class Bandwidth:
    """Lets so many bytes a second through; `wait` may return early when the node is to stop."""

    def __init__(
        self,
        bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args: `is_stopping` is asked while waiting; a node that stops waits for no bandwidth."""
        self._rate = bytes_per_second
        self._clock = clock
        self._wait = wait
        self._is_stopping = is_stopping
        self._tokens = bytes_per_second * BURST_S
        self._filled_at = clock()

    def await_room(self, size: int, may_go_on: Callable[[], bool]) -> bool:
        """Wait until `size` bytes may leave, and take them; False when not to go on came first.

        More than the bucket holds is let through when it is full, and paid for by the next ones.
        """
        needed = min(float(size), self._rate * BURST_S)
        while self._fill() < needed:
            if self._is_stopping() or not may_go_on():
                return False
            self._wait(min(LOOK_S, max(0.001, (needed - self._tokens) / self._rate)))
        self._tokens -= size
        return True

    def _fill(self) -> float:
        now = self._clock()
        earned = (now - self._filled_at) * self._rate
        self._tokens = min(self._rate * BURST_S, self._tokens + earned)
        self._filled_at = now
        return self._tokens
