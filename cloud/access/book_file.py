"""The file of the book of who may enter: read when it changed, written whole by one at a time.

    {web.access_path}/access.json   0600, in a folder 0700

Commands and the server write it at the same time, one after the other by a lock on a file beside
it. A reader looks at its stamp each time, so what a command ended is over at once.
"""

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloud.access.tokens import Link, Session, Token
from lifelong.errors import ConfigError, CorruptRecordError
from lifelong.links.durable_files import UNFINISHED, write_whole
from lifelong.records.wire import from_json, to_json

logger = logging.getLogger(__name__)

FILE = "access.json"
_OURS = ("access.", "audit-witness.", UNFINISHED)
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the file holds."""

    instance: str  # 8 hex digits: tells our cookies from another Cornerloop's on this host
    tokens: tuple[Token, ...] = ()
    links: tuple[Link, ...] = ()
    sessions: tuple[Session, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """A page as it was read, by hashes."""

    stamp: tuple[int, int, int] | None
    page: Page
    tokens: Mapping[str, Token] = field(default_factory=dict)
    sessions: Mapping[str, Session] = field(default_factory=dict)


class BookFile:
    """Loads and replaces the page; safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self.folder = folder
        self._read: Read | None = None
        self._lock = threading.Lock()

    def look(self) -> Read:
        """The page as it is now; read anew only when it changed.

        Raises:
            ConfigError: the file cannot be read; names it.
        """
        with self._lock:
            stamp = self._stamp()
            if self._read is None or self._read.stamp != stamp or stamp is None:
                page = self._load()
                self._read = Read(
                    stamp,
                    page,
                    {one.sha256: one for one in page.tokens},
                    {one.sha256: one for one in page.sessions},
                )
            return self._read

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = (self.folder / FILE).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble(error) from error
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _load(self) -> Page:
        path = self.folder / FILE
        try:
            if path.stat().st_mode & 0o077:
                # A cluster's fsGroup opens what lies on a volume; hashes are of use to nobody.
                logger.warning("%s: others could read it; closed to them now", path)
                path.chmod(0o600)
            if path.stat().st_size > _MAX_BYTES:
                raise ConfigError(f"{path}: larger than any book of ours; restore or remove it")
            return from_json(Page, path.read_bytes(), str(path))
        except FileNotFoundError:
            return Page(instance=secrets.token_hex(4))
        except OSError as error:
            raise self._trouble(error) from error
        except CorruptRecordError as error:
            raise ConfigError(
                f"{error}; restore it, or remove it: all tokens end, and the next start prints a "
                "link"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Page]:
        """The present page, while nobody else writes; the file is not touched by it.

        Raises:
            ConfigError: the folder or file cannot be used.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_folder()
            handle = os.open(self.folder / "access.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._trouble(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield self._load()
        finally:
            os.close(handle)

    def write(self, page: Page) -> None:
        """Replace the page; only within `writing`.

        Raises:
            ConfigError: the disk is full or gone; the old page stays.
        """
        try:
            write_whole(self.folder / FILE, to_json(page, sealed=True), 0o600)
        except OSError as error:
            raise self._trouble(error) from error
        with self._lock:
            self._read = None

    def _close_folder(self) -> None:
        """Nobody else may look in or put another file in our file's place."""
        mode = self.folder.stat().st_mode
        if not mode & 0o077:
            return
        foreign = [one.name for one in self.folder.iterdir() if not one.name.startswith(_OURS)]
        if not foreign:
            self.folder.chmod(0o700)
        elif mode & 0o022:
            raise ConfigError(
                f"web.access_path {self.folder}: others may write there, and it holds "
                f"{foreign[0]!r}; name a folder of its own"
            )

    def _trouble(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"web.access_path {self.folder}: {error.strerror or error}; it must be a folder that "
            "this user may write"
        )
