"""Back everything up, while the loop runs: what is new is copied, the record comes last.

Killed at any point, the place holds the backup before whole, or none; the next run finds the
objects that are there by their names and goes on. A second run into the same place copies only
what is new, and removes objects that nothing names any more: also what was forgotten meanwhile.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cloud.backup.mark import refuse_unfinished
from cloud.backup.parts import NOT_TAKEN, Part
from cloud.backup.places import Found
from cloud.backup.records import (
    LOCK,
    OBJECTS,
    RECORD,
    SCHEMA,
    BackupRecord,
    Item,
    object_key,
    read_record,
    write_record,
)
from cloud.code_version import code_version
from cloud.lease import LEASES, Lease
from lifelong.errors import ConfigError, RecordError, RoundError
from lifelong.links.storage import Storage, open_storage
from lifelong.links.unfinished_writes import finished_name, folder_of, sweep_unfinished
from lifelong.records.ids import sha256_hex
from lifelong.records.keys import FORGETTING, FORGOTTEN

_LOCK_SECONDS = 120.0
_LOOKS_AT_LOCK = 200  # objects between two
_PASSES = 5  # while requests to forget come in
_NUMBER = re.compile(r"/(\d{6,})\.json\Z")

Tell = Callable[[str, int], object]  # the part, and how many of its objects are done


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """What a run did."""

    record: BackupRecord
    copied: int  # objects that were not there before
    copied_bytes: int
    removed: int  # objects that nothing named any more


def open_place(where: str, *, for_writing: bool) -> Storage:
    """The place of a backup: a folder, or a bucket's prefix.

    Raises:
        ConfigError: a folder that holds something else, or is not there and shall be read.
    """
    if "://" not in where:
        folder = Path(where)
        if not for_writing and not folder.is_dir():
            raise ConfigError(f"{where}: no such folder")
        if for_writing:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # people's names are in it
    place = open_storage(where)
    refuse_foreign(place)
    return place


def refuse_foreign(place: Storage) -> None:
    """A place that holds something else is no place for a backup.

    Raises:
        ConfigError: says what lies there.
    """
    folder = folder_of(place)
    if folder is not None:  # a killed backup may have left a record that has no name yet
        names = {finished_name(path.name) or path.name for path in folder.iterdir()}
    else:
        names = set(place.rooms())
    foreign = sorted(names - {RECORD, OBJECTS, LOCK})
    if foreign:
        raise ConfigError(
            f"{place.url}: holds {foreign[0]!r}, which is no part of a backup; "
            "name a new folder, or one with a backup"
        )


def refuse_nested(out: str, parts: Iterable[Part], storage: Storage) -> None:
    """A backup inside of what it copies would copy itself.

    Raises:
        ConfigError: one lies in the other.
    """
    if "://" in out:
        if f"{out.rstrip('/')}/".startswith(f"{storage.url.rstrip('/')}/"):
            raise ConfigError(f"{out}: lies in the storage {storage.url} that is to be copied")
        return
    wheres = [(part.name, Path(part.where)) for part in parts if "://" not in part.where]
    root = folder_of(storage)
    for name, where in [*wheres, ("storage", root)] if root is not None else wheres:
        if Path(out).resolve().is_relative_to(where.resolve()):
            raise ConfigError(
                f"{out}: lies in {where} ({name}), which is to be copied; name another folder, "
                "best of all on another disk"
            )


@dataclass(slots=True)
class _Run:
    """One run: what is there already, what was done."""

    place: Storage
    lock: Lease
    tell: Tell
    there: dict[str, int]  # SHA-256 -> bytes, of the objects in the backup
    before: dict[tuple[str, str], Item]
    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    copied: int = 0
    copied_bytes: int = 0
    looks: int = 0

    def part(self, part: Part) -> None:
        """Copy one part."""

        def told(words: str) -> None:
            self.left_out.append(f"{part.name}: {words}")

        for done, found in enumerate(part.place.listing(told), start=1):
            self.stay()
            known = self.before.get((part.name, found.key))
            if known is not None and self._is_as(known, found):
                self._keep(known)
                self.tell(part.name, done)
                continue
            data = part.place.read(found.key)
            if data is None:
                continue  # moved or removed since it was listed; see `parts.py`
            self._keep(self._copied(part.name, found.key, found.mark, data))
            self.tell(part.name, done)

    def _is_as(self, known: Item, found: Found) -> bool:
        is_same = bool(found.mark) and (known.mark, known.size) == (found.mark, found.size)
        return is_same and self.there.get(known.sha256) == known.size

    def stay(self) -> None:
        """Renew the lock now and then."""
        self.looks += 1
        if self.looks % _LOOKS_AT_LOCK == 0:
            self.lock.hold()

    def _keep(self, item: Item) -> None:
        # A later pass puts what it read in its own place of the order.
        self.items.pop((item.part, item.key), None)
        self.items[item.part, item.key] = item

    def _copied(self, part: str, key: str, mark: str, data: bytes) -> Item:
        sha256 = sha256_hex(data)
        if self.there.get(sha256) != len(data):
            self.place.put(object_key(sha256), data)
            self.there[sha256] = len(data)
            self.copied += 1
            self.copied_bytes += len(data)
        return Item(part=part, key=key, sha256=sha256, size=len(data), mark=mark)


def back_up(
    place: Storage,
    storage: Storage,
    parts: Sequence[Part],
    *,
    now: Callable[[], datetime],
    folders: Sequence[str] = (),
    left_out: Sequence[str] = (),
    tell: Tell = lambda part, done: None,
    backup_id: Callable[[], str] = lambda: secrets.token_hex(8),
) -> BackedUp:
    """Bring a backup up to what is there now.

    Args:
        place: where the backup is, or is to be.
        storage: that of the loop.
        parts: in the order of reading.
        left_out: said in the record: what is not in it, and why.

    Raises:
        RoundError: another backup into the same place is under way.
        RecordError: a restore into this storage has not come to its end, or people ask to be
            forgotten faster than this can copy.
        StorageError: one of the two cannot be reached; the backup before stays as it was.
    """
    refuse_unfinished(storage)
    lock = Lease(place, _LOCK_SECONDS, now, room=LOCK)
    if not lock.hold():
        raise RoundError(f"{place.url}: another backup into this place is under way")
    began = now()
    try:
        run = _Run(place, lock, tell, _objects_of(place), _items_before(place))
        _passes(run, storage, parts)
        record = BackupRecord(
            layout=SCHEMA,
            backup_id=backup_id(),
            began_at=began,
            ended_at=now(),
            software=code_version(),
            storage=storage.url,
            config=next((i.key for i in run.items.values() if i.part == "config"), ""),
            lease=_newest(storage.keys(LEASES)),
            release=_newest(k for p, k in run.items if p == "storage" and k[:9] == "releases/"),
            round_number=_newest(k for p, k in run.items if p == "storage" and k[:7] == "rounds/"),
            items=tuple(run.items.values()),
            left_out=(*left_out, *(f"storage: {k}/: {v}" for k, v in NOT_TAKEN.items()),
                      *dict.fromkeys(run.left_out)),
            folders=tuple(folders),
        )  # fmt: skip
        if folder_of(place) is not None and hasattr(os, "sync"):
            os.sync()  # a record that survives a power cut names objects that did, too
        write_record(place, record)
        removed = _swept(run, record)
    finally:
        lock.release()
    return BackedUp(
        record=record, copied=run.copied, copied_bytes=run.copied_bytes, removed=removed
    )


def _passes(run: _Run, storage: Storage, parts: Sequence[Part]) -> None:
    """Copy all; once more when somebody was forgotten meanwhile: half of it would come back."""
    for _ in range(_PASSES):
        asked = _forgetting(storage)
        run.items.clear()
        for part in parts:
            run.part(part)
        if _forgetting(storage) == asked:
            return
        run.before = dict(run.items)
    raise RecordError(
        f"{storage.url}: requests to forget were carried out during each of {_PASSES} passes; "
        "back up when they are done"
    )


def _forgetting(storage: Storage) -> list[tuple[str, str]]:
    return [(e.key, e.mark) for room in (FORGETTING, FORGOTTEN) for e in storage.entries(room)]


def _objects_of(place: Storage) -> dict[str, int]:
    return {entry.key.rsplit("/", 1)[-1]: entry.size for entry in place.entries(OBJECTS)}


def _items_before(place: Storage) -> dict[tuple[str, str], Item]:
    if not place.exists(RECORD):
        return {}
    return {(item.part, item.key): item for item in read_record(place).items}


def _swept(run: _Run, record: BackupRecord) -> int:
    named = {item.sha256 for item in record.items}
    unnamed = [sha256 for sha256 in run.there if sha256 not in named]
    for sha256 in unnamed:
        run.stay()
        run.place.delete(object_key(sha256))
    # Of a backup that was killed: while the lock is ours others write but the lock.
    sweep_unfinished(run.place, is_dead=lambda key: not key.startswith(f"{LOCK}/"))
    return len(unnamed)


def _newest(keys: Iterable[str]) -> int:
    return max((int(found[1]) for key in keys if (found := _NUMBER.search(key))), default=0)
