"""The courier: brings one hard example over, in parts where it is large, each one once.

`inbox/{edge}/{sample}/` gets the image, the mask and, last, the record. A file larger than a part
goes as `parts/{SHA-256 of the part}`, and the record lists them. Whatever is there already is not
sent again, so a cut at any byte costs at most the part that was under way.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from edge.delivery.bandwidth import Bandwidth
from edge.delivery.example_files import example_key
from edge.delivery.upload_budget import Budget
from lifelong.errors import ChecksumError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.keys import delivery, part_key
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json


class CutShortError(Exception):
    """The delivery may not go on now: the node stops, a window closed, the budget is spent."""


class Courier:
    """Delivers; says nothing of when, or of what follows a failure."""

    def __init__(
        self,
        storage: Storage,
        *,
        part_bytes: int,
        confirm: Literal["read_back", "receipt"],
        budget: Budget | None = None,
        bandwidth: Bandwidth | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._storage = storage
        self._part_bytes = part_bytes
        self._confirm = confirm
        self._budget = budget
        self._bandwidth = bandwidth
        self._may_go_on = may_go_on

    def has_arrived(self, example: HardExample) -> bool:
        """Is this picture in the inbox, with a record and all that this record names?

        Without reading back, its record is the answer: the inbox checks what the record names.

        Raises:
            StorageError: storage cannot be reached.
        """
        key = example_key(example)
        if not self._storage.exists(key):
            return False
        if self._confirm == "receipt":
            return True
        try:
            there = from_json(HardExample, self._storage.get(key), key)
            folder = delivery(example.edge_id, example.sample_id)
            hashes = {example.image_key: example.image_sha256, there.mask_key: there.mask_sha256}
            for file, sha256 in hashes.items():
                parts = there.parts.get(file.rsplit("/", 1)[-1])
                if parts is None:
                    self._storage.get(file, sha256=sha256)
                for part in parts or ():
                    self._storage.get(part_key(folder, part), sha256=part)
        except (RecordError, ObjectNotFoundError):
            return False
        return there.image_sha256 == example.image_sha256

    def bring(self, example: HardExample, contents: dict[str, bytes]) -> None:
        """Put what is not there yet; the record last.

        Args:
            contents: of the image and the mask, by storage key; a record is written anew.

        Raises:
            ChecksumError: storage did not keep an object as it was sent.
            StorageError: storage cannot be reached.
            CutShortError: not now; what has been brought stays brought.
        """
        folder = delivery(example.edge_id, example.sample_id)
        parts: dict[str, tuple[str, ...]] = {}
        files = {key: data for key, data in contents.items() if key != example_key(example)}
        for key, data in files.items():
            if len(data) <= self._part_bytes:
                self._put(key, data)
                continue
            pieces = [
                data[start : start + self._part_bytes]
                for start in range(0, len(data), self._part_bytes)
            ]
            hashes = tuple(sha256_hex(piece) for piece in pieces)
            for sha256, piece in zip(hashes, pieces, strict=True):
                self._put(part_key(folder, sha256), piece)
            parts[key.rsplit("/", 1)[-1]] = hashes
        record = replace(example, parts=parts, wants_receipt=self._confirm == "receipt")
        self._put(example_key(example), to_json(record, sealed=True), samples=1)

    def _put(self, key: str, data: bytes, *, samples: int = 0) -> None:
        if self._is_there(key, data):
            return
        self._await_leave(len(data))
        if self._budget is not None:
            self._budget.spend(len(data), samples)
        try:
            self._storage.put(key, data)
        finally:
            if self._budget is not None:
                self._budget.left()
        if self._confirm == "read_back":
            self._storage.get(key, sha256=sha256_hex(data))

    def _await_leave(self, size: int) -> None:
        if not self._may_go_on():
            raise CutShortError
        if self._budget is not None and not self._budget.may_go_on(size):
            raise CutShortError
        if self._bandwidth is not None and not self._bandwidth.await_room(size, self._may_go_on):
            raise CutShortError

    def _is_there(self, key: str, data: bytes) -> bool:
        """Did an earlier try bring this object over whole? Then it is not sent twice."""
        if self._storage.size(key) != len(data):
            return False
        if self._confirm == "receipt":
            return True  # if it is damaged, the inbox says so, and clears it away
        try:
            self._storage.get(key, sha256=sha256_hex(data))
        except (ChecksumError, ObjectNotFoundError):
            return False
        return True
