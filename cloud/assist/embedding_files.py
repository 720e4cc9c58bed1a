"""Embeddings on disk: bounded by bytes, checked before use, shared by processes and restarts.

A file is `MODEL/PICTURE.safetensors`, both by their digests; its header says whose it is and what
its arrays hash to. What cannot be read, or says something else, is as if it were not there, and is
replaced by what is computed anew. The file touched longest ago goes first.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from cloud.assist.interactive_model import Embedded
from lifelong.errors import CorruptRecordError
from lifelong.links.durable_files import UNFINISHED, write_whole

logger = logging.getLogger(__name__)

_FORMAT = "cornerloop-embedding-1"
_LEDGER = ".size"  # holds how many bytes there are at most; locked by whoever writes
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "U8": np.uint8, "I8": np.int8}
_MODEL_FOLDER = re.compile(r"[0-9a-f]{16}")
_LARGEST_HEADER = 1 << 20
# Room that is made beyond what is needed, so that not every write looks at every file.
_SLACK = 0.05


@dataclass(frozen=True, slots=True)
class EmbeddingKey:
    """Which picture, seen by which model; both SHA-256, hex."""

    picture: str
    model: str


class EmbeddingFiles:
    """See the module; every method may be called from many threads and processes at once."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        """Args:
        folder: is made when the first embedding is written.
        limit_bytes: of all files together; an embedding larger than that is not written.
        """
        self._folder = folder
        self._limit = limit_bytes
        self.trouble = ""  # why the last write failed, in words; "" where it did not

    def has(self, key: EmbeddingKey) -> bool:
        """Is there a file? It may yet turn out to be damaged."""
        return self._place(key).is_file()

    def read(self, key: EmbeddingKey) -> Embedded | None:
        """What was written under a key; None where nothing is, or nothing that can be trusted."""
        place = self._place(key)
        try:
            data = bytearray(place.stat().st_size)
            with place.open("rb") as file:
                if file.readinto(data) != len(data):
                    raise CorruptRecordError("was being written")
            embedded = _unpacked(data, key)
        except FileNotFoundError:
            return None
        except (OSError, CorruptRecordError) as error:
            logger.warning("%s: not used (%s); it is computed anew", place, error)
            return None
        with suppress(OSError):  # taken away meanwhile, or not ours: it only goes sooner
            os.utime(place)
        return embedded

    def write(self, key: EmbeddingKey, embedded: Embedded) -> None:
        """Keep an embedding; a disk that is full or gone is written down, and costs only time."""
        data = _packed(key, embedded)
        if len(data) > self._limit:
            return
        place = self._place(key)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with self._ledger() as ledger:
                total = _total(ledger)
                old = place.stat().st_size if place.is_file() else 0
                if total is None or total + len(data) > self._limit:
                    total = self._make_room(len(data), keep=place)
                # Written down before it is true: a crash in between errs on the safe side.
                _set_total(ledger, total + len(data))
                write_whole(place, data)
                _set_total(ledger, total + len(data) - old)
        except OSError as error:
            if not self.trouble:
                logger.warning("%s: embeddings are not kept on disk: %s", self._folder, error)
            self.trouble = f"embeddings are not kept on disk ({error.strerror}): {self._folder}"
        else:
            self.trouble = ""

    def _place(self, key: EmbeddingKey) -> Path:
        return self._folder / key.model[:16] / f"{key.picture}.safetensors"

    @contextmanager
    def _ledger(self) -> Iterator[IO[str]]:
        with (self._folder / _LEDGER).open("a+") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)  # given back by closing
            yield ledger

    def _make_room(self, size: int, keep: Path) -> int:
        """Take away what was used longest ago; the bytes that are left."""
        files = []
        for place in self._ours():
            if place.name.startswith(UNFINISHED):
                place.unlink(missing_ok=True)  # of a process that died: nobody else writes now
            else:
                found = place.stat()
                files.append((found.st_mtime_ns, found.st_size, place))
        total = sum(size for _, size, _ in files)
        if total + size <= self._limit:
            return total
        wanted = self._limit * (1 - _SLACK) - size
        for _, taken, place in sorted(files):
            if total <= max(0.0, wanted):
                break
            if place != keep:
                place.unlink(missing_ok=True)
                total -= taken
        return total

    def _ours(self) -> Iterator[Path]:
        for folder in self._folder.iterdir():
            if _MODEL_FOLDER.fullmatch(folder.name) and folder.is_dir():
                yield from folder.glob("*.safetensors")


def _total(ledger: IO[str]) -> int | None:
    ledger.seek(0)
    text = ledger.read().strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _set_total(ledger: IO[str], total: int) -> None:
    ledger.seek(0)
    ledger.truncate()
    ledger.write(str(total))
    ledger.flush()


def _packed(key: EmbeddingKey, embedded: Embedded) -> bytes:
    arrays = {name: np.ascontiguousarray(array) for name, array in embedded.arrays.items()}
    metadata = {
        "format": _FORMAT,
        "picture": key.picture,
        "model": key.model,
        "height": str(embedded.height),
        "width": str(embedded.width),
        "sha256": _checksum(embedded.height, embedded.width, arrays),
    }
    data: bytes = save(arrays, metadata)
    return data


def _unpacked(data: bytearray, key: EmbeddingKey) -> Embedded:
    """Arrays that share the bytes' memory.

    Raises:
        CorruptRecordError: damaged, or not what the key names.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        if not 0 < size <= min(_LARGEST_HEADER, len(data) - 8):
            raise CorruptRecordError("no header")
        header: dict[str, Any] = json.loads(data[8 : 8 + size])
        told = header.pop("__metadata__")
        arrays = {name: _array(data, 8 + size, entry) for name, entry in header.items()}
        height, width = int(told["height"]), int(told["width"])
        belongs = (told["format"], told["picture"], told["model"])
        checksum = told["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptRecordError(f"damaged: {error}") from error
    if belongs != (_FORMAT, key.picture, key.model):
        raise CorruptRecordError("of another picture, model or version")
    if checksum != _checksum(height, width, arrays):
        raise CorruptRecordError("its bytes are not those that were written")
    return Embedded(height, width, arrays)


def _array(data: bytearray, start: int, entry: Mapping[str, Any]) -> NDArray[np.generic]:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    first, end = entry["data_offsets"]
    if not 0 <= first <= end <= len(data) - start:
        raise CorruptRecordError("shorter than its header says")
    flat = np.frombuffer(data, dtype, (end - first) // dtype.itemsize, start + first)
    return flat.reshape(entry["shape"])


def _checksum(height: int, width: int, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    digest = hashlib.sha256(f"{height} {width}".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.data)
    return digest.hexdigest()
