"""K8S-09, EDGE-12: the fleet's list is cheap, judges by the cloud's clock, says what is wrong."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from cloud.assembly import make_watch, open_cloud
from cloud.cli import app
from cloud.fleet.edges import Edges, EdgeState, alarms_of, standing_of
from lifelong.config import load_config
from lifelong.links.journal import utc_now
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.keys import bundle_key, health_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_json
from lifelong.sections.fleet import ReleasesSection
from tests.builders import NOON
from tests.simulated_fleet import TimedStorage, VirtualClock, a_fleet, live
from tests.tiny_bundle import tiny_bundle
from tests.web_parts import a_client, some_parts

SECTION = ReleasesSection(silent_minutes=10)
WANTED = Release(
    number=3,
    version_id=VersionId("a" * 16),
    bundle_key="models/a.bundle",
    sha256="0" * 64,
    label_map_digest="d",
    round_number=RoundNumber(1),
    released_at=NOON,
    why="round 1 accepted",
)


def a_report(**changes: Any) -> EdgeHealth:
    fields: dict[str, Any] = {
        "edge_id": EdgeId("edge-1"),
        "report": 1,
        "at": NOON,
        "report_seconds": 60.0,
        "software": "0.1.0",
        "label_map_digest": "d",
        "version_id": WANTED.version_id,
        "release_number": 3,
        "frames": 100,
        "fps": 9.5,
        "p50_ms": 20.0,
        "p99_ms": 31.0,
    }
    return EdgeHealth(**{**fields, **changes})


class CountingStorage(TimedStorage):
    """Counts what is asked of it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.asked: list[str] = []

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.asked.append(f"get {key}")
        return super().get(key, sha256=sha256)

    def entries(self, prefix: str) -> Any:
        self.asked.append(f"list {prefix}")
        return super().entries(prefix)


def test_k8s_09_a_look_at_1000_nodes_is_one_listing_and_the_reports_that_changed():
    clock = VirtualClock()
    storage = CountingStorage(clock)
    nodes = a_fleet(clock, 1000)
    live(nodes, storage)
    edges = Edges(storage, clock)
    assert len(edges.look()) == 1000
    storage.asked.clear()
    assert len(edges.look()) == 1000
    assert storage.asked == ["list edges"]
    clock.pass_minutes(1)
    live(nodes[3:5], storage)
    storage.asked.clear()
    found = edges.look()
    assert storage.asked == [
        "list edges",
        "get edges/edge-003/health.json",
        "get edges/edge-004/health.json",
    ]
    assert [seen.edge_id for seen in found if seen.arrived_at == clock()] == [
        "edge-003",
        "edge-004",
    ]


def test_a_node_whose_clock_is_years_off_is_neither_silent_nor_new():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    edges = Edges(storage, clock)
    for number, days in enumerate((-4000, 4000)):
        report = a_report(report=number, at=NOON + timedelta(days=days))
        storage.put(health_key(EdgeId("edge-1")), to_json(report))
        (seen,) = edges.look()
        assert standing_of(seen, WANTED, None, SECTION, clock()).state is EdgeState.WELL
        clock.pass_minutes(11)
        (seen,) = edges.look()
        silent = standing_of(seen, WANTED, None, SECTION, clock())
        assert (silent.state, silent.reasons) == (EdgeState.SILENT, ("silent for 11 min",))
    # A controller that was just started takes the store's word for when the report came.
    assert Edges(storage, clock).look()[0].arrived_at == clock() - timedelta(minutes=11)


def test_a_node_that_reports_seldom_is_not_silent_between_two_reports():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(report_seconds=3600.0)))
    edges = Edges(storage, clock)
    edges.look()
    clock.pass_minutes(149)
    assert standing_of(edges.look()[0], WANTED, None, SECTION, clock()).state is EdgeState.WELL
    clock.pass_minutes(2)
    assert standing_of(edges.look()[0], WANTED, None, SECTION, clock()).state is EdgeState.SILENT


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, EdgeState.WELL, ""),
        ({"version_id": "b" * 16}, EdgeState.BEHIND, "should run aaaa"),
        ({"version_id": None}, EdgeState.BEHIND, "runs nothing"),
        (
            {"version_id": "b" * 16, "refused_version": "a" * 16, "refused_reason": "truncated"},
            EdgeState.ALARM,
            "refused it: truncated",
        ),
        ({"refused_version": "c" * 16, "refused_reason": "long ago"}, EdgeState.WELL, ""),
        ({"alarms": {"drift": "PSI 0.4"}}, EdgeState.ALARM, "PSI 0.4"),
        ({"failed_share": 0.02}, EdgeState.ALARM, "2 % of its frames fail"),
        ({"state_free_bytes": 5 * 2**20}, EdgeState.ALARM, "5 MiB left"),
        ({"source_error": "no route to host"}, EdgeState.ALARM, "no frame comes: no route"),
        ({"cpu_celsius": 97.0}, EdgeState.ALARM, "97 °C"),
    ],
)
def test_edge_12_states_and_their_reasons(changes, state, words):
    clock = VirtualClock()
    storage = TimedStorage(clock)
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(**changes)))
    (seen,) = Edges(storage, clock).look()
    standing = standing_of(seen, WANTED, None, SECTION, clock())
    assert standing.state is state
    assert words in "; ".join(standing.reasons)
    assert bool(standing.reasons) == bool(words)


def test_a_staged_release_is_what_its_share_of_nodes_should_run():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    staged = replace(WANTED, number=4, version_id=VersionId("b" * 16), share=0.5)
    nodes = a_fleet(clock, 100)
    live(nodes, storage)
    wanted = {
        standing_of(seen, WANTED, staged, SECTION, clock()).wanted.version_id
        for seen in Edges(storage, clock).look()
    }
    assert wanted == {"a" * 16, "b" * 16}


def test_damaged_and_doubled_reports_are_said_and_stop_nothing():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    edges = Edges(storage, clock)
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(report=57)))
    storage.put(health_key(EdgeId("edge-2")), b"{not json")
    storage.put(health_key(EdgeId("edge-3")), to_json(a_report(edge_id=EdgeId("edge-9"))))
    storage.put("edges/edge-1/budget.json", b"{}")
    troubles = {str(seen.edge_id): seen.trouble for seen in edges.look()}
    assert troubles["edge-1"] == ""
    assert "not JSON" in troubles["edge-2"]
    assert troubles["edge-3"] == "it was written by edge-9"
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(report=57)))  # put twice by a retry
    assert edges.look()[0].trouble == ""
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(report=12)))
    storage.delete(health_key(EdgeId("edge-2")))
    found = edges.look()
    assert [seen.edge_id for seen in found] == ["edge-1", "edge-3"]
    assert "a second node has this id" in found[0].trouble
    assert standing_of(found[0], WANTED, None, SECTION, clock()).state is EdgeState.ALARM


def test_a_report_reads_back_as_it_was_written():
    health = a_report(drift={"psi": 0.1}, alarms={"drift": "words"}, cpu_celsius=51.5)
    assert from_json(EdgeHealth, to_json(health), "x") == health
    assert alarms_of(health) == {"drift": "words"}


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A storage with two releases, a staged one and two nodes that report."""
    path = tmp_path / "config.yaml"
    path.write_text("storage: storage\nreleases: {stages: [0.5, 1.0]}\n", encoding="utf-8")
    cloud = open_cloud(load_config(path))
    first = tiny_bundle(seed=1)
    for seed in (1, 2):
        bundle = tiny_bundle(seed=seed)
        cloud.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    cloud.releases.publish(first.version_id, RoundNumber(0), "first model")
    for name, changes in {"edge-1": {}, "edge-2": {"cpu_celsius": 95.0}}.items():
        report = a_report(edge_id=EdgeId(name), version_id=first.version_id, **changes)
        cloud.storage.put(health_key(EdgeId(name)), to_json(report))
    return path


def begun(config_path: Path) -> Any:
    from cloud.assembly import make_rollouts

    rollouts = make_rollouts(open_cloud(load_config(config_path)))
    rollouts.publish(tiny_bundle(seed=2).version_id, RoundNumber(1), "round 1 accepted")
    return rollouts


def called(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_edge_12_cornerloop_edges_lists_all_nodes(config_path):
    text = called("edges", "--config", str(config_path))
    header, first, second, *rest = text.splitlines()
    assert header.split()[:3] == ["edge", "state", "version"]
    assert first.split()[:2] == ["edge-1", "well"]
    told = json.loads(called("edges", "--config", str(config_path), "--json"))
    health = told["edges"][0]["health"]  # UX-01: does it see frames, and is any of them hard?
    assert "hard" in header.split()
    assert f"  {health['hard_examples']} of {health['frames']}  " in first
    assert second.split()[:2] == ["edge-2", "alarm"]
    assert second.endswith("95 °C")
    assert rest[-1] == "2 nodes: 1 alarm, 1 well"
    told = json.loads(called("edges", "--config", str(config_path), "--json"))
    assert told["counts"] == {"silent": 0, "alarm": 1, "behind": 0, "well": 1}
    assert told["edges"][0]["health"]["p99_ms"] == 31.0
    detail = called("edges", "edge-2", "--config", str(config_path))
    assert "cpu_celsius: 95.0" in detail.splitlines()
    result = CliRunner().invoke(app, ["edges", "edge-3", "--config", str(config_path)])
    assert "no node 'edge-3' has ever reported" in str(result.exception)


def test_k8s_05_cornerloop_rollout_tells_halts_and_promotes(config_path):
    assert "no release was ever staged" in called("rollout", "status", "-c", str(config_path))
    begun(config_path)
    text = called("rollout", "status", "-c", str(config_path))
    assert "observing, stage 1 of 2" in text
    assert "should run" in called("edges", "-c", str(config_path))
    done = called("rollout", "halt", "-c", str(config_path))
    assert "halted by" in done
    told = json.loads(called("rollout", "status", "-c", str(config_path), "--json"))
    assert told["state"] == "halted"
    history = open_cloud(load_config(config_path)).releases.history()
    assert [r.is_rollback for r in history] == [False, False, True]


def test_k8s_05_while_a_service_runs_a_wish_waits_for_it(config_path):
    from cloud.lease import Lease

    rollouts = begun(config_path)
    cloud = open_cloud(load_config(config_path))
    lease = Lease(cloud.storage, 30.0, utc_now)
    assert lease.hold()
    assert "the service will promote it" in called("rollout", "promote", "-c", str(config_path))
    assert rollouts.newest().state == "observing"
    assert rollouts.step() and rollouts.step()
    assert rollouts.newest().state == "promoted"


def test_edge_12_the_page_the_json_and_the_metrics(config_path):
    begun(config_path)
    cloud = open_cloud(load_config(config_path))
    site = a_client(
        some_parts(
            cloud.storage,
            make_watch(cloud).look(),
            title="Streets <b>",
        )
    )
    page = site.get("/edges").text
    for words in ("edge-1", "95 °C", "stage 1 of 2", "Streets &lt;b&gt;", ">observing<", ">1</a>"):
        assert words in page
    told = site.get("/edges.json").json()
    assert told["rollout"]["number"] == 2
    assert told["counts"]["alarm"] == 1
    assert {one["edge"] for one in told["edges"]} == {"edge-1", "edge-2"}
    answer = site.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["edge_frames_total", "edge-1"] == 100.0
    assert samples["edge_inference_seconds", "99", "edge-1"] == pytest.approx(0.031)
    assert samples["edge_cpu_celsius", "edge-2"] == 95.0
    assert ("edge_cpu_celsius", "edge-1") not in samples
    assert samples["edge_state", "alarm", "edge-2"] == 1.0
    assert samples["edge_report_age_seconds", "edge-1"] >= 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"report_seconds": 1e300},
        {"report_seconds": float("nan")},
        {"fps": float("inf")},
        {"memory_bytes": 10**400},
        {"outbox_oldest_s": 1e200},
        {"drift": {"score_psi": float("nan")}},
        {"at": NOON.replace(tzinfo=None)},
        {"alarms": {"heat": "x" * 2**21}},
    ],
)
def test_sec_03_one_nodes_impossible_report_is_told_of_that_node_alone(changes):
    """SEC-03: it ended every look at the fleet, and with them the pages."""
    clock = VirtualClock()
    storage = TimedStorage(clock)
    storage.put(health_key(EdgeId("edge-2")), to_json(a_report(edge_id=EdgeId("edge-2"))))
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(**changes)))
    bad, good = (
        standing_of(seen, WANTED, None, SECTION, clock()) for seen in Edges(storage, clock).look()
    )
    assert good.state is EdgeState.WELL
    assert bad.state is EdgeState.ALARM
    assert "edges/edge-1/health.json" in bad.reasons[0]


def test_sec_03_a_node_cannot_be_silent_for_ever_by_naming_an_endless_pause():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    storage.put(health_key(EdgeId("edge-1")), to_json(a_report(report_seconds=1e15)))
    edges = Edges(storage, clock)
    edges.look()
    clock.pass_minutes(60 * 24 * 18)
    assert standing_of(edges.look()[0], WANTED, None, SECTION, clock()).state is EdgeState.SILENT


def test_sec_03_what_lies_under_no_nodes_name_is_no_node():
    clock = VirtualClock()
    storage = TimedStorage(clock)
    for key in ("edges/health.json", "edges/a/b/health.json", "edges/.hid den/health.json"):
        storage.put(key, to_json(a_report()))
    assert Edges(storage, clock).look() == []
