"""How the service itself stands, as metrics."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import Metric

from cloud.metrics.catalogue import SERVICE, Families
from cloud.monitor.look import Look
from cloud.monitor.readiness import Code, ServiceState, Standing, Vitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Numbers of this process that somebody else keeps; None where nobody does."""

    journal_events: Callable[[], Mapping[str, int]] = dict  # since the start, by name
    embedding_lookups: Callable[[], Mapping[str, int]] | None = None  # by where they were found
    assist_work: Callable[[], int] | None = None  # how much is under way or waits
    version: str = ""


def service_metrics(
    gauges: Gauges, vitals: Vitals, standing: Standing, look: Look | None, now: datetime
) -> Iterator[Metric]:
    """Readiness, threads, what the service stands on, and what the smart tool is at.

    Args:
        standing: what `/readyz` says at this moment.
        look: the newest look into storage; None before the first.
    """
    families = Families(SERVICE)
    _put_standing(families, standing)
    for thread, silence in vitals.hearts.silences().items():
        families.put("service_thread_silence_seconds", silence, thread)
    if look is not None:
        families.put("service_look_age_seconds", max((now - look.at).total_seconds(), 0.0))
    seen = vitals.seen()
    if seen.label_studio is not None:
        families.put("label_studio_reachable", float(seen.label_studio))
    for place, free in seen.free_bytes.items():
        families.put("disk_free_bytes", free, place)
    families.put("audit_entries", seen.audit_entries)
    _put_assist(families, gauges, vitals)
    for event, count in sorted(gauges.journal_events().items()):
        families.put("journal_events_total", count, event)
    if gauges.version:
        families.put("cornerloop_info", 1.0, gauges.version)
    return iter(families)


def _put_standing(families: Families, standing: Standing) -> None:
    codes = {fault.code for fault in standing.faults}
    for state in ServiceState:
        families.put("service_state", float(state is standing.state), str(state))
    for code in Code:
        families.put("service_fault", float(code in codes), str(code))
    if Code.NOT_SEEN_YET not in codes:
        families.put("storage_reachable", float(Code.STORAGE not in codes))


def _put_assist(families: Families, gauges: Gauges, vitals: Vitals) -> None:
    models = vitals.models()
    if models:
        states = Counter(readiness for readiness, _ in models.values())
        for state in ("loading", "ready", "degraded", "failed"):
            families.put("assist_models", states[state], state)
    if gauges.embedding_lookups is not None:
        for source, count in gauges.embedding_lookups().items():
            families.put("assist_embedding_lookups_total", count, source)
    if gauges.assist_work is not None:
        families.put("assist_work", gauges.assist_work())
