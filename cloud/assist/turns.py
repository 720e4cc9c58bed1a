"""Who computes next: a decoder before a picture clicked on, that before words, those before what
is embedded beforehand; each in threads of its own, the lower pausing while a higher is at work.

A second click takes tens of milliseconds and an encoder takes seconds, so a click must neither
wait for an encoder nor share the cores with it. Torch also keeps a team of threads for every
thread that calls it; these few threads are all that call it here, whoever asks.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any, Generic, TypeVar

from cloud.assist.retold import retold
from cloud.assist.work_book import RUNNING, Work
from lifelong.errors import LifelongError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Pause = Callable[[], None]


class Level(IntEnum):
    """What goes first; the lower number does."""

    DECODE = 0
    CLICK = 1  # somebody waits for the picture to be embedded
    WORDS = 2
    PREFETCH = 3


class WithdrawnError(LifelongError):
    """Nobody waits any longer for what was being computed."""


class Turn(Generic[_T]):
    """Something to be computed once, for all who wait for it."""

    def __init__(self, call: Callable[[Pause], _T], after: Callable[[], None] | None) -> None:
        self.call = call
        self.after = after
        self.waiting: dict[Work, Level] = {}  # who waits, and how urgently
        self.level = Level.PREFETCH
        self.is_running = False
        self.has_ended = False
        self.is_withdrawn = False
        self.answer: _T | None = None
        self.error: BaseException | None = None


class Turns:
    """The threads that compute; all methods may be called from any other thread."""

    def __init__(self, *, workers: int) -> None:
        """Args:
        workers: threads of each level; levels that pause hold memory but no core.
        """
        self._workers = workers
        self._changed = threading.Condition()
        self._queues: list[list[Turn[Any]]] = [[] for _ in Level]
        self._running: list[Turn[Any]] = []
        # Turns running at each level, for a look without the lock.
        self._at_work = [0] * len(Level)
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def do(self, level: Level, call: Callable[[Pause], _T], work: Work) -> _T:
        """Compute something for one who waits; raises what `call` raises.

        Raises:
            ModelBusyError: the work was cancelled.
        """
        return self.wait(self.submit(level, call, work), work)

    def submit(
        self, level: Level, call: Callable[[Pause], _T], work: Work,
        after: Callable[[], None] | None = None,
    ) -> Turn[_T]:  # fmt: skip
        """Put something into the queue.

        Args:
            level: how urgent it is.
            call: what to compute; is given a function to call now and then, which waits while
                something more urgent is at work and raises when nobody waits any longer.
            work: who waits.
            after: is called once those who wait have their answer; not for one withdrawn.
        """
        turn = Turn(call, after)
        with self._changed:
            self._start_threads()
            self._queues[level].append(turn)
            turn.level = level
            self._add(turn, work, level)
        return turn

    def join(self, turn: Turn[_T], work: Work, level: Level) -> bool:
        """Wait for a turn that somebody asked for before; False where it comes to nothing."""
        with self._changed:
            if turn.is_withdrawn or turn.error is not None:
                return False
            self._add(turn, work, level)
            return True

    def wait(self, turn: Turn[_T], work: Work) -> _T:
        """What the turn gave; raises what it raised.

        Raises:
            ModelBusyError: the work was cancelled.
        """
        work.woken.wait()
        self._leave(turn, work)
        work.must_go_on()
        if turn.error is not None:
            raise retold(turn.error) from None
        return turn.answer  # type: ignore[return-value]

    def close(self) -> None:
        """Let the threads end after what they are at; nothing may be asked for any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _add(self, turn: Turn[Any], work: Work, level: Level) -> None:
        work.woken.clear()
        turn.waiting[work] = level
        work.withdraw = lambda: self._leave(turn, work)
        if turn.has_ended or work.is_cancelled:
            work.woken.set()
        if turn.is_running:
            work.state = RUNNING
        self._place(turn)
        self._changed.notify_all()

    def _leave(self, turn: Turn[Any], work: Work) -> None:
        """One waits no longer; what nobody waits for is not computed, or not to its end."""
        with self._changed:
            turn.waiting.pop(work, None)
            work.withdraw = None
            if turn.has_ended:
                return
            if turn.waiting:
                self._place(turn)
                return
            turn.is_withdrawn = True
            with suppress(ValueError):
                self._queues[turn.level].remove(turn)
            self._changed.notify_all()

    def _place(self, turn: Turn[Any]) -> None:
        """Give a turn the level of the most urgent who wait for it."""
        level = min(turn.waiting.values())
        if level == turn.level:
            return
        if turn.is_running:
            self._at_work[turn.level] -= 1
            self._at_work[level] += 1
        elif not turn.has_ended:
            self._queues[turn.level].remove(turn)
            self._queues[level].append(turn)
        turn.level = level
        self._changed.notify_all()

    def _start_threads(self) -> None:
        if self._threads:
            return
        for level in Level:
            for number in range(self._workers):
                name = f"assist-{level.name.lower()}-{number}"
                thread = threading.Thread(target=self._work, args=(level,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self, level: Level) -> None:
        while (turn := self._next(level)) is not None:
            try:
                turn.answer = turn.call(lambda turn=turn: self._pause(turn))  # type: ignore[misc]
            except BaseException as error:
                turn.error = error
            self._ended(turn)
            if turn.after is not None and turn.error is None:
                try:
                    turn.after()
                except Exception:  # nobody waits for it, and the thread must live
                    logger.exception("what follows an answer failed")
            del turn  # else its answer would live until the next one comes

    def _next(self, level: Level) -> Turn[Any] | None:
        queue = self._queues[level]
        with self._changed:
            while not queue:
                if self._is_closed:
                    return None
                self._changed.wait()
            turn = queue.pop(0)
            turn.is_running = True
            self._at_work[turn.level] += 1
            for work in turn.waiting:
                work.state = RUNNING
            return turn

    def _ended(self, turn: Turn[Any]) -> None:
        with self._changed:
            self._at_work[turn.level] -= 1
            turn.is_running, turn.has_ended = False, True
            for work in turn.waiting:
                work.woken.set()
            self._changed.notify_all()

    def _pause(self, turn: Turn[Any]) -> None:
        if not turn.is_withdrawn and not any(self._at_work[: turn.level]):
            return
        with self._changed:
            while any(self._at_work[: turn.level]) and not turn.is_withdrawn:
                self._changed.wait()
            if turn.is_withdrawn:
                raise WithdrawnError("nobody waits for it any longer")
