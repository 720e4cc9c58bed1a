"""What is being done and what was done lately, in words; and how work is taken back."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from annotation.assist.segmenter import WorkItem
from lifelong.errors import LifelongError, ModelBusyError

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"

_KEPT_SECONDS = 600.0
_KEPT_OF_A_KIND = 50  # clicks come by the hundred, and must not push out what else ended


@dataclass(eq=False, slots=True)
class Work:
    """One entry; whoever does the work tells it how far it is."""

    kind: str
    subject: str
    total: int
    since: float
    work_id: str = field(default_factory=lambda: uuid4().hex[:12])
    state: str = WAITING
    done: int = 0
    words: str = ""
    is_cancelled: bool = False
    # Set when what this work waits for has come, or when it was cancelled.
    woken: threading.Event = field(default_factory=threading.Event)
    # Tells the one who computes that this work waits no longer.
    withdraw: Callable[[], None] | None = None

    def must_go_on(self) -> None:
        """Ends work that was cancelled.

        Raises:
            ModelBusyError: it was.
        """
        if self.is_cancelled:
            raise ModelBusyError(f"{self.subject}: cancelled; ask again if it is wanted after all")

    def item(self) -> WorkItem:
        """The entry for people."""
        return WorkItem(
            work_id=self.work_id, kind=self.kind, subject=self.subject, state=self.state,
            done=self.done, total=self.total, words=self.words, since=self.since,
        )  # fmt: skip


class WorkBook:
    """All work under way, and for a while what ended."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Args:
        clock: seconds since the epoch.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Work] = {}
        self._ended: dict[str, deque[tuple[float, Work]]] = {}

    def begin(self, kind: str, subject: str, *, total: int = 1, state: str = WAITING) -> Work:
        """A new entry."""
        work = Work(kind=kind, subject=subject, total=total, since=self._clock(), state=state)
        with self._lock:
            self._open[work.work_id] = work
        return work

    def end(self, work: Work, state: str, words: str = "") -> None:
        """Close an entry; once closed it stays as it is."""
        with self._lock:
            if self._open.pop(work.work_id, None) is None:
                return
            work.state, work.words = state, words
            kept = self._ended.setdefault(work.kind, deque(maxlen=_KEPT_OF_A_KIND))
            kept.append((self._clock(), work))

    def end_by(self, work: Work, error: BaseException | None) -> None:
        """Close an entry as what it raised says; None: it went well."""
        if error is None:
            work.done = work.total
            self.end(work, DONE)
        elif work.is_cancelled:
            self.end(work, CANCELLED)
        else:
            known = isinstance(error, LifelongError)
            self.end(work, FAILED, str(error) if known else f"{type(error).__name__}: {error}")

    def cancel(self, work_id: str) -> bool:
        """Take work back; False where no such work is under way."""
        with self._lock:
            work = self._open.get(work_id)
            if work is None or work.is_cancelled:
                return False
            work.is_cancelled = True
            withdraw = work.withdraw
        if withdraw is not None:
            withdraw()
        work.woken.set()
        return True

    def items(self) -> list[WorkItem]:
        """Newest first."""
        with self._lock:
            oldest = self._clock() - _KEPT_SECONDS
            for kept in self._ended.values():
                while kept and kept[0][0] < oldest:
                    kept.popleft()
            ended = [work for kept in self._ended.values() for _, work in kept]
            found = [work.item() for work in (*self._open.values(), *ended)]
        return sorted(found, key=lambda item: item.since, reverse=True)

    def waiting(self, kind: str) -> list[Work]:
        """Open entries of a kind that nobody has begun with, oldest first."""
        with self._lock:
            return [w for w in self._open.values() if w.kind == kind and w.state == WAITING]
