"""The data folder of our own Label Studio as a part of a backup: its database, media, secrets.

The database is SQLite. A copy of the file's bytes, made while the server writes, is a torn one; so
it is read through SQLite's own backup interface, which sees one state of it, and the pages that
deletions have left are dropped from the copy: they still hold what was deleted.
"""

import fcntl
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from annotation.label_studio_server import DATABASE, LOCK
from cloud.backup.parts import Part
from cloud.backup.places import PRIVATE, FolderPlace, Found
from lifelong.errors import ConfigError, StorageUnavailableError

NAME = "label-studio-data"
_LOCKED_SECONDS = 30.0  # to wait for a writer
_TRY_AGAIN_SECONDS = 0.02  # between two tries: writers leave short gaps
_BESIDE = tuple(f"{DATABASE}{tail}" for tail in ("-journal", "-wal", "-shm"))
# Of no use to another life: who runs there, the log, where programs began, copies of exports.
_NOT_TAKEN = (LOCK, "server.log")
_NOT_TAKEN_FOLDERS = ("cwd/", "export/")


def is_not_taken(key: str) -> bool:
    """Is this file of the folder left out, or taken otherwise than byte by byte?"""
    name = key.removesuffix(".part")
    return name in (DATABASE, *_BESIDE, *_NOT_TAKEN) or key.startswith(_NOT_TAKEN_FOLDERS)


@dataclass(frozen=True, slots=True)
class StudioFolder:
    """A data folder; implements `Place`. What is written there only its owner may read."""

    folder: Path

    @property
    def _files(self) -> FolderPlace:
        return FolderPlace(self.folder, mode=PRIVATE, without=is_not_taken)

    def listing(self, told: Callable[[str], object]) -> Iterator[Found]:
        """As the port says: the database first, since it is what names files."""
        database = self.folder / DATABASE
        if database.is_file():
            yield Found(key=DATABASE, size=database.stat().st_size, mark="")
        yield from self._files.listing(told)

    def read(self, key: str) -> bytes | None:
        """As the port says.

        Raises:
            StorageUnavailableError: the database is damaged, or stays locked.
        """
        if key != DATABASE:
            return self._files.read(key)
        if not (self.folder / DATABASE).is_file():
            return None
        try:
            return _one_state(self.folder / DATABASE)
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailableError(
                f"{self.folder / DATABASE}: cannot be copied ({error}); `--no-label-studio` backs "
                "up without it"
            ) from error

    def write(self, key: str, data: bytes) -> None:
        """As the port says.

        Raises:
            ConfigError: a server runs on the folder.
        """
        if key == DATABASE:
            self._refuse_running()
            for name in _BESIDE:  # of another database; SQLite would replay them into this one
                (self.folder / name).unlink(missing_ok=True)
        self._files.write(key, data)

    def add(self, key: str, data: bytes) -> bool:
        """As the port says."""
        return self._files.add(key, data)

    def is_empty(self) -> bool:
        """As the port says."""
        return self._files.is_empty()

    def _refuse_running(self) -> None:
        if not (self.folder / LOCK).exists():
            return
        with (self.folder / LOCK).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self.folder}: a Label Studio runs on this folder; stop it, then restore"
                ) from error


def studio_folder_part(folder: Path) -> Part:
    """The data folder of a Label Studio of our own."""
    return Part(name=NAME, place=StudioFolder(folder), where=str(folder))


def _one_state(database: Path) -> bytes:
    """The bytes of a database as it is at one moment, whoever writes to it, without what was
    deleted.

    It is copied in one step: writers wait as long as that takes, and a copy in several steps
    would begin anew with each of their writes.
    """
    room = Path(tempfile.mkdtemp(prefix="cornerloop-backup-"))  # its owner's only
    try:
        copy = room / DATABASE
        address = f"{database.absolute().as_uri()}?mode=rw"  # never made anew when just removed
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_LOCKED_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, sleep=_TRY_AGAIN_SECONDS)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            target.execute("VACUUM")
        return copy.read_bytes()
    finally:
        shutil.rmtree(room, ignore_errors=True)
