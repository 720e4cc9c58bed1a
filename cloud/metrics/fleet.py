"""What nodes last reported, as metrics; the labels are nodes, and few words a node."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from cloud.fleet.edges import EdgeState, Standing, alarms_of
from cloud.metrics.catalogue import EDGES, Families
from cloud.monitor.look import Look
from lifelong.records.edge_health import EdgeHealth

# A node names its own alarms and statistics: a broken one must not fill the database.
_NAME = re.compile(r"[a-z][a-z0-9_ .-]{0,39}")
_NAMES = 16  # of each kind, a node
_GAUGES = (
    ("edge_fps", "fps"),
    ("edge_outbox_bytes", "outbox_bytes"),
    ("edge_outbox_examples", "outbox_examples"),
    ("edge_outbox_oldest_age_seconds", "outbox_oldest_s"),
    ("edge_cpu_celsius", "cpu_celsius"),
    ("edge_load", "load"),
    ("edge_memory_bytes", "memory_bytes"),
    ("edge_state_free_bytes", "state_free_bytes"),
    ("edge_outbox_free_bytes", "outbox_free_bytes"),
    ("edge_frames_total", "frames"),
    ("edge_frames_failed_total", "frames_failed"),
    ("edge_hard_examples_total", "hard_examples"),
    ("edge_uploaded_total", "uploaded"),
    ("edge_dropped_total", "dropped"),
    ("edge_swaps_total", "swaps"),
    ("edge_fallbacks_total", "fallbacks"),
)
_PERCENTILES = (("50", "p50_ms"), ("99", "p99_ms"))


def fleet_metrics(look: Look) -> Iterator[Metric]:
    """One family a metric, one sample a node."""
    families = Families(EDGES)
    counts = Counter(standing.state for standing in look.fleet)
    for state in EdgeState:
        families.put("edges", counts[state], str(state))
    for standing in look.fleet:
        _put_standing(families, standing)
        if standing.seen.health is not None:
            _put_report(families, standing.seen.edge_id, standing.seen.health)
    return iter(families)


def _put_standing(families: Families, standing: Standing) -> None:
    edge = standing.seen.edge_id
    families.put("edge_state", 1.0, edge, str(standing.state))
    families.put("edge_report_age_seconds", standing.age_s, edge)


def _put_report(families: Families, edge: str, health: EdgeHealth) -> None:
    for name, field in _GAUGES:
        families.put(name, getattr(health, field), edge)
    for percentile, field in _PERCENTILES:
        families.put("edge_inference_seconds", getattr(health, field) / 1000.0, edge, percentile)
    for alarm in _few(alarms_of(health)):
        kind = "drift" if alarm in health.alarms else "node"  # a node alarms of drift only
        families.put("edge_alarm", 1.0, edge, kind, alarm)
    for statistic in _few(health.drift):
        families.put("edge_drift", health.drift[statistic], edge, statistic)


def _few(names: Iterable[str]) -> list[str]:
    return [name for name in names if _NAME.fullmatch(name)][:_NAMES]
