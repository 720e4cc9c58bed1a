"""What a backup is: objects named by their content, and one record, written last, that lists them.

    cornerloop-backup.json     the record; a place without one holds no whole backup
    objects/ab/abcdef…         bytes, under the SHA-256 of them
    lock/00000001.json         who writes here at present

There is no archive: what is listed is checked one object at a time, and nothing is unpacked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifelong.errors import (
    ConfigError,
    CorruptRecordError,
    ObjectNotFoundError,
    RecordError,
)
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.trainings import CodeVersion
from lifelong.records.wire import from_json, json_object, to_json

RECORD = "cornerloop-backup.json"
OBJECTS = "objects"
LOCK = "lock"
SCHEMA = 1  # of what a backup holds and means; a newer one is not restored by an older program


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object or file."""

    part: str  # "storage", "journal" …: see `cloud/backup/parts.py`
    key: str  # in its part, always with "/"
    sha256: str  # 64 hex digits, of its bytes
    size: int  # bytes
    mark: str  # as its place tells of it; the same mark means the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """All that a backup holds; items in the order they were read in: what points before what is
    pointed at. Restoring goes through them backwards."""

    layout: int  # SCHEMA
    backup_id: str  # another one each time
    began_at: datetime  # UTC
    ended_at: datetime
    software: CodeVersion
    storage: str  # its address, for people
    config: str  # the key of the configuration file in part "config"; "" without one
    lease: int  # the newest term, 0 without one
    release: int  # the newest number, 0 without one
    round_number: int  # the newest, 0 without one
    items: tuple[Item, ...]
    left_out: tuple[str, ...] = ()  # what is not in it, and why, in words
    folders: tuple[str, ...] = ()  # names of `--folder`

    @property
    def size(self) -> int:
        """Bytes, twins counted once."""
        return sum({item.sha256: item.size for item in self.items}.values())


def object_key(sha256: str) -> str:
    """Where bytes lie in a backup."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def write_record(place: Storage, record: BackupRecord) -> None:
    """Make the backup whole."""
    place.put(RECORD, to_json(record, sealed=True))


def read_record(place: Storage) -> BackupRecord:
    """The record of a whole backup.

    Raises:
        ConfigError: there is none: nothing was ever backed up here, or it did not come to its end.
        CorruptRecordError: it was damaged, or a newer program wrote it.
    """
    where = f"{place.url}/{RECORD}"
    try:
        data = place.get(RECORD)
    except ObjectNotFoundError as error:
        raise ConfigError(
            f"{place.url}: no whole backup lies there; where one was interrupted, "
            "`cornerloop backup` into the same place goes on with it"
        ) from error
    body = json_object(data, where).get("record")
    layout = body.get("layout") if isinstance(body, dict) else None
    if isinstance(layout, int) and layout > SCHEMA:
        raise CorruptRecordError(
            f"{where}: a backup of layout {layout}, this program knows up to {SCHEMA}; restore it "
            "with the version of Cornerloop that made it, or a newer one"
        )
    return from_json(BackupRecord, data, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How the objects of a backup stand beside its record."""

    backup_id: str
    objects: int
    size: int  # bytes
    missing: tuple[str, ...]  # "part: key"
    damaged: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Can everything be restored?"""
        return not self.missing and not self.damaged


def verify(
    place: Storage, tell: Callable[[str, int], object] = lambda what, done: None
) -> Verified:
    """Read every object of a backup and hash it again.

    Raises:
        ConfigError, CorruptRecordError: there is no record to compare with.
    """
    record = read_record(place)
    names: dict[str, list[str]] = {}
    for item in record.items:
        names.setdefault(item.sha256, []).append(f"{item.part}: {item.key}")
    missing: list[str] = []
    damaged: list[str] = []
    for done, (sha256, told) in enumerate(names.items(), start=1):
        tell("objects", done)
        try:
            data = place.get(object_key(sha256))
        except ObjectNotFoundError:
            missing += told
            continue
        if sha256_hex(data) != sha256:
            damaged += told
    return Verified(
        backup_id=record.backup_id,
        objects=len(names),
        size=record.size,
        missing=tuple(missing),
        damaged=tuple(damaged),
    )


def refuse_incomplete(place: Storage, record: BackupRecord) -> None:
    """See from one listing that every object is there in its size, before anything is written.

    Raises:
        RecordError: names the first of those that are not.
    """
    there = {entry.key.rsplit("/", 1)[-1]: entry.size for entry in place.entries(OBJECTS)}
    lost = [item for item in record.items if there.get(item.sha256) != item.size]
    if lost:
        raise RecordError(
            f"{place.url}: {len(lost)} objects are missing or cut, the first of them "
            f"{lost[0].part}: {lost[0].key}; `cornerloop backup --verify` names all"
        )
