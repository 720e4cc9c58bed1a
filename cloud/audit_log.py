"""The audit log: who did what to the fleet, in entries that are linked by hash.

    audit/00000042.json
    {"schema": 1, "number": 42, "at": "2026-11-22T08:00:00+00:00", "who": "ada",
     "what": "release.rolled_back", "facts": {…}, "mark": 16 hex digits by chance,
     "previous": SHA-256 of entry 41, "sha256": of this entry}

The hash of an entry is taken over everything else in it. So nobody changes, removes or inserts
one without giving it away, unless they write all later ones anew as well. Against that a witness
helps: a file on the machine that recorded, outside of storage, with the newest hash it knows.
Whoever can write to storage may still append an entry; the log says what was recorded, it does
not sign it.
"""

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from lifelong.errors import (
    AuditUnavailableError,
    ObjectExistsError,
    ObjectNotFoundError,
    RecordError,
    StorageError,
)
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import JSONValue
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex

FOLDER = "audit"
SCHEMA = 1
GENESIS = sha256_hex(b"")  # before the first entry
MAX_BYTES = 64 * 1024  # of one entry; facts are few and short
_WHAT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_NUMBERED = re.compile(r"audit/([0-9]{8,})\.json")
# What a secret is called, and what ours look like (`cloud/access/tokens.py`).
_SECRET_NAMES = frozenset({"token", "password", "secret", "cookie", "code", "csrf"})
_SECRET = re.compile(r"clp[a-z]?_[A-Za-z0-9_-]{20,}")
_REMEMBERED = 500  # entries kept in memory; they never change


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did."""

    number: int
    at: str  # ISO 8601, UTC, by the clock of who recorded it
    who: str  # the name of a token, or whose terminal it was
    what: str  # noun.verb in the past tense
    facts: Mapping[str, JSONValue]
    mark: str
    previous: str
    trouble: str = ""  # why the object under this number says nothing; the rest is empty then

    @property
    def sha256(self) -> str:
        """What the next entry links to."""
        told = [self.number, self.at, self.who, self.what, self.facts, self.mark, self.previous]
        text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return sha256_hex(text.encode("utf-8", "surrogatepass"))

    def to_plain(self) -> dict[str, Any]:
        """As it lies in storage, and as `cornerloop audit list --json` prints it."""
        plain = {name: getattr(self, name) for name in ("number", "at", "who", "what", "mark")}
        plain |= {"facts": dict(self.facts), "previous": self.previous}
        return {"schema": SCHEMA, **plain, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """What a look at the whole chain found."""

    entries: int  # how many lie there
    sha256: str  # of the newest good one
    first_bad: int | None  # number of the first entry that is not as it was recorded
    trouble: str  # what is wrong with it; "" for a whole chain

    @property
    def is_whole(self) -> bool:
        """Is everything as it was recorded?"""
        return not self.trouble


class Recorder(Protocol):
    """Where an action is recorded before it is carried out."""

    def record(self, who: str, what: str, **facts: JSONValue) -> AuditEntry:
        """Write an entry; see `AuditLog.record`."""


class AuditLog:
    """Records, pages and checks entries; safe for threads, and for several processes at once."""

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], datetime],
        *,
        witness: Path | None = None,
        mark: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """
        Args:
            witness: a file on this machine that remembers the newest entry.
            mark: 16 hex digits by chance at each call.
        """
        self._storage = storage
        self._now = now
        self._witness = witness
        self._mark = mark
        self._lock = threading.Lock()
        self._last: tuple[int, str] | None = None  # number and hash of the newest entry seen
        self._known: dict[int, AuditEntry] = {}

    def record(self, who: str, what: str, **facts: JSONValue) -> AuditEntry:
        """Write down that `who` does `what`; call it before the action.

        Args:
            what: noun.verb in the past tense, e.g. "release.rolled_back".
            facts: JSON values; never a secret.

        Raises:
            AuditUnavailableError: storage did not take it; do nothing, and try again.
            RecordError: a name, verb or fact that does not belong into the log.
        """
        _check(who, what, facts)
        told = {name: _without_secrets(value) for name, value in facts.items()}
        at, mark = self._now().isoformat(), self._mark()
        try:
            with self._lock:
                entry = self._append(at, _without_secrets(who), what, told, mark)
        except StorageError as error:
            raise AuditUnavailableError(
                f"{what} was not done: it could not be written to the audit log ({error}); try "
                "again when storage answers"
            ) from error
        return entry

    def newest(self, count: int = 50, *, before: int | None = None) -> list[AuditEntry]:
        """Entries, the newest first; reads no more than these.

        Args:
            before: only entries with smaller numbers; None for the newest of all.

        Raises:
            StorageError: storage cannot be read.
        """
        last = self.count()
        end = last if before is None else min(last, before - 1)
        found = []
        for number in range(end, max(0, end - count), -1):
            entry = self._known.get(number) or self._remembered(self._read(number))
            found.append(entry)
        return found

    def count(self) -> int:
        """The number of the newest entry; 0 for none yet."""
        with self._lock:
            return self._newest()[0]

    def verify(self) -> ChainState:
        """Read the whole chain, and name the first entry that is not as it was recorded.

        Raises:
            StorageError: storage cannot be read.
        """
        keys = list(self._storage.keys(FOLDER))
        previous = GENESIS
        for number, key in enumerate(keys, start=1):
            trouble, entry = "", None
            if key != key_of(number):
                trouble = _out_of_place(key, number)
            else:
                entry = self._read(number)
                trouble = entry.trouble or self._broken_link(entry, previous)
            if trouble or entry is None:
                return _broken(len(keys), previous, number, trouble)
            previous = entry.sha256
        return self._against_witness(len(keys), previous)

    def accept(self, who: str) -> AuditEntry:
        """Let this machine's witness take the chain as it stands, e.g. after a restore; recorded.

        What is broken in the chain itself stays broken.

        Raises:
            AuditUnavailableError: storage did not take the entry.
            RecordError: there is no name.
        """
        seen = self._witnessed()
        entry = self.record(who, "audit.accepted", witnessed=seen[0] if seen else 0)
        self._remember_outside(entry, anyhow=True)
        return entry

    def _append(
        self, at: str, who: str, what: str, facts: Mapping[str, JSONValue], mark: str
    ) -> AuditEntry:
        while True:
            number, previous = self._newest()
            entry = AuditEntry(
                number=number + 1,
                at=at,
                who=who,
                what=what,
                facts=facts,
                mark=mark,
                previous=previous,
            )
            data = _to_bytes(entry)
            try:
                self._storage.put_if_absent(key_of(entry.number), data)
            except ObjectExistsError:
                # Somebody else was faster; or it is ours, and only the answer was lost.
                if self._read(entry.number).mark != mark:
                    continue
            self._last = (entry.number, entry.sha256)
            self._remember_outside(entry)
            return self._remembered(entry)

    def _newest(self) -> tuple[int, str]:
        """Number and hash of the newest entry; lists all keys only once a process."""
        if self._last is None:
            numbers = [
                int(found[1])
                for key in self._storage.keys(FOLDER)
                if (found := _NUMBERED.fullmatch(key))
            ]
            last = max(numbers, default=0)
            self._last = (last, self._link_of(last)) if last else (0, GENESIS)
        while self._storage.exists(key_of(self._last[0] + 1)):
            number = self._last[0] + 1
            self._last = (number, self._link_of(number))
        return self._last

    def _link_of(self, number: int) -> str:
        """What the next entry links to; a damaged entry keeps nobody from recording."""
        entry = self._read(number)
        return entry.sha256 if not entry.trouble else sha256_hex(entry.trouble.encode())

    def _read(self, number: int) -> AuditEntry:
        key = key_of(number)
        try:
            size = self._storage.size(key)
            if size is not None and size > MAX_BYTES:
                return _nothing(number, f"{key}: {size} bytes, more than an entry has")
            return _entry(number, self._storage.get(key))
        except ObjectNotFoundError:
            return _nothing(number, f"{key}: removed, though there are later entries")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return _nothing(number, f"{key}: cannot be read, it was changed ({error})")

    def _broken_link(self, entry: AuditEntry, previous: str) -> str:
        if entry.previous == previous:
            return ""
        before = key_of(entry.number - 1) if entry.number > 1 else "nothing"
        return (
            f"{key_of(entry.number)}: does not follow {before} as it stands; one of the two was "
            "changed, or an entry between them removed or inserted"
        )

    def _against_witness(self, count: int, newest: str) -> ChainState:
        seen = self._witnessed()
        if seen is not None and seen[0] > count:
            trouble = f"{key_of(count + 1)}: removed; {seen[0]} entries were recorded here"
            return _broken(count, newest, count + 1, trouble)
        if seen is not None and self._read(seen[0]).sha256 != seen[1]:
            trouble = (
                f"{key_of(seen[0])}: not the entry that was recorded here; it and maybe earlier "
                "ones were written anew"
            )
            return _broken(count, newest, seen[0], trouble)
        return ChainState(entries=count, sha256=newest, first_bad=None, trouble="")

    def _witnessed(self) -> tuple[int, str] | None:
        if self._witness is None:
            return None
        try:
            plain = json.loads(self._witness.read_bytes())
            return int(plain["number"]), str(plain["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember_outside(self, entry: AuditEntry, *, anyhow: bool = False) -> None:
        if self._witness is None:
            return
        seen = self._witnessed()
        if not anyhow and seen is not None and seen[0] > entry.number:
            return  # another process of this machine was further
        try:
            self._witness.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            plain = {"number": entry.number, "sha256": entry.sha256}
            write_whole(self._witness, json.dumps(plain).encode())
            self._witness.chmod(0o600)  # as all in its folder; the doctor looks
        except OSError:  # the entry is in storage; a full disk here must not undo that
            return

    def _remembered(self, entry: AuditEntry) -> AuditEntry:
        if not entry.trouble:
            while len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)), None)
            self._known[entry.number] = entry
        return entry


def key_of(number: int) -> str:
    """Where an entry lies."""
    return f"{FOLDER}/{number:08d}.json"


def _check(who: str, what: str, facts: Mapping[str, JSONValue]) -> None:
    if not who.strip() or len(who) > 200:
        raise RecordError(
            f"audit log: {who[:50]!r} did {what}: expected a name of 1 to 200 letters"
        )
    if not _WHAT.fullmatch(what):
        raise RecordError(f"audit log: {what!r}: expected noun.verb, e.g. 'release.rolled_back'")
    for name in facts:
        if name in _SECRET_NAMES:
            raise RecordError(f"audit log: {what}: {name!r} names a secret; record its id instead")


def _without_secrets(value: Any) -> Any:
    """The value with whatever looks like a secret of ours struck out, at any depth."""
    if isinstance(value, str):
        return _SECRET.sub("clp_…", value)
    if isinstance(value, dict):
        return {_without_secrets(str(k)): _without_secrets(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return value


def _to_bytes(entry: AuditEntry) -> bytes:
    try:
        text = json.dumps(entry.to_plain(), ensure_ascii=False, sort_keys=True, allow_nan=False)
        data = text.encode()
    except (TypeError, ValueError) as error:  # not JSON, NaN, or half a surrogate pair
        raise RecordError(f"audit log: {entry.what}: {error}") from error
    if len(data) > MAX_BYTES:
        raise RecordError(f"audit log: {entry.what}: {len(data)} bytes, more than {MAX_BYTES}")
    return data


def _entry(number: int, data: bytes) -> AuditEntry:
    """
    Raises:
        ValueError, KeyError, TypeError: it is not what was written.
    """
    plain = json.loads(data)
    if plain["schema"] != SCHEMA or plain["number"] != number or set(plain) != _FIELDS:
        raise ValueError(f"expected entry {number} of schema {SCHEMA}")
    texts = {name: plain[name] for name in ("at", "who", "what", "mark", "previous")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a field is no text")
    if not isinstance(plain["facts"], dict):
        raise ValueError("its facts are no object")
    entry = AuditEntry(number=number, facts=plain["facts"], **texts)
    if entry.sha256 != plain["sha256"]:
        raise ValueError("its hash is another one")
    return entry


_FIELDS = {"schema", "number", "at", "who", "what", "mark", "facts", "previous", "sha256"}


def _nothing(number: int, trouble: str) -> AuditEntry:
    return AuditEntry(
        number=number, at="", who="", what="", facts={}, mark="", previous="", trouble=trouble
    )


def _out_of_place(key: str, number: int) -> str:
    found = _NUMBERED.fullmatch(key)
    if found and int(found[1]) > number:
        return f"{key_of(number)}: removed, though there are later entries"
    return f"{key}: inserted; no entry of ours has this name"


def _broken(entries: int, newest: str, number: int, trouble: str) -> ChainState:
    return ChainState(entries=entries, sha256=newest, first_bad=number, trouble=trouble)
