"""Files of a task on Label Studio's disk, read by ourselves where its folder is known here."""

import os
import stat
from pathlib import Path
from urllib.parse import quote

from annotation.assist.downloads import too_large
from annotation.assist.picture_sources import FRESH_S, Fetched, Wanted, also_said, fetched
from annotation.assist.studio_files import StudioFiles
from lifelong.errors import PictureAccessError

_DISK = "disk "


class LocalFiles:
    """Files below Label Studio's document root: from disk where it can be read, else asked for.

    What a link leads out of the root to is not read here; whether Label Studio serves it is its
    own affair.
    """

    def __init__(self, root: Path | None, files: StudioFiles, *, max_bytes: int) -> None:
        self._root = root
        self._files = files
        self._max_bytes = max_bytes

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        name, path = wanted.address.name, wanted.address.place
        said = ""
        if self._root is not None:
            try:
                return self._from_disk(self._root, path, name, mark)
            except OSError as error:
                said = f"{error.strerror or error} under {self._root}, and "
            except RuntimeError:
                said = f"links in a circle under {self._root}, and "
        try:
            answer = self._files.get(
                f"data/local-files/?d={quote(path)}", name=name, project=wanted.project, mark=mark
            )
        except PictureAccessError as error:
            raise also_said(error, name, said) from None
        missing = (
            f"{said}Label Studio finds no such file in a folder that a project shows; add its "
            "folder as Local files under the project's Cloud Storage, or set "
            "label_studio.local_files_root to where it can be read here"
        )
        return fetched(answer, name, missing, FRESH_S)

    def _from_disk(self, root: Path, path: str, name: str, mark: str) -> Fetched:
        """
        Raises:
            OSError: not there, not readable, no file, or a link leads out of the root.
        """
        whole = root.resolve(strict=True)
        inside = (whole / path).resolve(strict=True)
        if not inside.is_relative_to(whole):
            raise OSError(0, "a link out of the folder")
        handle = _opened_below(whole, inside.relative_to(whole).parts)
        try:
            told = os.fstat(handle)
            if not stat.S_ISREG(told.st_mode):
                raise OSError(0, "no plain file")
            now = f"{_DISK}{told.st_dev}-{told.st_ino}-{told.st_size}-{told.st_mtime_ns}"
            now += f"-{told.st_ctime_ns}"  # who copies with the old date moves this one
            if now == mark:
                return Fetched(data=None, mark=mark, fresh_s=0.0)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(self._max_bytes + 1)
        finally:
            os.close(handle)
        if len(data) > self._max_bytes:
            raise too_large(name, self._max_bytes)
        return Fetched(data=data, mark=now, fresh_s=0.0)  # a look at the disk costs nothing


def _opened_below(root: Path, parts: tuple[str, ...]) -> int:
    """Open a file by folders that are no links, whatever becomes of their names meanwhile.

    Raises:
        OSError: one of them is a link by now, or not there.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        # A pipe without a writer must not keep us waiting.
        kind = os.O_NONBLOCK if last else os.O_DIRECTORY
        try:
            following = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=handle)
        finally:
            os.close(handle)
        handle = following
    return handle
