"""A fleet without processes: nodes poll, "run" and report on a virtual clock; some fail."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from obstore.store import MemoryStore

from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Entry, Storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, VersionId
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE, health_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_json
from lifelong.staging import release_for
from tests.builders import NOON

REPORT_MINUTES = 5.0


class VirtualClock:
    """UTC that passes only when told to."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at

    def pass_minutes(self, minutes: float) -> None:
        self.at += timedelta(minutes=minutes)


class TimedStorage(Storage):
    """Storage in memory whose objects are as old as the virtual clock says; may die at a write."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(MemoryStore(), "memory://")
        self._clock = clock
        self._written: dict[str, datetime] = {}
        self.writes_left: int | None = None  # None: it lives for ever

    def put(self, key: str, data: bytes) -> None:
        self._about_to_write()
        super().put(key, data)
        self._written[key] = self._clock()

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._about_to_write()
        super().put_if_absent(key, data)
        self._written[key] = self._clock()

    def delete(self, key: str) -> None:
        self._about_to_write()
        super().delete(key)

    def entries(self, prefix: str) -> list[Entry]:
        return [replace(e, modified=self._written[e.key]) for e in super().entries(prefix)]

    def _about_to_write(self) -> None:
        if self.writes_left is None:
            return
        if self.writes_left == 0:
            raise StorageUnavailableError("killed")
        self.writes_left -= 1


@dataclass(slots=True, kw_only=True)
class SimulatedNode:
    """What matters of a node to a roll-out; `new` is what it does with a model not run before."""

    edge_id: EdgeId
    clock: VirtualClock
    # A changed report for a version, or None when the node is dead from then on.
    new: Callable[[EdgeHealth], EdgeHealth | None] = lambda health: health
    first_version: VersionId | None = None  # the first one it ran; nothing befalls that
    running: VersionId | None = None
    number: int = 0
    seen: set[VersionId] = field(default_factory=set)
    report: int = 0
    clock_is_off: timedelta = timedelta()
    is_dead: bool = False
    refused: VersionId | None = None

    def live(self, storage: Storage) -> None:
        """One turn: look for a release, run it, report."""
        if self.is_dead:
            return
        wanted = release_for(
            self.edge_id, read(storage, CURRENT_RELEASE), read(storage, STAGED_RELEASE)
        )
        if wanted and wanted.number > self.number and wanted.version_id != self.refused:
            self.running, self.number = wanted.version_id, wanted.number
            self.first_version = self.first_version or wanted.version_id
            self.seen.add(wanted.version_id)
        health = self.healthy()
        if self.running != self.first_version:
            changed = self.new(health)
            if changed is None:
                self.is_dead = True
                return
            health = changed
            self.running, self.refused = health.version_id, health.refused_version
        storage.put(health_key(self.edge_id), to_json(health))

    def healthy(self) -> EdgeHealth:
        """A report without anything to say."""
        self.report += 1
        return EdgeHealth(
            edge_id=self.edge_id,
            report=self.report,
            at=self.clock() + self.clock_is_off,
            report_seconds=60 * REPORT_MINUTES,
            software="0.1.0",
            label_map_digest="d",
            version_id=self.running,
            release_number=self.number,
            frames=1000 * self.report,
            fps=10.0,
            p50_ms=20.0,
            p99_ms=30.0,
        )


def a_fleet(clock: VirtualClock, count: int) -> list[SimulatedNode]:
    """Nodes that do well; every third one's clock is years off."""
    return [
        SimulatedNode(
            edge_id=EdgeId(f"edge-{number:03d}"),
            clock=clock,
            clock_is_off=timedelta(days=0 if number % 3 else -4000),
        )
        for number in range(count)
    ]


def live(nodes: Iterable[SimulatedNode], storage: Storage) -> None:
    """One turn of every node."""
    for node in nodes:
        node.live(storage)


def read(storage: Storage, key: str) -> Release | None:
    """A pointer, as a node reads it."""
    if not storage.exists(key):
        return None
    return from_json(Release, storage.get(key), key)
