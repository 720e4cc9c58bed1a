"""What the inbox answered to this node's deliveries: admitted, refused, or nothing yet."""

from collections.abc import Iterable

from lifelong.errors import CorruptRecordError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.deliveries import Receipt
from lifelong.records.ids import EdgeId, SampleId
from lifelong.records.keys import IMAGE, RECEIPTS, receipt_key
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json


class Receipts:
    """The node's side of `receipts/{edge}/`: one listing a look, then only what is there."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def of(self, waiting: Iterable[HardExample]) -> list[tuple[HardExample, Receipt]]:
        """Answers to examples that wait; answers to others are cleared away.

        Raises:
            StorageError: storage cannot be reached.
        """
        by_edge: dict[EdgeId, dict[SampleId, HardExample]] = {}
        for example in waiting:
            by_edge.setdefault(example.edge_id, {})[example.sample_id] = example
        found: list[tuple[HardExample, Receipt]] = []
        for edge_id, examples in by_edge.items():
            for key in self._storage.keys(f"{RECEIPTS}/{edge_id}"):
                sample_id = SampleId(key.rsplit("/", 1)[-1].removesuffix(".json"))
                receipt = self._read(key)
                if sample_id in examples and receipt is not None:
                    found.append((examples[sample_id], receipt))
                else:
                    self._storage.delete(key)
        return found

    def clear(self, example: HardExample) -> None:
        """An answer was taken note of."""
        self._storage.delete(receipt_key(example.edge_id, example.sample_id))

    def _read(self, key: str) -> Receipt | None:
        try:
            return from_json(Receipt, self._storage.get(key), key)
        except (CorruptRecordError, ObjectNotFoundError):
            return None


def confirms(receipt: Receipt, example: HardExample) -> bool:
    """Does the inbox have the very picture that this node holds?"""
    return receipt.verdict == "admitted" and receipt.hashes.get(IMAGE) == example.image_sha256
