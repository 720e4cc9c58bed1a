"""`SeenFrames`: which frames were processed and under which number, across restarts and kills."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lifelong.links.durable_files import sync_folder, write_whole

logger = logging.getLogger(__name__)


class SeenFrames:
    """An append-only file of JSON lines `{"key": …, "sequence": …}`, fsynced line by line.

    A frame is either in the file or will be seen again; a torn last line is cut off at opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, int] = {}
        self._next = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read()
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        sync_folder(path.parent)

    @property
    def next_sequence(self) -> int:
        """The number of the next frame; counts up on the device, whatever its clock does."""
        return self._next

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, key: str) -> bool:
        """Was this frame processed, in this life or an earlier one?"""
        return key in self._keys

    def remember(self, key: str, sequence: int) -> None:
        """Write a frame down as processed; on the disk when this returns.

        On a disk that is full or gone the frame is remembered in memory only: it may come again
        after a restart, and the outbox knows it by its content.
        """
        self.remember_all([(key, sequence)])

    def remember_all(self, frames: Sequence[tuple[str, int]]) -> None:
        """As `remember`, keys and numbers of many in one write."""
        for key, sequence in frames:
            self._keys[key] = sequence
            self._next = max(self._next, sequence + 1)
        try:
            os.write(self._handle, b"".join(_line(key, number) for key, number in frames))
            os.fsync(self._handle)
        except OSError as error:
            names = [number for _, number in frames]
            logger.warning("frames %s are remembered in memory only: %s", names, error)

    def forget(self, is_gone: Callable[[str], bool], *, at_least: int = 1000) -> None:
        """Rewrite the file without the frames that are gone, if these are `at_least` so many."""
        kept = {key: number for key, number in self._keys.items() if not is_gone(key)}
        if len(self._keys) - len(kept) < at_least:
            return
        logger.info("forgot %d frames that are gone", len(self._keys) - len(kept))
        # The highest number goes on counting even when its frame is gone.
        lines = [_line("", self._next - 1), *(_line(key, n) for key, n in kept.items())]
        write_whole(self._path, b"".join(lines))
        os.close(self._handle)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._keys = kept

    def close(self) -> None:
        """Give the file back."""
        os.close(self._handle)

    def _read(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole, newline, torn = data.rpartition(b"\n")
        if torn:
            logger.warning("%s: cut off a torn last line of %d bytes", self._path, len(torn))
            write_whole(self._path, whole + newline)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                key, sequence = str(entry["key"]), int(entry["sequence"])
            except (ValueError, KeyError, TypeError):
                logger.warning("%s:%d: unreadable line passed over", self._path, number)
                continue
            if key:
                self._keys[key] = sequence
            self._next = max(self._next, sequence + 1)


def _line(key: str, sequence: int) -> bytes:
    # ASCII with escapes: file names that are not UTF-8 survive the round trip.
    return (json.dumps({"key": key, "sequence": sequence}) + "\n").encode()
