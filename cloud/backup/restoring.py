"""Put a backup back: into an empty place, or only what is missing in one that is in use.

What points comes last, and until all is there a mark in storage keeps every program of ours from
working with it. Killed at any point, the same command goes on. At the end the services of before
are fenced off: the newest term of the lease lies far above any that one of them may hold, so that
it stops at its next step; and the released version is released once more, with a number that no
node has seen (`cloud/releasing/floor.py`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from annotation.task_fields import SAMPLE
from cloud.annotators.lost_work import note_lost_work
from cloud.backup.mark import Restoring, mark, unfinished, unmark
from cloud.backup.parts import OF_NODES, Part
from cloud.backup.places import Place, is_plain
from cloud.backup.records import BackupRecord, Item, object_key, refuse_incomplete
from cloud.backup.studio_copy import NAME as STUDIO
from cloud.lease import LEASES, Lease, Term
from cloud.releasing.floor import GAP, ReleaseFloor, read_floor, safely_above, write_floor
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from lifelong.errors import ConfigError, RecordError, RoundError, StorageError
from lifelong.links.storage import Storage, checked_key
from lifelong.links.unfinished_writes import sweep_unfinished
from lifelong.records.forget_requests import ForgetRequest
from lifelong.records.ids import SampleId, sha256_hex
from lifelong.records.keys import FORGETTING, FORGOTTEN
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, json_object, to_json

_LEASE_SECONDS = 300.0
_LOOKS_AT_LEASE = 100  # objects between two
_TRAINING_LEASE = "training_lease"
_LOG = re.compile(r"(?:kb/log|audit)/\d+\.json\Z")  # chains: never two histories in one
_RELEASE = re.compile(r"releases/\d{6,}\.json\Z")
_ELSEWHERE = ("config", STUDIO)  # parts that are put back otherwise

Tell = Callable[[str, int], object]


@dataclass(slots=True)
class Restored:
    """What a run did."""

    backup_id: str
    written: int = 0
    there: int = 0  # objects that were there already, byte for byte
    kept: list[str] = field(default_factory=list)  # "part: key", other bytes than the backup's
    forgotten: int = 0  # objects of samples that were forgotten since the backup
    no_place: list[str] = field(default_factory=list)  # parts the configuration has no place for
    release: Release | None = None  # what nodes are told to run now
    not_released: str = ""  # why the floor is set and nothing is released above it
    open_round: int = 0  # the round that goes on; 0: none
    work: int = 0  # of how many of its tasks the backup has people's work


def restore(
    place: Storage,
    record: BackupRecord,
    storage: Storage,
    parts: Sequence[Part],
    releases: Releases,
    *,
    completes: bool,
    now: Callable[[], datetime],
    tell: Tell = lambda part, done: None,
) -> Restored:
    """Put everything back.

    Args:
        place: where the backup lies.
        storage: where the loop's state goes to; one of `parts` writes there.
        completes: something is there: write what is missing, overwrite and remove nothing.

    Raises:
        ConfigError: something is there already; or, completing, it has another history.
        RecordError: the backup is not whole; nothing was written.
        RoundError: a service holds the lease.
        ChecksumError: an object of the backup is damaged; run again with a good copy.
    """
    _refuse_climbing(record)
    refuse_incomplete(place, record)
    places = {part.name: part.place for part in parts}
    begun = unfinished(storage)
    if begun is not None and begun.backup_id != record.backup_id:
        raise RecordError(
            f"{storage.url}: another backup ({begun.backup_id}) is half restored there; restore "
            "that one, or empty the place"
        )
    if begun is None:
        _refuse_spoiling(place, record, parts, completes=completes)
        begun = Restoring(backup_id=record.backup_id, began_at=now(), completes=completes)
    lease = Lease(storage, _LEASE_SECONDS, now)
    if not lease.hold():
        raise RoundError(f"{storage.url}: a service holds the lease; stop it, then restore")
    done = Restored(record.backup_id)
    try:
        mark(storage, begun)
        run = _Run(place, places, lease, done, tell, _forgotten_since(storage, record))
        for item in reversed(record.items):
            run.item(item, completes=begun.completes)
        # Of a restore that was killed: while the lease is ours only nodes write here.
        ours = {i.key for i in record.items if i.part == "storage" and not _is_of_nodes(i)}
        sweep_unfinished(storage, is_dead=ours.__contains__)
        run.forget_again(storage, now())
        if run.wrote_releases or not begun.completes:
            _release_above(done, storage, releases, record, now())
    except BaseException:
        lease.release()
        raise
    done.open_round = _open_round(storage)
    if done.open_round:
        round_ = Rounds(storage).all()[-1]
        done.work = note_lost_work(
            storage, round_, record.backup_id, _studio_tasks(place, record, run.forgotten)
        )
    _fence(storage, record, now())
    unmark(storage)
    return done


@dataclass(slots=True)
class _Run:
    place: Storage
    places: Mapping[str, Place]
    lease: Lease
    done: Restored
    tell: Tell
    forgotten: frozenset[str]  # samples that the place has forgotten and the backup knows
    count: int = 0
    wrote_releases: bool = False

    def item(self, item: Item, *, completes: bool) -> None:
        """Put one object back."""
        self.count += 1
        if self.count % _LOOKS_AT_LEASE == 0:
            self.lease.hold()
        place = self.places.get(item.part)
        if place is None or item.part in _ELSEWHERE:
            if item.part not in (*_ELSEWHERE, *self.done.no_place):
                self.done.no_place.append(item.part)
            return
        if self.forgotten and self.forgotten & set(re.split(r"[/.]", item.key)):
            self.done.forgotten += 1
            return
        there = place.read(item.key)
        if there is not None and sha256_hex(there) == item.sha256:
            self.done.there += 1
        elif there is not None and (completes or _is_of_nodes(item)):
            self.done.kept.append(f"{item.part}: {item.key}")
        else:
            place.write(item.key, self.place.get(object_key(item.sha256), sha256=item.sha256))
            self.done.written += 1
            self.wrote_releases |= item.part == "storage" and item.key.startswith("releases/")
        self.tell(item.part, self.count)

    def forget_again(self, storage: Storage, now: datetime) -> None:
        """The log and rounds that came back may name who was forgotten: let it be carried out."""
        for sample in sorted(self.forgotten):
            again = ForgetRequest(
                request_id=sha256_hex(f"{self.done.backup_id} {sample}".encode())[:16],
                scope="sample",
                name=sample,
                value="",
                samples=(SampleId(sample),),
                tasks=(),
                asked_at=now,
            )
            storage.put(f"{FORGETTING}/{again.request_id}.json", to_json(again))


def _refuse_climbing(record: BackupRecord) -> None:
    """A record may come from anywhere: see to its keys before anything is written.

    Raises:
        StorageError: one could lead out of its place.
    """
    for item in record.items:
        checked_key(item.key)
        if item.part != "storage" and not is_plain(item.key):
            raise StorageError(f"{item.part}: {item.key!r}: a name that could lead out of it")


def _is_of_nodes(item: Item) -> bool:
    """Nodes go on writing there while the loop is restored; theirs is the newer one."""
    return item.part == "storage" and item.key.split("/", 1)[0] in OF_NODES


def _refuse_spoiling(
    place: Storage, record: BackupRecord, parts: Sequence[Part], *, completes: bool
) -> None:
    """Nothing that is there may be lost."""
    wanted = {item.part for item in record.items}
    if not completes:
        full = [p for p in parts if p.name in wanted and not p.place.is_empty()]
        full = [part for part in full if part.name not in _ELSEWHERE]
        if full:
            raise ConfigError(
                f"{full[0].where} ({full[0].name}) is not empty; restore into an empty place, or "
                "move what is there away; `--into-existing` adds only what is missing"
            )
        return
    storage = next(part.place for part in parts if part.name == "storage")
    for item in record.items:
        if item.part != "storage" or not (_LOG.match(item.key) or _RELEASE.match(item.key)):
            continue
        there = storage.read(item.key)
        if there is None or sha256_hex(there) == item.sha256:
            continue
        ours = place.get(object_key(item.sha256), sha256=item.sha256)
        if not _is_same_link(there, ours, item.key):
            raise ConfigError(
                f"{item.key}: is another one there than in the backup: the two have different "
                "histories and cannot be joined; restore into an empty place"
            )


def _is_same_link(there: bytes, ours: bytes, key: str) -> bool:
    """One change of the log before and after something in it was forgotten."""
    one, other = (json_object(data, key).get("sha256") for data in (there, ours))
    return one is not None and one == other


def _forgotten_since(storage: Storage, record: BackupRecord) -> frozenset[str]:
    """Samples with a tombstone that the backup does not know."""
    known = {i.key for i in record.items if i.key.startswith(f"{FORGOTTEN}/")}
    keys = [key for key in storage.keys(FORGOTTEN) if key not in known]
    return frozenset(key.rsplit("/", 1)[-1].removesuffix(".json") for key in keys)


def _release_above(
    done: Restored, storage: Storage, releases: Releases, record: BackupRecord, now: datetime
) -> None:
    """Raise the floor above whatever was released after the backup, and release above it."""
    highest = max(record.release, read_floor(storage).number)
    floor = ReleaseFloor(number=safely_above(highest, now), round_number=record.round_number + GAP)
    write_floor(storage, floor)
    why = f"restored from the backup of {record.ended_at:%Y-%m-%d %H:%M} UTC"
    try:
        done.release = releases.go_on_above_floor(why)
    except (ConfigError, RecordError) as error:  # the signing key may be on another machine
        done.not_released = str(error)


def _open_round(storage: Storage) -> int:
    rounds = Rounds(storage).all()
    return rounds[-1].number if rounds and not rounds[-1].is_over else 0


def _studio_tasks(
    place: Storage, record: BackupRecord, forgotten: frozenset[str]
) -> Iterator[Mapping[str, object]]:
    """The annotated tasks that Label Studio told of, but for those of forgotten samples."""
    for item in record.items:
        if item.part == STUDIO and item.key.endswith("/tasks.json"):
            for task in _tasks(place.get(object_key(item.sha256), sha256=item.sha256)):
                data = task.get("data")
                if isinstance(data, dict) and str(data.get(SAMPLE)) not in forgotten:
                    yield task


def _tasks(data: bytes) -> list[Mapping[str, object]]:
    """None where it is no such list: all else is back by then, and nothing rests on it."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return [task for task in told if isinstance(task, dict)] if isinstance(told, list) else []


def _fence(storage: Storage, record: BackupRecord, now: datetime) -> None:
    """End all leases by a term above any that is held: who held one stops at its next step."""
    for room in (LEASES, _TRAINING_LEASE):
        keys = list(storage.keys(room))
        if not keys:
            continue
        newest = from_json(Term, storage.get(keys[-1]), keys[-1])
        number = safely_above(max(newest.number, record.lease), now)
        over = replace(newest, number=number, until=now - timedelta(seconds=1))
        storage.put(f"{room}/{number:08d}.json", to_json(over))
