"""The fleet as the cloud sees it: who reports, how old the report is, how each node stands.

One listing tells which reports are new; only those are read. A report's age is counted from its
arrival: by the store's clock when it is seen for the first time, by the cloud's own from then on.
The device's clock judges nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cloud.device_rooms import entries_of_devices
from lifelong.errors import CorruptRecordError, LifelongError, ObjectNotFoundError
from lifelong.links.storage import Entry, Storage
from lifelong.records.device_records import MAX_BYTES, from_device
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, edge_id
from lifelong.records.keys import EDGES
from lifelong.records.model_versions import Release
from lifelong.sections.fleet import ReleasesSection
from lifelong.staging import release_for

FAILED_FRAMES = 0.01  # share of the last frames that no model answered, from which on it alarms
LOW_DISK_BYTES = 100 * 2**20
HOT_CELSIUS = 90.0
PATIENCE_REPORTS = 2.5  # so many of its own pauses may pass before a node counts as silent
SLOWEST_PACE_S = 7 * 86400.0  # whatever a node says of its pauses, so that it can be missed


class EdgeState(StrEnum):
    """How a node stands, the gravest first."""

    SILENT = "silent"
    ALARM = "alarm"
    BEHIND = "behind"  # it reports, but does not run what it should
    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEdge:
    """A node's last report and when it came."""

    edge_id: EdgeId
    arrived_at: datetime  # UTC, not by the device's clock
    health: EdgeHealth | None  # None: nothing readable has come
    trouble: str = ""  # what is wrong with the report itself, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A node's state with everything that speaks for it, in words."""

    seen: SeenEdge
    state: EdgeState
    reasons: tuple[str, ...]
    wanted: Release | None  # what it should run
    age_s: float  # of its last report


class Edges:
    """Looks at `edges/` again and again; one object a process, for it remembers."""

    def __init__(self, storage: Storage, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._now = now
        self._seen: dict[str, tuple[str, SeenEdge]] = {}  # key -> (mark, what was read)

    def look(self) -> list[SeenEdge]:
        """Every node that has ever reported, by name."""
        reports = [
            entry for entry in entries_of_devices(self._storage, EDGES) if _is_report(entry.key)
        ]
        for entry in reports:
            known = self._seen.get(entry.key)
            if known is None or known[0] != entry.mark:
                found = self._read(entry, known[1] if known else None)
                if found is not None:
                    self._seen[entry.key] = (entry.mark, found)
        for gone in self._seen.keys() - {entry.key for entry in reports}:
            del self._seen[gone]
        return [seen for _, (_, seen) in sorted(self._seen.items())]

    def _read(self, entry: Entry, before: SeenEdge | None) -> SeenEdge | None:
        edge = EdgeId(entry.key.split("/")[1])
        now = self._now()
        arrived_at = now if before else min(entry.modified, now)
        try:
            if entry.size > MAX_BYTES:
                raise CorruptRecordError(f"{entry.key}: {entry.size} bytes, no report has so many")
            health = from_device(EdgeHealth, self._storage.get(entry.key), entry.key)
        except ObjectNotFoundError:
            return None  # taken away a moment ago
        except LifelongError as error:
            if error.retryable:
                raise
            old = before.health if before else None
            return SeenEdge(edge_id=edge, arrived_at=arrived_at, health=old, trouble=str(error))
        return SeenEdge(
            edge_id=edge,
            arrived_at=arrived_at,
            health=health,
            trouble=_wrong_with(health, edge, before),
        )


def _is_report(key: str) -> bool:
    """Is it the report of a node, and not something that lies there under no node's name?"""
    folder, _, name = key.removeprefix(f"{EDGES}/").partition("/")
    try:
        return bool(edge_id(folder)) and name == "health.json"
    except ValueError:
        return False


def _wrong_with(health: EdgeHealth, edge: EdgeId, before: SeenEdge | None) -> str:
    if health.edge_id != edge:
        return f"it was written by {health.edge_id}"
    old = before.health if before else None
    if old is not None and health.report <= old.report and health != old:
        return (
            f"report {health.report} came after {old.report}: a second node has this id, "
            "or the node's state was wiped"
        )
    return ""


def alarms_of(health: EdgeHealth) -> dict[str, str]:
    """Everything in a report that somebody should look at: name -> words."""
    found = dict(health.alarms)
    if health.failed_share > FAILED_FRAMES:
        found["frames"] = f"{100 * health.failed_share:.0f} % of its frames fail"
    if health.source_error:
        found["source"] = f"no frame comes: {health.source_error}"
    for name, free in (("outbox", health.outbox_free_bytes), ("state", health.state_free_bytes)):
        if free is not None and free < LOW_DISK_BYTES:
            found[f"disk of {name}"] = f"{free / 2**20:.0f} MiB left on the disk of its {name}"
    if health.cpu_celsius is not None and health.cpu_celsius >= HOT_CELSIUS:
        found["heat"] = f"{health.cpu_celsius:.0f} °C"
    return found


def is_silent(seen: SeenEdge, section: ReleasesSection, now: datetime) -> bool:
    """Has it been quiet for longer than `silent_minutes`, and than its own pace explains?"""
    pace_s = min(seen.health.report_seconds, SLOWEST_PACE_S) if seen.health else 0.0
    patience_s = max(60.0 * section.silent_minutes, PATIENCE_REPORTS * pace_s)
    return now - seen.arrived_at > timedelta(seconds=patience_s)


def standing_of(
    seen: SeenEdge,
    current: Release | None,
    staged: Release | None,
    section: ReleasesSection,
    now: datetime,
) -> Standing:
    """How a node stands, with all reasons; the gravest of them is its state."""
    wanted = release_for(seen.edge_id, current, staged)
    age_s = max((now - seen.arrived_at).total_seconds(), 0.0)
    state, reasons = EdgeState.WELL, []
    health = seen.health
    if health is not None and wanted is not None and health.version_id != wanted.version_id:
        state = EdgeState.BEHIND
        reasons.append(f"runs {health.version_id or 'nothing'}, should run {wanted.version_id}")
        if health.refused_version == wanted.version_id:
            state = EdgeState.ALARM
            reasons.append(f"refused it: {health.refused_reason}")
    alarms = list(alarms_of(health).values()) if health else []
    if seen.trouble:
        alarms.append(f"its report: {seen.trouble}")
    if alarms:
        state = EdgeState.ALARM
    if is_silent(seen, section, now):
        state = EdgeState.SILENT
        reasons.insert(0, f"silent for {told_age(age_s)}")
    return Standing(seen=seen, state=state, reasons=(*reasons, *alarms), wanted=wanted, age_s=age_s)


def told_age(seconds: float) -> str:
    """A time span for people.

    >>> [told_age(s) for s in (5, 300, 86400)]
    ['5 s', '5 min', '24 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
