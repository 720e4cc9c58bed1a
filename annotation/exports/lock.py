"""One export at a time in a folder; the lock goes with the process that holds it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lifelong.errors import ConfigError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder.

    Raises:
        ConfigError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder.parent}: another export is at work there; wait for it, or name another "
                "folder"
            ) from error
        yield
