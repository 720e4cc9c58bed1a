"""Files of an export: whole or absent, never outside its folder, hashed as they are written."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from annotation.exports.image_names import safe_name
from annotation.exports.images import ImageShelf
from annotation.exports.picture_items import sha256_of
from annotation.exports.state import FOLDER, FileRow
from lifelong.errors import ConfigError, RecordError

MANIFEST = "manifest.json"
REPORT = "report.json"
_RESERVED = frozenset({MANIFEST, REPORT, FOLDER})


class ExportFolder:
    """A folder that an export writes into; files are made elsewhere and renamed into place."""

    def __init__(self, out: Path) -> None:
        self.path = out
        self._root = out.resolve()
        self._workshop = out / FOLDER / "unfinished"
        self._prepared = lru_cache(maxsize=4096)(self._prepare)

    def clear_workshop(self) -> None:
        """What a killed export has not finished goes.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        try:
            shutil.rmtree(self._workshop, ignore_errors=True)
            self._workshop.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error})") from error

    def checked(self, path: str, where: str) -> str:
        """A path that a format asked for, if it may be written.

        Raises:
            RecordError: it would leave the folder, or is a name of ours.
        """
        if safe_name(path, where) != path:
            raise RecordError(f"{where}: {path!r} is no plain relative path; nothing is written")
        if path.split("/")[0] in _RESERVED:
            raise RecordError(f"{where}: {path!r} is a name that every export keeps for itself")
        return path

    def write(self, path: str, pieces: Iterable[bytes]) -> FileRow:
        """Write a file, in pieces; what was there is replaced.

        Raises:
            RecordError: it cannot be written.
        """
        temporary = self._workshop / "file"
        whole, size = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as file:
                for piece in pieces:
                    whole.update(piece)
                    size += len(piece)
                    file.write(piece)
            self._into_place(temporary, path)
        except OSError as error:
            raise RecordError(f"{self.path / path}: cannot be written ({error})") from error
        return FileRow(path=path, sha256=whole.hexdigest(), size=size)

    def place(self, path: str, image: Path | bytes, shelf: ImageShelf) -> FileRow:
        """Write a copy of an image, or a link to it.

        Raises:
            RecordError: it cannot be read or written.
        """
        temporary = self._workshop / "image"
        temporary.unlink(missing_ok=True)
        try:
            sha256, size = shelf.place(image, temporary)
            self._into_place(temporary, path)
        except OSError as error:
            raise RecordError(f"{self.path / path}: cannot be written ({error})") from error
        return FileRow(path=path, sha256=sha256, size=size)

    def holds(self, files: Iterable[FileRow]) -> bool:
        """Do all these files lie there, with the content they should have?"""
        try:
            return all(
                (self.path / file.path).stat().st_size == file.size
                and sha256_of(self.path / file.path) == file.sha256
                for file in files
            )
        except OSError:
            return False

    def is_outside(self, path: str) -> bool:
        """Would this path, from a manifest, lead out of the folder?"""
        try:
            return safe_name(path, "manifest") != path
        except RecordError:
            return True

    def remove(self, files: Iterable[FileRow]) -> None:
        """Files that are not wanted any more; folders stay."""
        for file in files:
            (self.path / file.path).unlink(missing_ok=True)

    def strangers(self, known: Iterator[str]) -> Iterator[str]:
        """Files in the folder that are not among the known ones, which come sorted by path."""
        # Both sides sorted would need all names in memory; a folder's own order is cheap instead.
        expected = set(known)
        for file in self.path.rglob("*"):
            name = file.relative_to(self.path).as_posix()
            if file.is_file() and name.split("/")[0] not in _RESERVED and name not in expected:
                yield name

    def _into_place(self, temporary: Path, path: str) -> None:
        target = self.path / path
        self._prepared(target.parent)
        temporary.replace(target)

    def _prepare(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self._root):
            raise OSError(f"{folder} leads out of {self._root} by a link")
