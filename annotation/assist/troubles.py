"""What went wrong lately, in words and with an id: the smart tool itself shows nothing of it.

Label Studio drops the answer of a failed click, so the words go to the log, into the answer for
whoever calls the API, and on to the page of the assist.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One question that got no answer."""

    trouble_id: str
    at: float  # seconds since the epoch
    project: int | None
    task: int | None
    kind: str  # name of the error
    words: str


class Troubles:
    """The last hundred, newest first; safe under threads."""

    def __init__(self, *, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._now, self._new_id = now, new_id
        self._lock = threading.Lock()
        self._last: deque[Trouble] = deque(maxlen=_KEPT)

    def note(self, error: Exception, *, project: int | None, task: int | None) -> Trouble:
        """Remember and log an error whose message is meant for people."""
        trouble = Trouble(
            trouble_id=self._new_id(),
            at=self._now(),
            project=project,
            task=task,
            kind=type(error).__name__,
            words=str(error),
        )
        with self._lock:
            self._last.appendleft(trouble)
        logger.warning(
            "no answer %s: project %s, task %s: %s: %s",
            trouble.trouble_id, project, task, trouble.kind, trouble.words,
        )  # fmt: skip
        return trouble

    def last(self) -> list[Trouble]:
        """Newest first."""
        with self._lock:
            return list(self._last)
