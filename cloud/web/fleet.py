"""Edge nodes over HTTP: a page, the same as JSON, and metrics for Prometheus."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Look = Callable[[], dict[str, Any]]

# Metric, what it says, and the field of a node's report.
_GAUGES = (
    ("edge_fps", "Frames a second over the last seconds.", "fps"),
    ("edge_outbox_bytes", "Hard examples that wait on the node.", "outbox_bytes"),
    ("edge_outbox_examples", "Hard examples that wait on the node.", "outbox_examples"),
    ("edge_cpu_celsius", "Temperature of the processor.", "cpu_celsius"),
    ("edge_load", "Average load of the last minute, a core.", "load"),
    ("edge_memory_bytes", "Resident memory of the node's process.", "memory_bytes"),
    ("edge_state_free_bytes", "Free space of the disk with the state.", "state_free_bytes"),
    ("edge_outbox_free_bytes", "Free space of the outbox's disk.", "outbox_free_bytes"),
)
_COUNTERS = (
    ("edge_frames", "Frames since the node's start.", "frames"),
    ("edge_frames_failed", "Frames that no model answered.", "frames_failed"),
    ("edge_hard_examples", "Hard examples kept since the node's start.", "hard_examples"),
    ("edge_uploaded", "Hard examples confirmed by storage.", "uploaded"),
    ("edge_dropped", "Hard examples given up: no space, too old.", "dropped"),
    ("edge_swaps", "Swaps of the model.", "swaps"),
    ("edge_fallbacks", "Falls back to the model before.", "fallbacks"),
)


class FleetMetrics(Collector):
    """Counted anew at each scrape from what nodes last reported, and from the rounds."""

    def __init__(self, fleet: Look, overview: Look) -> None:
        self._fleet = fleet
        self._overview = overview

    def describe(self) -> list[Metric]:
        """Nothing: the names are not checked against another collector's."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family a metric, one sample a node."""
        found = self._fleet()
        reports = [(one["edge"], one["health"]) for one in found["edges"] if one["health"]]
        for name, help_text, field in _GAUGES:
            gauge = GaugeMetricFamily(name, help_text, labels=["edge"])
            for edge, health in reports:
                if health[field] is not None:
                    gauge.add_metric([edge], health[field])
            yield gauge
        for name, help_text, field in _COUNTERS:
            counter = CounterMetricFamily(name, help_text, labels=["edge"])
            for edge, health in reports:
                counter.add_metric([edge], health[field])
            yield counter
        yield _seconds(reports)
        yield _ages(found["edges"])
        yield _states(found["edges"])
        overview = self._overview()
        yield _round_state(overview)
        yield GaugeMetricFamily(
            "conditions_proposed",
            "New conditions that wait for a name.",
            value=overview.get("conditions_proposed", 0),
        )


def add_fleet(app: FastAPI, fleet: Look, overview: Look, title: str) -> None:
    """`/edges`, `/edges.json` and `/metrics`.

    Args:
        fleet: what `cornerloop edges --json` prints.
        overview: what `cornerloop rounds --json` prints.
    """
    page = Environment(
        loader=PackageLoader("cloud.web", "templates"), autoescape=True
    ).get_template("edges.html")
    registry = CollectorRegistry()
    registry.register(FleetMetrics(fleet, overview))

    @app.get("/edges.json")
    def edges_json() -> dict[str, Any]:
        return fleet()

    @app.get("/edges", response_class=HTMLResponse)
    def edges_page() -> str:
        return page.render(title=title, **fleet())

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _seconds(reports: list[tuple[str, dict[str, Any]]]) -> Metric:
    found = GaugeMetricFamily(
        "edge_inference_seconds",
        "Time of a frame, quantiles over the last ones.",
        labels=["edge", "quantile"],
    )
    for edge, health in reports:
        for quantile, field in (("0.5", "p50_ms"), ("0.99", "p99_ms")):
            found.add_metric([edge, quantile], health[field] / 1000.0)
    return found


def _ages(edges: list[dict[str, Any]]) -> Metric:
    found = GaugeMetricFamily(
        "edge_report_age_seconds", "Since the last report came.", labels=["edge"]
    )
    for one in edges:
        found.add_metric([one["edge"]], one["age_seconds"])
    return found


def _states(edges: list[dict[str, Any]]) -> Metric:
    found = GaugeMetricFamily(
        "edge_state", "1 for the state that the node is in.", labels=["edge", "state"]
    )
    for one in edges:
        found.add_metric([one["edge"], one["state"]], 1.0)
    return found


def _round_state(overview: dict[str, Any]) -> Metric:
    found = GaugeMetricFamily(
        "round_state", "1 for the state that the newest round is in.", labels=["round", "state"]
    )
    for newest in overview.get("rounds", [])[-1:]:
        found.add_metric([str(newest["number"]), newest["state"]], 1.0)
    return found
