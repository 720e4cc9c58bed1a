"""The cloud's side of delivery: uploads become verified hard examples, each admitted once.

`inbox/{edge}/{sample}/` holds image, mask and, last, `example.json`. What verifies moves to
`images/`, `edge_masks/` and `examples/`; what does not moves to `refused/` with its reason.
Bytes first, record second, inbox last: a crash anywhere repeats the step and changes nothing.
"""

from dataclasses import replace

from lifelong.errors import ObjectNotFoundError, RecordError, ShapeError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import edge_id, sample_id_of
from lifelong.records.keys import (
    IMAGE,
    INBOX,
    MASK,
    RECORD,
    edge_mask_key,
    image_key,
)
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json

EXAMPLES = "examples"
REFUSED = "refused"


class Inbox:
    """Admits uploads; one object per service."""

    def __init__(self, storage: Storage, journal: Journal) -> None:
        self._storage = storage
        self._journal = journal
        self._known: dict[str, HardExample] = {}

    def collect(self) -> list[HardExample]:
        """Admit what has arrived; answer every example ever admitted, oldest key first."""
        for key in list(self._storage.keys(INBOX)):
            if key.endswith(f"/{RECORD}"):
                self._admit(key)
        for key in self._storage.keys(EXAMPLES):
            if key not in self._known:
                self._known[key] = from_json(HardExample, self._storage.get(key), key)
        return list(self._known.values())

    def _admit(self, key: str) -> None:
        folder = key.removesuffix(f"/{RECORD}")
        try:
            example = self._verified(folder)
        except ObjectNotFoundError:
            return  # another service admitted it a moment ago
        except RecordError as error:
            self._refuse(folder, str(error))
            return
        record = f"{EXAMPLES}/{example.sample_id}.json"
        if not self._storage.exists(record):
            self._storage.put(example.image_key, self._storage.get(f"{folder}/{IMAGE}"))
            self._storage.put(example.mask_key, self._storage.get(f"{folder}/{MASK}"))
            self._storage.put(record, to_json(example))
            self._journal.event(
                "hard_example.admitted",
                sample_id=example.sample_id,
                edge_id=example.edge_id,
                score=example.score,
            )
        self._empty(folder)

    def _verified(self, folder: str) -> HardExample:
        """The example with the keys it will have, all its promises checked.

        Raises:
            RecordError: one of them is broken.
        """
        example = from_json(
            HardExample,
            self._storage.get(f"{folder}/{RECORD}"),
            f"{folder}/{RECORD}",
        )
        image = self._checked(f"{folder}/{IMAGE}", example.image_sha256)
        mask = self._checked(f"{folder}/{MASK}", example.mask_sha256)
        named = folder.split("/")[1:]
        try:
            edge_id(example.edge_id)
        except ValueError as error:
            raise RecordError(f"{folder}: {error}") from error
        if named != [example.edge_id, example.sample_id]:
            raise RecordError(f"{folder}: its record says {example.edge_id}/{example.sample_id}")
        if sample_id_of(image) != example.sample_id:
            raise RecordError(f"{folder}: the image is not the one that its sample id names")
        size = (example.height, example.width)
        if image_from_bytes(image, f"{folder}/{IMAGE}").shape[:2] != size:
            raise ShapeError(f"{folder}/{IMAGE}: is not {size[1]}x{size[0]} as its record says")
        if mask_from_png(mask, f"{folder}/{MASK}").shape != size:
            raise ShapeError(f"{folder}/{MASK}: is not {size[1]}x{size[0]} as its record says")
        return _rekeyed(example)

    def _checked(self, key: str, sha256: str) -> bytes:
        try:
            return self._storage.get(key, sha256=sha256)
        except ObjectNotFoundError as error:
            raise RecordError(f"{key}: missing, although its record has arrived") from error

    def _refuse(self, folder: str, reason: str) -> None:
        target = f"{REFUSED}/{folder.removeprefix(f'{INBOX}/')}"
        self._storage.put(f"{target}/reason.txt", reason.encode())
        for name in (IMAGE, MASK, RECORD):
            try:
                self._storage.put(f"{target}/{name}", self._storage.get(f"{folder}/{name}"))
            except ObjectNotFoundError:
                continue
        self._empty(folder)
        self._journal.event("hard_example.refused", folder=folder, reason=reason)

    def _empty(self, folder: str) -> None:
        # The record goes first: without it the rest is an unfinished upload and is left alone.
        for name in (RECORD, IMAGE, MASK):
            self._storage.delete(f"{folder}/{name}")


def _rekeyed(example: HardExample) -> HardExample:
    return replace(
        example,
        image_key=image_key(example.sample_id),
        mask_key=edge_mask_key(example.sample_id),
    )
