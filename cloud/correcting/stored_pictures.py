"""Pictures of tasks as they lie in storage: for the browser, and for the model that answers."""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.pixels import image_from_bytes

_KEPT_BYTES = 64 << 20
# What every browser shows, by its first bytes; the rest is sent as PNG.
_SHOWN = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"BM", "image/bmp"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """Implements `annotation.assist.segmenter.Picture`."""

    data: bytes = field(repr=False)
    digest: str  # SHA-256, hex
    name: str  # its key

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright.

        Raises:
            ImageError: it cannot be read.
        """
        return image_from_bytes(self.data, self.name)

    def for_browser(self) -> tuple[bytes, str]:
        """Bytes that a browser shows, and their media type.

        Raises:
            ImageError: it is of another kind and cannot be read.
        """
        for start, kind in _SHOWN:
            if self.data.startswith(start):
                return self.data, kind
        if self.data[:4] == b"RIFF" and self.data[8:12] == b"WEBP":
            return self.data, "image/webp"
        buffer = io.BytesIO()
        Image.fromarray(self.pixels()).save(buffer, format="PNG")
        return buffer.getvalue(), "image/png"


class StoredPictures:
    """Reads pictures and keeps the last ones; safe under threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, StoredPicture] = OrderedDict()

    def get(self, key: str) -> StoredPicture:
        """The picture under a key.

        Raises:
            StorageError: it is not there, or storage cannot be reached.
        """
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        data = self._storage.get(key)
        made = StoredPicture(data=data, digest=sha256_hex(data), name=key)
        with self._lock:
            self._kept[key] = made
            while sum(len(one.data) for one in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return made
