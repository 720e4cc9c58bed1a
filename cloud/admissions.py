"""Which examples were ever admitted; a look costs what is new, not what there is.

`examples/{sample}.json` are the records. `admissions/{number}.json` name them in the order in
which they were admitted, each number written once; a reader lists everything when it starts, and
from then on asks for the next number only. So it also sees what another service admitted.
"""

from collections.abc import Sequence

from lifelong.errors import ObjectExistsError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.deliveries import Admission
from lifelong.records.ids import SampleId
from lifelong.records.keys import ADMISSIONS, EXAMPLES, example_record_key
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json


class Admissions:
    """Every example ever admitted, oldest first; one object per service."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._next: int | None = None  # number of the next entry; None before the first look
        self._known: dict[SampleId, HardExample] = {}
        self._list: list[HardExample] = []
        self._is_stale = False  # the list, since something was forgotten

    def start(self) -> None:
        """List what there is, the first time; nothing afterwards."""
        if self._next is None:
            self._look()

    def all(self) -> list[HardExample]:
        """What is known after a look at what is new; a list that nobody changes any more.

        Raises:
            StorageError: storage cannot be reached.
            CorruptRecordError: a record was damaged in storage.
        """
        self._look()
        if self._is_stale or len(self._list) != len(self._known):
            self._list, self._is_stale = list(self._known.values()), False
        return self._list

    def append(self, sample_ids: Sequence[SampleId]) -> None:
        """Tell every service that these were admitted; their records lie in storage by now."""
        data = to_json(Admission(sample_ids=tuple(sample_ids)))
        while True:
            number = self._look()
            try:
                self._storage.put_if_absent(_entry_key(number), data)
                return
            except ObjectExistsError:
                continue  # another service took the number: read what it says, take the next one

    def _look(self) -> int:
        """Read what is new; returns the number of the next entry."""
        if self._next is None:
            # The last entry first, then the records: what comes in between is in both.
            last = _last_number(self._storage)
            for key in self._storage.keys(EXAMPLES):
                self._take(SampleId(key.rsplit("/", 1)[-1].removesuffix(".json")))
            # As the devices counted; of what was admitted before nothing says when.
            by_device = sorted(self._known.items(), key=lambda it: (it[1].edge_id, it[1].sequence))
            self._known = dict(by_device)
            self._next = last + 1
        while True:
            key = _entry_key(self._next)
            try:
                entry = from_json(Admission, self._storage.get(key), key)
            except ObjectNotFoundError:
                return self._next
            for sample_id in entry.sample_ids:
                self._take(sample_id)
            for sample_id in entry.forgotten:
                self._is_stale |= self._known.pop(sample_id, None) is not None
            self._next += 1

    def _take(self, sample_id: SampleId) -> None:
        if sample_id not in self._known:
            key = example_record_key(sample_id)
            try:
                self._known[sample_id] = from_json(HardExample, self._storage.get(key), key)
            except ObjectNotFoundError:
                return  # somebody has removed it by hand


def tell_forgotten(storage: Storage, sample_ids: Sequence[SampleId]) -> None:
    """Tell every service that these are not there any more."""
    data = to_json(Admission(sample_ids=(), forgotten=tuple(sample_ids)))
    number = _last_number(storage)
    while True:
        number += 1
        try:
            storage.put_if_absent(_entry_key(number), data)
            return
        except ObjectExistsError:
            continue


def _last_number(storage: Storage) -> int:
    return max((_number(key) for key in storage.keys(ADMISSIONS)), default=0)


def _entry_key(number: int) -> str:
    return f"{ADMISSIONS}/{number:09d}.json"


def _number(key: str) -> int:
    name = key.rsplit("/", 1)[-1].removesuffix(".json")
    return int(name) if name.isdecimal() else 0
