"""What the service stands on, looked at by a thread of its own: Label Studio, disks, audit log.

Nothing of it is asked in a request: a Label Studio that hangs would make `/readyz` hang.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lifelong.errors import LifelongError

logger = logging.getLogger(__name__)

PAUSE_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found; what nobody asked for, or knows yet, is None or absent."""

    label_studio: bool | None = None  # does it answer?
    label_studio_words: str = ""  # why it does not
    free_bytes: Mapping[str, int] = field(default_factory=dict)  # by place
    audit_entries: int | None = None


class Surroundings:
    """Looks again and again; `seen` never waits."""

    def __init__(
        self,
        *,
        label_studio: Callable[[], None] | None = None,
        places: Mapping[str, Path] | None = None,
        audit_entries: Callable[[], int] | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            label_studio: asks it something cheap, raises a LifelongError when it does not
                answer; None: nobody needs one.
            places: folders that are written to, by name.
            audit_entries: how many there are.
        """
        self._label_studio = label_studio
        self._places = dict(places or {})
        self._audit_entries = audit_entries
        self._beat = beat
        self.seen = Seen()

    def look(self) -> Seen:
        """Ask everything once."""
        answers, words = None, ""
        if self._label_studio is not None:
            try:
                self._label_studio()
                answers = True
            except LifelongError as error:
                answers, words = False, str(error)
        if words and words != self.seen.label_studio_words:
            logger.warning("Label Studio does not answer: %s", words)
        self.seen = Seen(
            label_studio=answers,
            label_studio_words=words,
            free_bytes={
                name: free for name, path in self._places.items() if (free := _free(path)) >= 0
            },
            audit_entries=self._counted(),
        )
        return self.seen

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while True:
            self._beat()
            self.look()
            if stop.wait(PAUSE_S):
                return

    def _counted(self) -> int | None:
        if self._audit_entries is None:
            return None
        try:
            return self._audit_entries()
        except LifelongError:
            return None  # storage is away; the watch says so


def _free(path: Path) -> int:
    """Free bytes where `path` lies or will lie; -1 where that cannot be told."""
    there = next((one for one in (path, *path.parents) if one.exists()), None)
    try:
        return shutil.disk_usage(there).free if there is not None else -1
    except OSError:
        return -1
