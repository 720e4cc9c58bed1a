"""Files that are whole or absent after a power cut: temporary name, fsync, rename, fsync."""

import os
from pathlib import Path

# Names that begin like this are somebody's unfinished business; nobody else reads them.
UNFINISHED = ".unfinished-"


def write_whole(path: Path, data: bytes, mode: int | None = None) -> None:
    """Replace `path` by `data`; a reader sees the old content or the new, never a part.

    Args:
        mode: who may read it, from its first byte on; None: as the process makes files.

    Raises:
        OSError: the disk is full or gone; the old content stays.
    """
    temporary = _temporary(path)
    try:
        write_synced(temporary, data, mode)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_whole(path: Path) -> bool:
    """Remove what `write_whole` wrote, and what it left when it was killed; False: no file."""
    existed = path.exists()
    path.unlink(missing_ok=True)
    _temporary(path).unlink(missing_ok=True)
    return existed


def write_synced(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file and wait until its bytes are on the disk; not atomic by itself."""

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    if mode is not None:
        path.unlink(missing_ok=True)  # an older one would keep its mode
    with open(path, "wb" if mode is None else "xb", opener=opened) as file:
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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{UNFINISHED}{path.name}")
