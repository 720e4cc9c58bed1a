"""Who looks at the audit log for the page of admins, so that no request waits for storage."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cloud.audit_log import AuditEntry, AuditLog, ChainState
from lifelong.errors import LifelongError

logger = logging.getLogger(__name__)

SHOWN = 200  # newest entries; `cornerloop audit list` has all
_LOOKS_S = 5.0  # between two questions for new entries
_CHECKS = timedelta(hours=6)  # between two readings of the whole chain


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSeen:
    """The audit log as it was at the last look."""

    entries: Sequence[AuditEntry] = ()  # newest first
    count: int = 0
    chain: ChainState | None = None  # None: the whole chain has not been read yet
    checked_at: datetime | None = None
    trouble: str = ""  # why this may be old, in words


class AuditWatch:
    """Reads the newest entries again and again, and the whole chain now and then."""

    def __init__(self, log: AuditLog, now: Callable[[], datetime]) -> None:
        self._log = log
        self._now = now
        self._seen = AuditSeen()

    def seen(self) -> AuditSeen:
        """The last look; does not wait."""
        return self._seen

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            self.refresh()
            stop.wait(_LOOKS_S)

    def refresh(self) -> None:
        """Look once; a storage that is away is told on the page."""
        try:
            entries = self._log.newest(SHOWN)
            count = entries[0].number if entries else 0
            self._seen = replace(self._seen, entries=entries, count=count, trouble="")
            checked = self._seen.checked_at
            if checked is None or self._now() - checked >= _CHECKS:
                self.check()
        except LifelongError as error:
            self._seen = replace(self._seen, trouble=str(error))

    def check(self) -> None:
        """Read the whole chain.

        Raises:
            StorageError: it cannot be read.
        """
        state = self._log.verify()
        if not state.is_whole:
            logger.error("the audit log is not whole: %s", state.trouble)
        self._seen = replace(self._seen, chain=state, checked_at=self._now())
