"""`Errand`: one slow job at a time beside the frames, so that a slow link never holds one up."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Errand:
    """Runs a job in a thread of its own, or in place when `inline`; never two at once."""

    def __init__(self, name: str, *, inline: bool = False) -> None:
        self._name = name
        self._inline = inline
        self._thread: threading.Thread | None = None

    @property
    def is_under_way(self) -> bool:
        """Is the last job still running?"""
        return self._thread is not None and self._thread.is_alive()

    def start(self, job: Callable[[], None]) -> bool:
        """Start `job` unless one is under way; says whether it did."""
        if self.is_under_way:
            return False
        if self._inline:
            job()
            return True
        # Daemon: a job that hangs on a dead link must not keep the process from ending. All that
        # jobs write is whole or absent, so they may be cut anywhere.
        self._thread = threading.Thread(
            target=self._guarded, args=(job,), name=self._name, daemon=True
        )
        self._thread.start()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the job under way; says whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.is_under_way

    def _guarded(self, job: Callable[[], None]) -> None:
        # The loop of a thread: what escapes here would vanish, and the node would go on without
        # uploads or updates until somebody looks. Logged, and tried again at the next start.
        try:
            job()
        except Exception:
            logger.exception("%s failed; the next one starts afresh", self._name)
