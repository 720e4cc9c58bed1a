"""The cloud's side of delivery: uploads become verified hard examples, each admitted once.

`inbox/{edge}/{sample}/` holds image, mask (or their parts) and, last, `example.json`. What
verifies moves to `images/`, `edge_masks/` and `examples/`; what does not moves to `refused/` with
its reason. A node that asks for it gets a receipt. Bytes first, record second, the note that
others read third, receipt and inbox last: a crash anywhere repeats the step and changes nothing.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cloud.admissions import Admissions
from cloud.arrivals import (
    MAX_BYTES,
    DamagedError,
    Folder,
    GoneError,
    folders_of,
    read_record,
    verified,
)
from cloud.device_rooms import entries_of_devices
from lifelong.errors import ObjectExistsError, ObjectNotFoundError, RecordError
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage
from lifelong.records.deliveries import Receipt
from lifelong.records.ids import EdgeId, SampleId, edge_id
from lifelong.records.keys import (
    IMAGE,
    INBOX,
    MASK,
    RECEIPTS,
    RECORD,
    REFUSED,
    example_record_key,
    forgotten_key,
    receipt_key,
)
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json

logger = logging.getLogger(__name__)

BATCH = 256  # deliveries whose records are held at once
STALE_AFTER = timedelta(days=7)  # an upload without a record, a receipt that nobody fetched
TIDY_EVERY = timedelta(hours=1)
# A damaged delivery is left alone so long after it last changed: its node may be mending it, and
# one that reads back what it sent does not come again for what is cleared away under its hands.
PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Outcome:
    folder: Folder
    receipt: Receipt | None
    admitted: SampleId | None


class Inbox:
    """Admits uploads; one object per service, several services at once."""

    def __init__(
        self,
        storage: Storage,
        journal: Journal,
        now: Callable[[], datetime] = utc_now,
        *,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._storage = storage
        self._journal = journal
        self._now = now
        self._patience = patience
        self._damaged: dict[str, tuple[Folder, datetime]] = {}  # by path; as first seen, and when
        self._admissions = Admissions(storage)
        self._tidied_at: datetime | None = None

    def collect(self) -> list[HardExample]:
        """Admit what has arrived; answer every example ever admitted, the oldest first.

        Costs what lies in the inbox and what is new, however many were admitted before.
        """
        self._admissions.start()
        folders = folders_of(entries_of_devices(self._storage, INBOX))
        complete = [f for f in folders if f.is_complete and not self._is_waited_for(f)]
        for start in range(0, len(complete), BATCH):
            self._admit_batch(complete[start : start + BATCH])
        paths = {folder.path for folder in folders}
        self._damaged = {path: seen for path, seen in self._damaged.items() if path in paths}
        self._tidy([folder for folder in folders if not folder.is_complete])
        return self._admissions.all()

    def _admit_batch(self, folders: list[Folder]) -> None:
        records: list[tuple[Folder, HardExample]] = []
        outcomes: list[_Outcome] = []
        for folder in folders:
            try:
                records.append((folder, read_record(self._storage, folder)))
            except GoneError:
                continue
            except RecordError as error:
                if not self._may_be_mended(folder, None, error):
                    outcomes.append(self._refused(folder, None, error))
        # As the device counted: its clock may have jumped between two of them.
        records.sort(key=lambda pair: (pair[1].edge_id, pair[1].sequence))
        for folder, example in records:
            if self._storage.exists(forgotten_key(example.sample_id)):
                outcomes.append(self._forgotten(folder, example))
                continue
            try:
                outcomes.append(self._admitted(folder, example))
            except GoneError:
                continue
            except RecordError as error:
                if not self._may_be_mended(folder, example, error):
                    outcomes.append(self._refused(folder, example, error))
        admitted = [outcome.admitted for outcome in outcomes if outcome.admitted is not None]
        if admitted:
            self._admissions.append(admitted)
        for outcome in outcomes:
            self._answer(outcome)

    def _is_waited_for(self, folder: Folder) -> bool:
        """Was it damaged a moment ago, and has not changed since?"""
        seen, since = self._damaged.get(folder.path, (None, self._now()))
        return seen == folder and timedelta() <= self._now() - since < self._patience

    def _may_be_mended(
        self, folder: Folder, example: HardExample | None, error: RecordError
    ) -> bool:
        """Note a damaged delivery; says whether to wait for its node. One that asked for a receipt
        keeps its copy until it has one, and is told at once."""
        if not isinstance(error, DamagedError) or (example is not None and example.wants_receipt):
            return False
        seen, _ = self._damaged.get(folder.path, (None, None))
        if seen == folder:
            return False  # it was waited for, or it would not be looked at again
        self._damaged[folder.path] = (folder, self._now())
        return self._patience > timedelta()

    def _admitted(self, folder: Folder, example: HardExample) -> _Outcome:
        delivery = verified(self._storage, folder, example)
        kept = delivery.example
        record = example_record_key(kept.sample_id)
        if not self._storage.exists(record):
            self._storage.put(kept.image_key, delivery.image)
            self._storage.put(kept.mask_key, delivery.mask)
            try:
                self._storage.put_if_absent(record, to_json(kept, sealed=True))
            except ObjectExistsError:
                pass  # another service was a moment faster
            else:
                self._journal.event(
                    "hard_example.admitted",
                    sample_id=kept.sample_id,
                    edge_id=kept.edge_id,
                    score=kept.score,
                    priority=kept.priority,
                )
        hashes = {IMAGE: kept.image_sha256, MASK: kept.mask_sha256}
        receipt = self._receipt(folder, example, "admitted", hashes=hashes)
        return _Outcome(folder, receipt, kept.sample_id)

    def _refused(self, folder: Folder, example: HardExample | None, error: RecordError) -> _Outcome:
        reason = str(error)
        target = f"{REFUSED}/{folder.path.removeprefix(f'{INBOX}/')}"
        self._storage.put(f"{target}/reason.txt", reason.encode())
        for name, size in folder.sizes.items():
            if size <= MAX_BYTES.get(name, MAX_BYTES[IMAGE]):
                try:
                    data = self._storage.get(f"{folder.path}/{name}")
                except ObjectNotFoundError:
                    continue
                self._storage.put(f"{target}/{name}", data)
        self._journal.event("hard_example.refused", folder=folder.path, reason=reason)
        receipt = self._receipt(
            folder,
            example,
            "refused",
            reason=reason,
            is_final=not isinstance(error, DamagedError),
        )
        return _Outcome(folder, receipt, None)

    def _forgotten(self, folder: Folder, example: HardExample) -> _Outcome:
        """Somebody wanted this picture to be forgotten: nothing of it is kept, also not as
        refused, and its node lets go of its copy if it waits for an answer."""
        reason = "its picture was forgotten on request and is not taken again"
        self._journal.event("hard_example.forgotten", sample_id=example.sample_id)
        receipt = self._receipt(folder, example, "refused", reason=reason, is_final=True)
        return _Outcome(folder, receipt, None)

    def _receipt(
        self,
        folder: Folder,
        example: HardExample | None,
        verdict: Literal["admitted", "refused"],
        *,
        reason: str = "",
        is_final: bool = False,
        hashes: Mapping[str, str] | None = None,
    ) -> Receipt | None:
        """A receipt for who asked for one, or whose wish could not be read."""
        if example is not None and not example.wants_receipt:
            return None
        edge, sample = folder.names
        try:
            edge_id(edge)
        except ValueError:
            return None
        if not sample:
            return None
        return Receipt(
            edge_id=EdgeId(edge),
            sample_id=SampleId(sample),
            verdict=verdict,
            at=self._now(),
            reason=reason,
            is_final=is_final,
            hashes=hashes or {},
        )

    def _answer(self, outcome: _Outcome) -> None:
        receipt = outcome.receipt
        if receipt is not None:
            key = receipt_key(receipt.edge_id, receipt.sample_id)
            self._storage.put(key, to_json(receipt))
        self._empty(outcome.folder)

    def _empty(self, folder: Folder) -> None:
        # The record goes first: without it the rest is an unfinished upload and is left alone.
        for name in sorted(folder.sizes, key=lambda name: (name != RECORD, name)):
            self._storage.delete(f"{folder.path}/{name}")

    def _tidy(self, unfinished: list[Folder]) -> None:
        """Clear away, once an hour, what nobody will finish or fetch."""
        now = self._now()
        if self._tidied_at is not None and timedelta() <= now - self._tidied_at < TIDY_EVERY:
            return
        self._tidied_at = now
        for folder in unfinished:
            if folder.modified is not None and now - folder.modified > STALE_AFTER:
                self._empty(folder)
                self._journal.event("delivery.abandoned", folder=folder.path)
        for entry in self._storage.entries(RECEIPTS):
            if now - entry.modified > STALE_AFTER:
                self._storage.delete(entry.key)
