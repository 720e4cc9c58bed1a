"""A source with an end and a pace: so many frames, and no more than so many a second."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from lifelong.records.pixels import Frame

LOOK_S = 0.2  # the node does its other duties so often while no frame is due


class Frames(Protocol):
    """A source, as the node has it."""

    @property
    def unreadable(self) -> int: ...

    @property
    def passed_over(self) -> int: ...

    @property
    def trouble(self) -> str: ...

    def __iter__(self) -> Iterator[Frame | None]: ...

    def remember(self, frame: Frame) -> None: ...


class LimitedFrames:
    """The frames of another source until there were enough of them, and not faster than told."""

    def __init__(
        self,
        frames: Frames,
        *,
        at_most: int,
        per_second: float | None,
        wait: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            at_most: frames; 0: all.
            per_second: frames a second at most; None: as they come.
            wait: pauses for some seconds, shorter when the node is to stop.
        """
        self._frames = frames
        self._at_most = at_most
        self._pause_s = 0.0 if per_second is None else 1.0 / per_second
        self._wait, self._clock = wait, clock

    @property
    def unreadable(self) -> int:
        """As the source counts them."""
        return self._frames.unreadable

    @property
    def passed_over(self) -> int:
        """As the source counts them."""
        return self._frames.passed_over

    @property
    def trouble(self) -> str:
        """As the source tells it."""
        return self._frames.trouble

    def remember(self, frame: Frame) -> None:
        """As the source does it."""
        self._frames.remember(frame)

    def __iter__(self) -> Iterator[Frame | None]:
        inner = iter(self._frames)
        taken, due = 0, self._clock()
        while not self._at_most or taken < self._at_most:
            now = self._clock()
            if now < due:
                self._wait(min(due - now, LOOK_S))
                yield None
                continue
            try:
                # Asked for when it is due: of a camera it is then the newest one.
                frame = next(inner)
            except StopIteration:
                return
            if frame is not None:
                taken += 1
                due = now + self._pause_s  # what was late is not made up for
            yield frame
