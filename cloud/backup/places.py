"""Where a part of a backup comes from and goes to: storage, a folder, a single file."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lifelong.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.links.durable_files import UNFINISHED, write_whole
from lifelong.links.storage import Entry, Storage, checked_key
from lifelong.links.unfinished_writes import folder_of

PRIVATE = 0o600  # of what only its owner may read
ONE = "file"  # the key of a part that is a single file
_MOST_GAP = 16  # numbers before one; a wider gap was made by a restore
_NUMBERED = re.compile(r"(.*/)([0-9]+)(\.[a-z]+)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object or file as a listing tells of it."""

    key: str
    size: int  # bytes
    mark: str  # another one after each write; "": not known


class Place(Protocol):
    """One part of the whole state."""

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """Everything there, in an order that nothing points at what comes before it; `told` hears
        of what is left out."""

    def read(self, key: str) -> bytes | None:
        """The bytes; None when it is gone since."""

    def write(self, key: str, data: bytes) -> None:
        """Write it whole, replacing what is there."""

    def add(self, key: str, data: bytes) -> bool:
        """Write it whole if it is not there; False: it is."""

    def is_empty(self) -> bool:
        """Is there nothing yet that a restore could spoil?"""


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """Objects of a store: some prefixes first, in that order, then every other room."""

    storage: Storage
    first: Sequence[str] = ()  # "room", "room/folder" or a whole key
    without: Callable[[str], bool] = lambda key: False  # what is not taken along
    not_spoiled: Sequence[str] = ()  # rooms that may be there before a restore

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says. Each prefix is listed when those before it have been read."""
        seen: set[str] = set()
        root = folder_of(self.storage)
        for prefix in self.first:
            yield from self._under(prefix, seen, root, told)
        for is_record in (True, False):  # bytes are there before the record that names them
            for room in self.storage.rooms():
                for found in self._under(room, seen, root, told):
                    if not self._is_first(found.key) and _is_record(found.key) is is_record:
                        yield found

    def _is_first(self, key: str) -> bool:
        """Was it, or what came since, for a turn that is over?"""
        return any(key == prefix or key.startswith(f"{prefix}/") for prefix in self.first)

    def _under(
        self, prefix: str, seen: set[str], root: Path | None, told: Callable[[str], object]
    ) -> Iterator[Found]:
        if prefix.endswith(".json"):
            size = self.storage.size(prefix)
            if size is not None and prefix not in seen and not self.without(prefix):
                seen.add(prefix)
                yield Found(key=prefix, size=size, mark="")
            return
        for found in self._without_gaps(self.storage.entries(prefix)):
            if found.key in seen or self.without(found.key):
                continue
            if root is not None and leads_out(root, root / found.key):
                told(f"{found.key}: is, or lies behind, a link out of {root}")
                continue
            yield found
            if self._is_first(found.key):
                seen.add(found.key)

    def _without_gaps(self, entries: Sequence[Entry]) -> Iterator[Found]:
        """What was listed, and of numbered objects those in between: who lists a folder while
        others write may be told of number 42 and not of 41."""
        last: tuple[str, int, str] | None = None
        for entry in entries:
            numbered = _NUMBERED.match(entry.key)
            if numbered is None:
                last = None
            else:
                head, digits, tail = numbered.groups()
                if last is not None and (last[0], last[2]) == (head, tail):
                    for number in range(last[1] + 1, int(digits))[-_MOST_GAP:]:
                        key = f"{head}{number:0{len(digits)}d}{tail}"
                        size = self.storage.size(key)
                        if size is not None:
                            yield Found(key=key, size=size, mark="")
                last = head, int(digits), tail
            yield Found(key=entry.key, size=entry.size, mark=entry.mark)

    def read(self, key: str) -> bytes | None:
        """As the port says."""
        try:
            return self.storage.get(key)
        except ObjectNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """As the port says."""
        self.storage.put(key, data)

    def add(self, key: str, data: bytes) -> bool:
        """As the port says."""
        try:
            self.storage.put_if_absent(key, data)
        except ObjectExistsError:
            return False
        return True

    def is_empty(self) -> bool:
        """As the port says."""
        return not set(self.storage.rooms()) - set(self.not_spoiled)


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine; links in it are not followed."""

    folder: Path
    mode: int | None = None  # of files that are written
    without: Callable[[str], bool] = lambda key: False  # what is not taken along

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says."""
        for parent, folders, names in os.walk(self.folder):  # links to folders are not entered
            folders.sort()
            here = Path(parent)
            for name in folders:
                if (here / name).is_symlink():
                    told(f"{here / name}: a link")
            for name in sorted(names):
                path = here / name
                key = path.relative_to(self.folder).as_posix()
                if name.startswith(UNFINISHED) or self.without(key):
                    continue
                if path.is_symlink() or not path.is_file():
                    if os.path.lexists(path):  # not just removed
                        told(f"{path}: a link, or no plain file")
                elif not is_plain(key):
                    told(f"{path}: a name that not every machine could write")
                else:
                    try:
                        yield _found(path, key)
                    except FileNotFoundError:
                        continue

    def read(self, key: str) -> bytes | None:
        """As the port says."""
        return _read(self.path(key))

    def write(self, key: str, data: bytes) -> None:
        """As the port says."""
        path = self.path(key)
        if leads_out(self.folder, path.parent):
            raise StorageError(f"{path}: lies behind a link out of {self.folder}; remove the link")
        _write(path, data, self.mode)

    def add(self, key: str, data: bytes) -> bool:
        """As the port says; nobody else writes there while a restore is under way."""
        if os.path.lexists(self.path(key)):
            return False
        self.write(key, data)
        return True

    def is_empty(self) -> bool:
        """As the port says."""
        return not self.folder.is_dir() or not any(self.folder.iterdir())

    def path(self, key: str) -> Path:
        """Where a key lies.

        Raises:
            StorageError: it could lead out of the folder.
        """
        checked_key(key)
        if not is_plain(key):
            raise StorageError(f"{key!r}: a name that could lead out of {self.folder}")
        return self.folder.joinpath(*key.split("/"))


@dataclass(frozen=True, slots=True)
class FilePlace:
    """One file of this machine, whatever its name is here."""

    file: Path
    mode: int | None = None

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says."""
        if self.file.is_symlink():
            told(f"{self.file}: a link")
        elif self.file.is_file():
            yield _found(self.file, ONE)

    def read(self, key: str) -> bytes | None:
        """As the port says."""
        del key
        return _read(self.file)

    def write(self, key: str, data: bytes) -> None:
        """As the port says."""
        del key
        _write(self.file, data, self.mode)

    def add(self, key: str, data: bytes) -> bool:
        """As the port says."""
        if os.path.lexists(self.file):
            return False
        self.write(key, data)
        return True

    def is_empty(self) -> bool:
        """As the port says."""
        return not os.path.lexists(self.file)


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """One object of a store, whatever its key is here."""

    storage: Storage
    key: str

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says."""
        del told
        size = self.storage.size(self.key)
        if size is not None:
            yield Found(key=ONE, size=size, mark="")

    def read(self, key: str) -> bytes | None:
        """As the port says."""
        del key
        return StoragePlace(self.storage).read(self.key)

    def write(self, key: str, data: bytes) -> None:
        """As the port says."""
        del key
        self.storage.put(self.key, data)

    def add(self, key: str, data: bytes) -> bool:
        """As the port says."""
        del key
        return StoragePlace(self.storage).add(self.key, data)

    def is_empty(self) -> bool:
        """As the port says."""
        return not self.storage.exists(self.key)


@dataclass(frozen=True, slots=True)
class WrittenPlace:
    """Bytes that were made for the backup, for people to read; nothing is put back from here."""

    contents: Mapping[str, bytes]

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says."""
        del told
        for key, data in self.contents.items():
            yield Found(key=key, size=len(data), mark="")

    def read(self, key: str) -> bytes | None:
        """As the port says."""
        return self.contents.get(key)

    def write(self, key: str, data: bytes) -> None:
        """Nothing: it is not put back by writing."""

    def add(self, key: str, data: bytes) -> bool:
        """Nothing, as `write`."""
        return False

    def is_empty(self) -> bool:
        """As the port says."""
        return True


def leads_out(root: Path, path: Path) -> bool:
    """Does a link on the way lead out of the folder?"""
    return not path.resolve().is_relative_to(root.resolve())


def _is_record(key: str) -> bool:
    return key.endswith((".json", ".jsonl"))


def is_plain(key: str) -> bool:
    """Is no part of a key, on any system, more than a name: a drive, a separator, a way up?"""
    parts = key.split("/")
    return all(part and part not in {".", ".."} and not set(part) & set(":\\") for part in parts)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailableError(f"{path}: cannot be read ({error.strerror})") from error


def _write(path: Path, data: bytes, mode: int | None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, mode)
    except OSError as error:
        raise StorageUnavailableError(f"{path}: cannot be written ({error.strerror})") from error


def _found(path: Path, key: str) -> Found:
    stat = path.stat()
    return Found(
        key=key, size=stat.st_size, mark=f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"
    )
