"""Pictures that are embedded while nobody waits for a click, one after another.

Looking at a picture may mean fetching it, so that too is done here and not by whoever asks.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from annotation.assist.segmenter import Picture
from cloud.assist.embeddings import Embeddings
from cloud.assist.interactive_model import InteractiveModel
from cloud.assist.turns import Level
from cloud.assist.work_book import CANCELLED, DONE, FAILED, RUNNING, WAITING, Work, WorkBook
from lifelong.errors import LifelongError

KIND = "embed"
# Annotators who are faster than the encoder leave more behind than is ever wanted.
_MOST_WAITING = 64


_THERE, _EMBEDDED, _FAILED = "were there", "embedded", "failed"


@dataclass(eq=False, slots=True)
class _List:
    """Pictures to be embedded, and how it went so far."""

    work: Work
    pictures: Iterator[Picture]
    model: Callable[[], InteractiveModel]
    parts: list[Work] = field(default_factory=list)  # of the pictures at work
    is_used_up: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    why: str = ""  # of the first failure

    def withdraw(self) -> None:
        """Take back the pictures at work."""
        for part in list(self.parts):
            part.is_cancelled = True
            if part.withdraw is not None:
                part.withdraw()
            part.woken.set()

    def words(self) -> str:
        """How it went, in one line."""
        counts = [f"{self.outcomes[kind]} {kind}" for kind in (_EMBEDDED, _THERE)]
        if self.outcomes[_FAILED]:
            counts.append(f"{self.outcomes[_FAILED]} {_FAILED}: {self.why}")
        return ", ".join(counts)


class Prefetching:
    """Lists of pictures in the order they came, `threads` pictures at a time."""

    def __init__(self, embeddings: Embeddings, book: WorkBook, *, threads: int) -> None:
        self._embeddings, self._book, self._count = embeddings, book, threads
        self._changed = threading.Condition()
        self._next_picture = threading.Lock()
        self._lists: deque[_List] = deque()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def begin(
        self, pictures: Iterable[Picture], *, subject: str, model: Callable[[], InteractiveModel]
    ) -> str:
        """Put pictures into the queue; the work's id, "" of a list that is empty."""
        known = pictures if isinstance(pictures, (list, tuple)) else None
        if known is not None and not known:
            return ""
        work = self._book.begin(KIND, subject, total=len(known or ()))
        with self._changed:
            mine = _List(work, iter(pictures), model)
            work.withdraw = mine.withdraw
            self._lists.append(mine)
            stale = [each for each in self._lists if each.work.state == WAITING]
            for old in stale[: max(0, len(stale) - _MOST_WAITING)]:
                self._lists.remove(old)
                self._book.end(old.work, CANCELLED, "others came before its turn did")
            while len(self._threads) < self._count:
                name = f"assist-ahead-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
        return work.work_id

    def close(self) -> None:
        """Take back what waits, and wait for what is at work."""
        with self._changed:
            self._is_closed = True
            lists, threads = list(self._lists), list(self._threads)
            self._changed.notify_all()
        for each in lists:
            self._book.cancel(each.work.work_id)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._lists:
                    if self._is_closed:
                        return
                    self._changed.wait()
                mine = self._lists[0]
                self._lists.rotate(-1)  # a long list does not keep a short one waiting
                mine.work.state = RUNNING
                part = Work(KIND, mine.work.subject, 1, mine.work.since, state=RUNNING)
                mine.parts.append(part)
            outcome = self._embed_one(mine, part)
            with self._changed:
                self._ended(mine, part, outcome)

    def _embed_one(self, mine: _List, part: Work) -> str:
        """How it went with the list's next picture; "" where there is none."""
        try:
            picture = self._next(mine)
            if picture is None or mine.work.is_cancelled:
                return ""
            model = mine.model()
            if self._embeddings.are_there(picture, model):
                return _THERE
            self._embeddings.of(picture, model, level=Level.PREFETCH, work=part)
        except Exception as error:
            # One picture that cannot be had does not keep the others waiting.
            if part.is_cancelled:
                return ""
            known = isinstance(error, LifelongError)
            mine.why = mine.why or (str(error) if known else f"{type(error).__name__}: {error}")
            return _FAILED
        return _EMBEDDED

    def _next(self, mine: _List) -> Picture | None:
        with self._next_picture:
            if mine.is_used_up:
                return None
            mine.is_used_up = True  # should it fail, or have no more
            picture = next(mine.pictures, None)
            mine.is_used_up = picture is None or mine.work.is_cancelled
            return picture

    def _ended(self, mine: _List, part: Work, outcome: str) -> None:
        mine.parts.remove(part)
        work = mine.work
        if outcome:
            mine.outcomes[outcome] += 1
            work.done += 1
            work.total = max(work.total, work.done)
        work.words = mine.words()
        mine.is_used_up = mine.is_used_up or work.is_cancelled
        if mine.is_used_up and mine in self._lists:
            self._lists.remove(mine)
        if mine.is_used_up and not mine.parts:
            state = FAILED if mine.outcomes[_FAILED] else DONE
            self._book.end(work, CANCELLED if work.is_cancelled else state, mine.words())
