"""What is known of each project that asks: its model, its switches, the words it last looked for.

Label Studio says the extra parameters only in /setup, which it sends when somebody opens a
project, so they are kept in a file across restarts. Tokens are kept in memory alone.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from lifelong.links.durable_files import write_whole

_MOST = 10_000  # projects; who has more forgets the one that was set up first
_WORDS = 1_000  # characters of a text prompt that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProject:
    """One project of Label Studio."""

    number: int | None
    extras: Mapping[str, Any] = field(default_factory=dict)  # as its backend was connected with
    words: str = ""  # the last text prompt, for tasks that bring none
    hostname: str = ""  # where Label Studio says that it is
    token: str = field(default="", repr=False)  # of whoever made the project


class Projects:
    """Every project that has asked, by its number; safe under threads."""

    def __init__(self, path: Path | None) -> None:
        """`path`: the file that is kept; None: nothing is."""
        self._path = path
        self._lock = threading.Lock()
        self._known = _kept(path)

    def get(self, number: int | None) -> KnownProject:
        """What is known of a project, which may be nothing."""
        with self._lock:
            return self._known.get(number) or KnownProject(number=number)

    def all(self) -> list[KnownProject]:
        """Every project, by its number."""
        with self._lock:
            return sorted(self._known.values(), key=lambda one: (one.number is None, one.number))

    def is_known(self, number: int | None) -> bool:
        """Whether it was ever set up here."""
        with self._lock:
            return number in self._known

    def set_up(
        self, number: int | None, *, extras: Mapping[str, Any], hostname: str, token: str
    ) -> KnownProject:
        """Take in what /setup said."""
        return self._change(number, extras=dict(extras), hostname=hostname, token=token)

    def remember_words(self, number: int | None, words: str) -> None:
        """Keep the last text prompt of a project."""
        if self.get(number).words != words[:_WORDS]:
            self._change(number, words=words[:_WORDS])

    def _change(self, number: int | None, **changes: Any) -> KnownProject:
        with self._lock:
            known = self._known.get(number) or KnownProject(number=number)
            changed = replace(known, **changes)
            self._known[number] = changed
            while len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
            if self._path is not None and _lasting(changed) != _lasting(known):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                lasting = [_lasting(one) for one in self._known.values()]
                write_whole(self._path, msgspec.json.encode({"schema": 1, "projects": lasting}))
            return changed


class _Lasting(msgspec.Struct, frozen=True):
    number: int | None = None
    extras: dict[str, Any] = {}
    words: str = ""


class _File(msgspec.Struct, frozen=True):
    schema: int
    projects: list[_Lasting]


def _lasting(known: KnownProject) -> _Lasting:
    return _Lasting(number=known.number, extras=dict(known.extras), words=known.words)


def _kept(path: Path | None) -> dict[int | None, KnownProject]:
    """What an earlier run left. A file that cannot be read costs no more than a text prompt and
    extra parameters that Label Studio says again: it is begun anew."""
    if path is None:
        return {}
    try:
        read = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if read.schema != 1:
        return {}
    return {
        one.number: KnownProject(number=one.number, extras=one.extras, words=one.words)
        for one in read.projects
    }
