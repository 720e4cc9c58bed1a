"""The outbox: hard examples on this node's disk until storage has them; bounded, whole or absent.

One folder an entry: `{sample_id}/image.jpg`, `mask.png`, `example.json`. An entry is written
under an unfinished name and renamed; it goes by being renamed to one. So at any instant, also of
a power cut, an entry is there as a whole or not at all. One process at a time, any thread.
"""

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.example_files import example_files, objects_of
from lifelong.delivery_config import OutboxSection
from lifelong.errors import ChecksumError, CorruptRecordError
from lifelong.hard_examples import Verdict
from lifelong.links.durable_files import UNFINISHED, sync_folder, write_synced
from lifelong.links.journal import Journal, JSONValue, utc_now
from lifelong.records.ids import SampleId
from lifelong.records.keys import IMAGE, MASK, RECORD
from lifelong.records.pixels import Frame, Prediction
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json

logger = logging.getLogger(__name__)

# Boxes without a battery for their clock wake up in 1970: an entry from before this has no age.
CLOCKS_ARE_SET_SINCE = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A hard example that waits, and what it takes on the disk."""

    example: HardExample
    size: int  # bytes of the three files
    kept_at: datetime  # UTC


class Outbox:
    """Hard examples that wait for delivery; opening one clears what a kill left unfinished."""

    def __init__(
        self,
        section: OutboxSection,
        journal: Journal,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._folder = section.path
        self._max_bytes = section.max_mib * 2**20
        self._max_age = timedelta(hours=section.max_age_hours)
        self._journal = journal
        self._now = now
        self._lock = threading.RLock()
        self._entries: dict[SampleId, OutboxEntry] = {}
        self._size = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self._size

    def put(self, frame: Frame, prediction: Prediction, verdict: Verdict) -> HardExample | None:
        """Keep a hard example; it is on the disk when this returns.

        Returns:
            The example, or None when it was dropped because there is no room for it.
        """
        example, contents = example_files(frame, prediction, verdict)
        size = sum(len(data) for data in contents.values())
        entry = OutboxEntry(example=example, size=size, kept_at=self._now())
        with self._lock:
            if example.sample_id in self._entries:  # the same picture again, e.g. after a kill
                return self._entries[example.sample_id].example
            if not self._make_room(entry):
                return None
            try:
                self._write(example.sample_id, contents)
            except OSError as error:
                self._tell_dropped(example, f"cannot be written: {error.strerror or error}")
                return None
            self._add(entry)
            return example

    def waiting(self) -> list[HardExample]:
        """What waits, highest score first, then in the order in which it was seen."""
        with self._lock:
            examples = [entry.example for entry in self._entries.values()]
        return sorted(examples, key=lambda example: (-example.score, example.sequence))

    def contents(self, example: HardExample) -> dict[str, bytes] | None:
        """The three files of an entry by storage key, in the order in which they are to go.

        Returns:
            None when the entry has gone, or was found damaged and dropped.
        """
        try:
            return objects_of(example, self._folder / example.sample_id)
        except (OSError, ChecksumError) as error:
            self.drop(example.sample_id, f"damaged on this node's disk: {error}")
            return None

    def delivered(self, sample_id: SampleId) -> None:
        """Storage has confirmed it: the local copy goes."""
        with self._lock:
            self._take_out(sample_id)

    def drop(self, sample_id: SampleId, reason: str) -> None:
        """Give an entry up undelivered, and say so in the journal; nothing when it is gone."""
        with self._lock:
            if sample_id in self._entries:
                self._tell_dropped(self._entries[sample_id].example, reason)
                self._take_out(sample_id)

    def expire(self) -> None:
        """Drop what is older than the outbox keeps things."""
        oldest = self._now() - self._max_age
        with self._lock:
            old = [
                sample_id
                for sample_id, entry in self._entries.items()
                if CLOCKS_ARE_SET_SINCE < entry.kept_at < oldest
            ]
            for sample_id in old:
                self.drop(sample_id, f"older than {self._max_age.total_seconds() / 3600:g} h")

    def _make_room(self, new: OutboxEntry) -> bool:
        """Evict the least hard entries until `new` fits; False when `new` itself is the least."""
        limit = f"outbox is full ({self._max_bytes // 2**20} MiB)"
        if new.size > self._max_bytes:
            self._tell_dropped(new.example, f"larger than the whole outbox: {new.size} bytes")
            return False
        # The lowest score goes first; of equal ones the older, which says less about today.
        ranked = sorted(
            self._entries.values(), key=lambda entry: (entry.example.score, entry.kept_at)
        )
        excess = self.size + new.size - self._max_bytes
        victims: list[OutboxEntry] = []
        while excess > 0:
            victim = ranked[len(victims)]
            if victim.example.score > new.example.score:
                self._tell_dropped(new.example, f"{limit} of harder examples")
                return False
            victims.append(victim)
            excess -= victim.size
        for victim in victims:
            self.drop(victim.example.sample_id, f"{limit}, a harder example came")
        return True

    def _write(self, sample_id: SampleId, contents: dict[str, bytes]) -> None:
        temporary = self._folder / f"{UNFINISHED}{sample_id}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for name, data in contents.items():
                write_synced(temporary / name, data)
            sync_folder(temporary)
            temporary.rename(self._folder / sample_id)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(self._folder)

    def _remove(self, sample_id: SampleId) -> None:
        gone = self._folder / f"{UNFINISHED}gone-{sample_id}"
        try:
            shutil.rmtree(gone, ignore_errors=True)
            (self._folder / sample_id).rename(gone)
            sync_folder(self._folder)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def _open(self) -> None:
        for folder in sorted(self._folder.iterdir()):
            if folder.name.startswith(UNFINISHED):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir():
                self._take_in(folder)
        if self._entries:
            logger.info("outbox holds %d hard examples from before", len(self._entries))

    def _take_in(self, folder: Path) -> None:
        record = folder / RECORD
        try:
            example = from_json(HardExample, record.read_bytes(), str(record))
            if example.sample_id != folder.name:
                raise CorruptRecordError(f"{record}: is about {example.sample_id}")
            size = sum((folder / name).stat().st_size for name in (IMAGE, MASK, RECORD))
            kept_at = datetime.fromtimestamp(record.stat().st_mtime, UTC)
        except (OSError, CorruptRecordError) as error:
            # Nobody's kill does this; a failing disk does.
            logger.warning("outbox entry %s is unreadable and goes: %s", folder.name, error)
            self._journal.event("hard_example.dropped", sample_id=folder.name, reason=str(error))
            self._remove(SampleId(folder.name))
            return
        self._add(OutboxEntry(example=example, size=size, kept_at=kept_at))

    def _add(self, entry: OutboxEntry) -> None:
        self._entries[entry.example.sample_id] = entry
        self._size += entry.size

    def _take_out(self, sample_id: SampleId) -> None:
        entry = self._entries.pop(sample_id, None)
        if entry is not None:
            self._size -= entry.size
            self._remove(sample_id)

    def _tell_dropped(self, example: HardExample, reason: str) -> None:
        logger.warning("dropped %s, score %.3f: %s", example.sample_id, example.score, reason)
        facts: dict[str, JSONValue] = {
            "sample_id": example.sample_id,
            "score": example.score,
            "reason": reason,
        }
        self._journal.event("hard_example.dropped", **facts)
