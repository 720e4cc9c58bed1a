"""`Stop`: the wish to end, set by a signal or a test, and waits that it cuts short."""

import time
from collections.abc import Callable

_SLICE_S = 0.05


class Stop:
    """A flag that a signal handler may set at any instant.

    Not a `threading.Event`: its lock may be held by the very code that the signal interrupts.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._requested = False
        self._sleep = sleep

    def is_requested(self) -> bool:
        """Has anybody asked to end?"""
        return self._requested

    def request(self) -> None:
        """Ask to end after the frame at hand."""
        self._requested = True

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than until somebody asks to end."""
        left = seconds
        while left > 0 and not self._requested:
            self._sleep(min(left, _SLICE_S))
            left -= _SLICE_S
