"""What killed writers leave in a storage folder, and who takes it away.

`obstore` writes an object of a folder under its name, `#` and a number, and renames it when it is
whole. No listing tells of such a file and no key can name it, so that one whose writer was killed
would stay for ever, with the picture that it holds. Buckets take an object whole or not at all.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage

# No write takes that long: objects are in memory, and written in one go.
DEAD_AFTER_SECONDS = 3600.0
_UNFINISHED = re.compile(r"(.+)#[0-9]+\Z")


def folder_of(storage: Storage) -> Path | None:
    """The folder of this machine that a storage is; None: it is none."""
    parts = urlsplit(storage.url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def finished_name(name: str) -> str | None:
    """The name that a file was to get; None for one that has its own."""
    found = _UNFINISHED.match(name)
    return found[1] if found else None


def sweep_unfinished(
    storage: Storage,
    *,
    is_dead: Callable[[str], bool] = lambda key: False,
    now: Callable[[], float] = time.time,
) -> int:
    """Remove what writers began and nobody will finish; nothing to do but in a folder.

    Args:
        is_dead: is nobody alive who writes this key? Where one may be, a file goes an hour after
            its last byte.
        now: seconds since the epoch.

    Returns:
        How many files went.

    Raises:
        StorageUnavailableError: one cannot be removed.
    """
    root = folder_of(storage)
    removed = 0
    for key, path in _unfinished(root) if root is not None else ():
        try:
            if is_dead(key) or now() - path.lstat().st_mtime > DEAD_AFTER_SECONDS:
                path.unlink()
                _remove_empty(path.parent, root)
                removed += 1
        except FileNotFoundError:
            continue  # its writer lives, and has finished
        except OSError as error:
            raise StorageUnavailableError(
                f"{path}: an unfinished write cannot be removed ({error.strerror}); see who may "
                "write in that folder"
            ) from error
    return removed


def _remove_empty(folder: Path, root: Path | None) -> None:
    # As `open_storage` has it: a listing would walk through all that ever were.
    with suppress(OSError):  # not empty, or just filled again
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _unfinished(root: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(root):  # links to folders are not entered
        for name in names:
            whole = finished_name(name)
            if whole is not None:
                path = Path(parent, name)
                yield path.with_name(whole).relative_to(root).as_posix(), path
