"""The outbox: hard examples on this node's disk until storage has them; bounded, whole or absent.

One folder an entry: `{sample_id}/image.jpg`, `mask.png`, `example.json`. An entry is written
under an unfinished name and renamed; it goes by being renamed to one. So at any instant, also of
a power cut, an entry is there as a whole or not at all. One process at a time, any thread.
"""

import errno
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.delivery.example_files import example_files, objects_of
from lifelong.errors import ChecksumError, CorruptRecordError
from lifelong.hard_examples import Verdict
from lifelong.links.durable_files import UNFINISHED, sync_folder, write_synced
from lifelong.links.journal import Journal, JSONValue, utc_now
from lifelong.records.ids import SampleId
from lifelong.records.keys import IMAGE, MASK, RECORD
from lifelong.records.pixels import Frame, Prediction
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json
from lifelong.sections.delivery import OutboxSection

logger = logging.getLogger(__name__)

# What a write says when there is no room; an entry of less worth makes some.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ROOM_TRIES = 8

# An entry's age is counted by a clock that nobody can set. For an entry of an earlier life only
# the wall clock knows; it is believed when it still says the same after this long.
_SETTLED_S = 3600.0

# Ages are hours, and `expire` is called after each frame: days offline leave thousands to look at.
_EXPIRY_EVERY_S = 1.0

# Boxes without a battery for their clock wake up in 1970: an entry from before this has no age.
CLOCKS_ARE_SET_SINCE = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A hard example that waits, and what it takes on the disk."""

    example: HardExample
    size: int  # bytes of the three files
    kept_at: datetime  # UTC, by a clock that may have been set since
    since: float | None  # when it was kept, on the uptime clock; None: in an earlier life, unjudged


class Outbox:
    """Hard examples that wait for delivery; opening one clears what a kill left unfinished."""

    def __init__(
        self,
        section: OutboxSection,
        journal: Journal,
        now: Callable[[], datetime] = utc_now,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = section.path
        self._max_bytes = section.max_mib * 2**20
        self._max_age = timedelta(hours=section.max_age_hours)
        self._journal = journal
        self._now = now
        self._uptime = uptime
        self._opened_at, self._opened_up = now(), uptime()
        self._next_expiry = self._opened_up
        self._lock = threading.RLock()
        self._entries: dict[SampleId, OutboxEntry] = {}
        self._size = 0
        self._dropped = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self._size

    @property
    def dropped(self) -> int:
        """Hard examples that were given up since the start."""
        return self._dropped

    def put(
        self, frame: Frame, prediction: Prediction, verdict: Verdict, *, scene_hash: str = ""
    ) -> HardExample | None:
        """Keep a hard example; it is on the disk when this returns.

        Args:
            scene_hash: of the picture, 16 hex digits (`edge/scene_hash.py`).

        Returns:
            The example, or None when it was dropped because there is no room for it.
        """
        example, contents = example_files(frame, prediction, verdict, scene_hash=scene_hash)
        size = sum(len(data) for data in contents.values())
        entry = OutboxEntry(example=example, size=size, kept_at=self._now(), since=self._uptime())
        with self._lock:
            if example.sample_id in self._entries:  # the same picture again, e.g. after a kill
                return self._entries[example.sample_id].example
            if not self._make_room(entry):
                return None
            try:
                self._write_making_room(example, contents)
            except OSError as error:
                self._tell_dropped(example, f"cannot be written: {error.strerror or error}")
                return None
            self._add(entry)
            return example

    def oldest_age_s(self) -> float | None:
        """Seconds that the oldest entry has waited, as `expire` counts them; None: none waits."""
        uptime = self._uptime()
        with self._lock:
            ages = [self._age_s(entry, uptime) for entry in self._entries.values()]
        return max(ages, default=None)

    def __contains__(self, sample_id: SampleId) -> bool:
        return sample_id in self._entries

    def waiting(self) -> list[HardExample]:
        """What waits, highest priority first, then in the order in which the device saw it."""
        return [entry.example for entry in self.entries()]

    def entries(self, *, by_bytes: bool = False) -> list[OutboxEntry]:
        """What waits, with sizes, in the same order; `by_bytes`: highest priority a byte first."""
        with self._lock:
            entries = list(self._entries.values())
        return sorted(
            entries,
            key=lambda entry: (
                -entry.example.priority / (entry.size if by_bytes else 1),
                entry.example.sequence,
            ),
        )

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

    def replaced(self, sample_id: SampleId, *, by: SampleId) -> None:
        """A better frame of the same scene is kept: this one goes, if it still waits."""
        with self._lock:
            if sample_id in self._entries:
                self._take_out(sample_id)
                self._journal.event("hard_example.replaced", sample_id=sample_id, by=by)

    def drop(self, sample_id: SampleId, reason: str) -> None:
        """Give an entry up undelivered, and say so in the journal; nothing when it is gone."""
        with self._lock:
            if sample_id in self._entries:
                self._tell_dropped(self._entries[sample_id].example, reason)
                self._take_out(sample_id)

    def expire(self) -> None:
        """Drop what is older than the outbox keeps things; a clock that jumps makes nothing old."""
        uptime = self._uptime()
        if uptime < self._next_expiry:
            return
        self._next_expiry = uptime + _EXPIRY_EVERY_S
        with self._lock:
            if uptime - self._opened_up >= _SETTLED_S:
                self._judge_ages(uptime)
            old = [
                sample_id
                for sample_id, entry in self._entries.items()
                if entry.since is not None and uptime - entry.since > self._max_age.total_seconds()
            ]
            for sample_id in old:
                self.drop(sample_id, f"older than {self._max_age.total_seconds() / 3600:g} h")

    def _judge_ages(self, uptime: float) -> None:
        """Settle the ages of entries of an earlier life; from here on no clock changes them."""
        for sample_id, entry in self._entries.items():
            if entry.since is None:
                since = uptime - self._age_s(entry, uptime)
                self._entries[sample_id] = replace(entry, since=since)

    def _age_s(self, entry: OutboxEntry, uptime: float) -> float:
        """For an entry of an earlier life the least age that the wall clock ever said."""
        if entry.since is not None:
            return uptime - entry.since
        by_now = (self._now() - entry.kept_at).total_seconds()
        at_opening = (self._opened_at - entry.kept_at).total_seconds()
        age = min(by_now, at_opening + uptime - self._opened_up)
        if entry.kept_at < CLOCKS_ARE_SET_SINCE or age < 0:
            return uptime - self._opened_up
        return age

    def _make_room(self, new: OutboxEntry) -> bool:
        """Evict the lowest priorities until `new` fits; False when `new` itself is the lowest."""
        limit = f"outbox is full ({self._max_bytes // 2**20} MiB)"
        if new.size > self._max_bytes:
            self._tell_dropped(new.example, f"larger than the whole outbox: {new.size} bytes")
            return False
        ranked = self._lowest_first()
        excess = self.size + new.size - self._max_bytes
        victims: list[OutboxEntry] = []
        while excess > 0:
            victim = ranked[len(victims)]
            if victim.example.priority > new.example.priority:
                self._tell_dropped(new.example, f"{limit} of higher priorities")
                return False
            victims.append(victim)
            excess -= victim.size
        for victim in victims:
            self.drop(victim.example.sample_id, f"{limit}, a higher priority came")
        return True

    def _lowest_first(self) -> list[OutboxEntry]:
        # Of equal priorities the older goes first, which says less about today. The device's own
        # count says which is older: its clock may jump.
        return sorted(
            self._entries.values(),
            key=lambda entry: (entry.example.priority, entry.example.sequence),
        )

    def _write_making_room(self, example: HardExample, contents: dict[str, bytes]) -> None:
        """Write; on a disk that others have filled, lower priorities go to make room.

        Raises:
            OSError: there is none to be made, or the disk is broken.
        """
        for _ in range(_ROOM_TRIES):
            try:
                self._write(example.sample_id, contents)
                return
            except OSError as error:
                lowest = next(iter(self._lowest_first()), None)
                if error.errno not in _NO_ROOM or lowest is None:
                    raise
                if lowest.example.priority >= example.priority:
                    raise
                self.drop(lowest.example.sample_id, "disk is full, a higher priority came")
        self._write(example.sample_id, contents)

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
        self._add(OutboxEntry(example=example, size=size, kept_at=kept_at, since=None))

    def _add(self, entry: OutboxEntry) -> None:
        self._entries[entry.example.sample_id] = entry
        self._size += entry.size

    def _take_out(self, sample_id: SampleId) -> None:
        entry = self._entries.pop(sample_id, None)
        if entry is not None:
            self._size -= entry.size
            self._remove(sample_id)

    def _tell_dropped(self, example: HardExample, reason: str) -> None:
        self._dropped += 1
        logger.warning("dropped %s, priority %.3f: %s", example.sample_id, example.priority, reason)
        facts: dict[str, JSONValue] = {
            "sample_id": example.sample_id,
            "score": example.score,
            "priority": example.priority,
            "reason": reason,
        }
        self._journal.event("hard_example.dropped", **facts)
