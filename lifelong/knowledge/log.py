"""The log behind the knowledge base: numbered changes, each linked to the one before by hash.

    kb/log/00000042.json
    {"schema": 2, "number": 42, "why": "round 3: annotations",
     "previous": SHA-256 of change 41, "sha256": of this change,
     "records": [{"kind": "Sample", "salt": "…", "record": {…}}, {"kind": "Sample", "sha256": "…"}]}

The hash of a change is taken over its number, `previous`, `why` and the hashes of its entries. So
an entry can be emptied, when somebody wants to be forgotten, and the chain still holds: its hash
stays in its place, the record and its salt are gone. Without the salt nobody can try names
against the hash. Changes of schema 1, from before the chain, have no salt and no hashes of their
own; the first change of schema 2 links to the hash over all of them.
"""

import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lifelong.errors import BrokenChainError, CorruptRecordError, ObjectNotFoundError, RecordError
from lifelong.knowledge.known_records import Known, kind_named, refuse_unsafe, subject_of
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.wire import json_object, many_from_plain, to_plain

LOG = "kb/log"
FIRST_SCHEMA, SCHEMA = 1, 2
GENESIS = sha256_hex(b"")  # before the first change
MAX_BYTES = 256 * 2**20  # of one change; a larger one is refused before it is read


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a change as it lies in the log."""

    kind: str
    body: Any  # JSON-ready; None when it was forgotten
    salt: str
    sha256: str

    @property
    def is_forgotten(self) -> bool:
        """Only its hash is left."""
        return self.body is None

    @property
    def subject(self) -> str:
        """The sample that it is about; "" when it is about none, or was forgotten."""
        return subject_of(self.body)


@dataclass(frozen=True, slots=True)
class Change:
    """Records that became known together."""

    number: int
    why: str
    previous: str
    entries: tuple[Entry, ...]
    schema: int = SCHEMA

    @property
    def sha256(self) -> str:
        """What the next change links to."""
        entries = [entry.sha256 for entry in self.entries]
        return _hash([self.number, self.previous, self.why, entries])

    def records(self) -> list[Known]:
        """What it says, in order; forgotten entries say nothing.

        Raises:
            CorruptRecordError: a record cannot be read, or names a place outside of storage.
        """
        where = key_of(self.number)
        bodies: dict[str, list[Any]] = {}
        for entry in self.entries:
            if not entry.is_forgotten:
                bodies.setdefault(entry.kind, []).append(entry.body)
        found = {
            name: iter(many_from_plain(kind_named(name, where), of_kind, where))
            for name, of_kind in bodies.items()
        }
        records = [next(found[entry.kind]) for entry in self.entries if not entry.is_forgotten]
        for record in records:
            refuse_unsafe(record, where)
        return records

    def without(self, samples: Container[str]) -> "Change":
        """The change with its entries about these samples emptied; its hash is the same."""
        entries = tuple(
            Entry(entry.kind, None, "", entry.sha256) if entry.subject in samples else entry
            for entry in self.entries
        )
        return Change(self.number, self.why, self.previous, entries, self.schema)


def key_of(number: int) -> str:
    """Where a change lies."""
    return f"{LOG}/{number:08d}.json"


def change_of(
    number: int, previous: str, why: str, records: Sequence[Known], salt: Callable[[], str]
) -> Change:
    """A new change.

    Args:
        salt: a text by chance at each call.
    """
    entries = []
    for record in records:
        kind, body, grain = type(record).__name__, to_plain(record), salt()
        entries.append(Entry(kind, body, grain, _entry_hash(SCHEMA, kind, body, grain)))
    return Change(number, why, previous, tuple(entries))


def to_bytes(change: Change) -> bytes:
    """A change as it lies in storage.

    Raises:
        RecordError: it is larger than what is read.
    """
    plain: dict[str, Any] = {
        "schema": change.schema,
        "number": change.number,
        "why": change.why,
        "records": [_plain(entry, change.schema) for entry in change.entries],
    }
    if change.schema == SCHEMA:
        plain |= {"previous": change.previous, "sha256": change.sha256}
    try:
        data = json.dumps(plain, ensure_ascii=False, sort_keys=True).encode()
    except UnicodeEncodeError as error:  # half a surrogate pair in a name
        raise RecordError(f"{key_of(change.number)}: {error}") from error
    if len(data) > MAX_BYTES:
        raise RecordError(
            f"{key_of(change.number)}: {len(data)} bytes in one change, more than {MAX_BYTES}; "
            "add the records in several"
        )
    return data


def read_change(storage: Storage, number: int, previous: str) -> Change | None:
    """A change, checked against its own hash and the one before; None when there is none.

    Raises:
        CorruptRecordError: it cannot be read; names its key.
        BrokenChainError: it is not what was written, or does not follow the one before.
    """
    key = key_of(number)
    size = storage.size(key)  # also the cheapest question whether there is something new
    if size is None:
        return None
    if size > MAX_BYTES:
        raise CorruptRecordError(f"{key}: {size} bytes, more than the {MAX_BYTES} that are read")
    try:
        data = storage.get(key)
    except ObjectNotFoundError:
        return None
    return _change(json_object(data, key), number, previous, key)


def changes(storage: Storage, after: int, last: int, previous: str) -> Iterator[Change]:
    """The changes with numbers above `after`, up to `last`.

    Raises:
        CorruptRecordError: one is missing or cannot be read.
        BrokenChainError: one does not follow the one before.
    """
    for number in range(after + 1, last + 1):
        change = read_change(storage, number, previous)
        if change is None:
            raise BrokenChainError(
                f"{key_of(number)}: missing, though there are later changes; restore the object"
            )
        yield change
        previous = change.sha256


def last_number(storage: Storage) -> int:
    """The number of the newest change, 0 for an empty log.

    Raises:
        CorruptRecordError: something else lies in the log.
        BrokenChainError: a change is missing.
    """
    keys = list(storage.keys(LOG))
    for number, key in enumerate(keys, start=1):
        if key != key_of(number):
            if not key.removeprefix(f"{LOG}/").removesuffix(".json").isdecimal():
                raise CorruptRecordError(f"{key}: no change of ours; remove it")
            raise BrokenChainError(
                f"{key_of(number)}: missing, though there are later changes; restore the object"
            )
    return len(keys)


def _change(plain: dict[str, Any], number: int, previous: str, key: str) -> Change:
    schema = plain.get("schema")
    if schema not in (FIRST_SCHEMA, SCHEMA) or plain.get("number") != number:
        raise CorruptRecordError(
            f"{key}: expected change {number} of schema {SCHEMA}, got {plain.get('number')!r} of "
            f"{schema!r}; restore the object, or update Cornerloop"
        )
    listed, why = plain.get("records"), plain.get("why", "")
    if not isinstance(listed, list) or not isinstance(why, str):
        raise CorruptRecordError(f"{key}: no list of records; restore the object")
    entries = tuple(_entry(item, schema, key) for item in listed)
    change = Change(number, why, previous, entries, schema)
    if schema == SCHEMA and plain.get("previous") != previous:
        raise BrokenChainError(
            f"{key}: follows another change than {key_of(number - 1)} as it stands; one of the "
            "two was changed, restore them"
        )
    if schema == SCHEMA and plain.get("sha256") != change.sha256:
        raise BrokenChainError(f"{key}: is not what was written; restore the object")
    return change


def _entry(item: object, schema: int, key: str) -> Entry:
    if not isinstance(item, dict):
        raise CorruptRecordError(f"{key}: an entry is no object; restore the object")
    kind = kind_named(item.get("kind"), key).__name__
    body, salt, known = item.get("record"), item.get("salt", ""), item.get("sha256")
    if not isinstance(salt, str) or (body is None) == (known is None):
        raise CorruptRecordError(f"{key}: an entry has neither record nor hash, or both")
    if body is None:
        if not isinstance(known, str):
            raise CorruptRecordError(f"{key}: the hash of an entry is no text")
        return Entry(kind, None, "", known)
    return Entry(kind, body, salt, _entry_hash(schema, kind, body, salt))


def _plain(entry: Entry, schema: int) -> dict[str, Any]:
    if entry.is_forgotten:
        return {"kind": entry.kind, "sha256": entry.sha256}
    salted = {"salt": entry.salt} if schema == SCHEMA else {}
    return {"kind": entry.kind, "record": entry.body} | salted


def _entry_hash(schema: int, kind: str, body: object, salt: str) -> str:
    return _hash([kind, body] if schema == FIRST_SCHEMA else [kind, salt, body])


def _hash(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256_hex(text.encode("utf-8", "surrogatepass"))
