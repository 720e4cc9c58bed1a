"""Files that are whole or absent after a power cut: temporary name, fsync, rename, fsync."""

import os
from pathlib import Path

# Names that begin like this are somebody's unfinished business; nobody else reads them.
UNFINISHED = ".unfinished-"


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; a reader sees the old content or the new, never a part.

    Raises:
        OSError: the disk is full or gone; the old content stays.
    """
    temporary = path.with_name(f"{UNFINISHED}{path.name}")
    try:
        write_synced(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until its bytes are on the disk; not atomic by itself."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk; a rename is lost without this."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
