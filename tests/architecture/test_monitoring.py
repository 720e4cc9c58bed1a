"""Dashboard, alerts and the page of metrics name what `/metrics` has (OPS-01, OPS-05)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cloud.metrics.catalogue import CATALOGUE
from cloud.monitor.readiness import Code, ServiceState
from lifelong.records.rollouts import RolloutState
from lifelong.records.rounds import RoundState
from tests.manifest_builds import MANIFESTS, ROOT, VERSIONS, build, built_from, complaints, only
from tests.promql import Series, evaluated, grouped, selectors

ROOM = MANIFESTS / "monitoring"
DASHBOARD = json.loads((ROOM / "dashboard.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((ROOM / "alerts.yaml").read_text(encoding="utf-8"))["spec"][
        "groups"
    ]
    for rule in group["rules"]
]
BY_NAME = {rule["alert"]: rule for rule in RULES}


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    drawn = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*drawn, *(rule["expr"] for rule in RULES)]


def labels_of(name: str) -> set[str]:
    """The labels that a metric has on `/metrics`; fails for one that is not there."""
    if name in CATALOGUE and CATALOGUE[name].kind != "histogram":
        return set(CATALOGUE[name].labels)
    base, _, part = name.rpartition("_")
    assert part in {"bucket", "sum", "count"}, f"{name} is not on /metrics"
    assert CATALOGUE[base].kind == "histogram", f"{name} is not on /metrics"
    return {*CATALOGUE[base].labels, *(["le"] if part == "bucket" else [])}


@pytest.mark.parametrize("expression", expressions())
def test_ops_05_every_metric_and_label_is_on_the_page(expression: str) -> None:
    known: set[str] = set()
    for name, labels in selectors(expression):
        assert labels <= labels_of(name), expression
        known |= labels_of(name)
    assert set(grouped(expression)) <= known, expression


def test_ops_05_variables_and_legends_name_labels_that_are_there() -> None:
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    for one in DASHBOARD["templating"]["list"]:
        if one["type"] == "query":
            metric, label = re.fullmatch(
                r"label_values\((\w+), (\w+)\)", one["definition"]
            ).groups()  # type: ignore[union-attr]
            assert label in labels_of(metric)
    for panel in panels():
        for target in panel["targets"]:
            known = {label for name, _ in selectors(target["expr"]) for label in labels_of(name)}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables


def test_ops_05_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["uid"] == "cornerloop"
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Loop", "Learning", "People", "Edges", "Service"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_ops_05_each_value_that_a_rule_asks_for_exists() -> None:
    """A misspelt state would never fire, and nobody would notice."""
    text = "\n".join(expressions())
    states = {str(one) for one in (*RoundState, *RolloutState, *ServiceState)}
    states |= {"silent", "alarm", "behind", "well", "open", "done", "skipped"}
    for told in re.findall(r'state=~?"([^"]+)"', text):
        assert set(told.split("|")) <= states
    assert set(re.findall(r'code="([^"]+)"', text)) <= {str(code) for code in Code}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_ops_05_each_alert_says_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    told = rule["annotations"]
    assert told["summary"]
    assert told["description"].endswith(".")
    page, anchor = told["runbook_url"].split("#")
    assert page == "docs/troubleshooting.md"
    assert re.fullmatch(r"[a-z-]+", anchor)
    known = {label for name, _ in selectors(rule["expr"]) for label in labels_of(name)}
    used = set(re.findall(r"\$labels\.(\w+)", told["summary"] + told["description"]))
    assert used <= known


def test_ops_05_each_alert_has_its_chapter() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    if not page.exists():
        pytest.skip("docs/troubleshooting.md is not written yet")
    text = page.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    } | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    wanted = {rule["annotations"]["runbook_url"].split("#")[1] for rule in RULES}
    assert wanted <= anchors


def now(name: str, value: float, **labels: str) -> Series:
    return Series(name=name, values=(value,), labels=labels)


def rising(name: str, *values: float, **labels: str) -> Series:
    return Series(name=name, values=values, labels=labels)


def clicks(slow: float) -> list[Series]:
    """A hundred clicks in ten minutes, so many of them slower than 10 s."""
    bucket, kind = "assist_answer_seconds_bucket", "click"
    return [
        rising(bucket, 0, 100 - slow, kind=kind, le="1.0"),
        rising(bucket, 0, 100 - slow, kind=kind, le="10.0"),
        rising(bucket, 0, 100, kind=kind, le="30.0"),
        rising(bucket, 0, 100, kind=kind, le="+Inf"),
    ]


REFUSED = {"event": "hard_example.refused"}
# Alert -> series with which it fires, and series with which it does not.
CASES: dict[str, tuple[list[Series], list[Series]]] = {
    "CornerloopRoundsStalled": (
        [now("service_fault", 1, code="rounds_stalled")],
        [
            now("service_fault", 0, code="rounds_stalled"),
            now("service_fault", 1, code="models_loading"),
        ],
    ),
    "CornerloopRoundStuck": (
        [now("round_state", 1, round="7", state="training"), now("round_state_seconds", 30_000)],
        [now("round_state", 1, round="7", state="annotating"), now("round_state_seconds", 30_000)],
    ),
    "CornerloopRefusedCandidates": (
        [now("rounds_refused_in_a_row", 3)],
        [now("rounds_refused_in_a_row", 2)],
    ),
    "CornerloopForgetting": ([now("model_forgetting", 0.08)], [now("model_forgetting", 0.01)]),
    "CornerloopRolloutHalted": (
        [now("rollout_state", 1, state="halted")],
        [now("rollout_state", 1, state="promoted")],
    ),
    "CornerloopInboxBacklog": (
        [now("inbox_oldest_age_seconds", 3600)],
        [now("inbox_oldest_age_seconds", 20)],
    ),
    "CornerloopAnnotationBacklog": (
        [now("annotation_tasks", 4, state="open"), now("round_state_seconds", 200_000)],
        [now("annotation_tasks", 0, state="open"), now("round_state_seconds", 200_000)],
    ),
    "CornerloopRefusedDeliveries": (
        [rising("journal_events_total", *range(60), **REFUSED)],
        [rising("journal_events_total", *[5] * 60, **REFUSED)],
    ),
    "CornerloopEdgeSilent": (
        [now("edge_state", 1, edge="gate", state="silent")],
        [now("edge_state", 1, edge="gate", state="well")],
    ),
    "CornerloopDrift": (
        [now("edge_alarm", 1, edge="gate", kind="drift", alarm="entropy")],
        [now("edge_alarm", 1, edge="gate", kind="node", alarm="heat")],
    ),
    "CornerloopEdgeAlarm": (
        [now("edge_alarm", 1, edge="gate", kind="node", alarm="heat")],
        [now("edge_alarm", 1, edge="gate", kind="drift", alarm="entropy")],
    ),
    "CornerloopEdgeBacklog": (
        [now("edge_outbox_examples", 900, edge="gate")],
        [now("edge_outbox_examples", 12, edge="gate")],
    ),
    "CornerloopEdgeOldExamples": (
        [now("edge_outbox_oldest_age_seconds", 200_000, edge="gate")],
        [now("edge_outbox_oldest_age_seconds", 40_000, edge="gate")],
    ),
    "CornerloopAway": ([], [now("cornerloop_info", 1, version="1")]),
    "CornerloopThreadSilent": (
        [now("service_thread_silence_seconds", 700, thread="rounds")],
        [now("service_thread_silence_seconds", 3, thread="rounds")],
    ),
    "CornerloopStorageUnreachable": (
        [now("storage_reachable", 0)],
        [now("storage_reachable", 1)],
    ),
    "CornerloopLabelStudioUnreachable": (
        [now("label_studio_reachable", 0)],
        [],  # no Label Studio is used
    ),
    "CornerloopDiskLow": (
        [now("disk_free_bytes", 1e9, place="journal")],
        [now("disk_free_bytes", 5e10, place="journal")],
    ),
    "CornerloopEdgeDiskLow": (
        [now("edge_state_free_bytes", 5e7, edge="gate")],
        [
            now("edge_state_free_bytes", 5e9, edge="gate"),
            now("edge_outbox_free_bytes", 5e9, edge="gate"),
        ],
    ),
    "CornerloopSmartToolFailed": (
        [now("service_fault", 1, code="models_failed")],
        [now("service_fault", 0, code="models_failed")],
    ),
    "CornerloopSlowClicks": (clicks(slow=20), clicks(slow=5)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES.keys() | BY_NAME.keys()))
def test_ops_05_each_alert_fires_when_it_should_and_only_then(name: str) -> None:
    fires, rests = CASES[name]
    assert evaluated(BY_NAME[name]["expr"], fires)
    assert not evaluated(BY_NAME[name]["expr"], rests)


def test_the_evaluator_reads_as_prometheus_does() -> None:
    """Where it is used: counters that begin anew, quantiles between two bounds, joins."""
    anew = [rising("c_total", 5, 9, 1, 2)]
    assert evaluated("increase(c_total[3m])", anew) == {(): 4 + 1 + 1}
    assert evaluated("rate(c_total[1m])", anew) == {(): pytest.approx(1 / 60)}
    four = [now("b", n, le=le) for le, n in (("1", 2), ("3", 4), ("+Inf", 4))]
    assert evaluated("histogram_quantile(0.75, sum by (le) (b))", four) == {(): 2.0}
    two = [now("a", 1, edge="x"), now("a", 1, edge="y"), now("b", 1, edge="y", more="z")]
    assert evaluated("a and on (edge) b", two) == {(("edge", "y"),): 1}
    assert evaluated("a and b", two) == {}
    assert evaluated('a{edge!="x"} or on (edge) b', two) == {(("edge", "y"),): 1}
    with pytest.raises(NotImplementedError):
        evaluated("max by (edge) (a)", two)


def test_ops_01_the_page_of_metrics_tells_what_there_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    row = re.compile(
        r"^\| `([a-z_]+)` \| (gauge|counter|histogram) \| (.+?) \| (.+?) \| (.+?) \|", re.M
    )
    told = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, _unit, meaning in row.findall(page)
    }
    assert told == {o.name: (o.kind, o.labels, o.meaning) for o in CATALOGUE.values()}


# -- manifests -------------------------------------------------------------------------------


def test_ops_05_kustomize_builds_the_room_and_its_objects_are_valid() -> None:
    objects = built_from(ROOM)
    kinds = {one["kind"] for one in objects}
    assert kinds == {"ConfigMap", "NetworkPolicy", "PrometheusRule", "ServiceMonitor"}
    dashboard = only(objects, "ConfigMap")
    assert json.loads(dashboard["data"]["cornerloop.json"]) == DASHBOARD
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    for kind in ("ConfigMap", "NetworkPolicy"):
        for version in VERSIONS:
            assert complaints(only(objects, kind), version) == []


def test_ops_05_the_scraper_meets_the_service_and_has_a_token() -> None:
    """One service, one port, one token of a secret that is named and not in the repository."""
    endpoint = only(built_from(ROOM), "ServiceMonitor")["spec"]
    chosen = endpoint["selector"]["matchLabels"].items()
    services = [
        one for one in build("one-node")
        if one["kind"] == "Service" and chosen <= one["metadata"].get("labels", {}).items()
    ]  # fmt: skip
    assert [one["metadata"]["name"] for one in services] == ["cornerloop"]
    (scrape,) = endpoint["endpoints"]
    assert scrape["port"] in {port["name"] for port in services[0]["spec"]["ports"]}
    assert scrape["authorization"]["credentials"] == {"name": "cornerloop-metrics", "key": "token"}
    plain = yaml.safe_load((ROOM / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = plain["scrape_configs"]
    assert job["metrics_path"] == scrape["path"] == "/metrics"
    assert "credentials" not in job["authorization"], "a file, never the token itself"


def test_ops_02_probes_ask_the_two_different_questions() -> None:
    pod = only(build("base"), "Deployment", "cornerloop-cloud")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    paths = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"
    }  # fmt: skip
