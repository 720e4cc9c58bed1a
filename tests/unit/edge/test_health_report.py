"""EDGE-12: what a node says of itself to storage, without ever holding up a frame."""

import itertools
import random
import threading

import pytest

from edge.errands import Errand
from edge.health import Health
from edge.health_report import HealthReports, Reporter
from edge.machine import Machine
from lifelong.links.storage import Storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId
from lifelong.records.wire import from_json
from tests.edge_fixtures import FlakyStorage, HandClock

KEY = "edges/edge-1/health.json"
MACHINE = Machine(
    cpu_celsius=51.5,
    load=0.5,
    memory_bytes=90 * 2**20,
    outbox_free_bytes=7 * 2**30,
    state_free_bytes=None,
)


class Drifted:
    """A monitor that has seen something."""

    def statistics(self) -> dict[str, float]:
        return {"psi": 0.4}

    def alarms(self) -> dict[str, str]:
        return {"drift": "PSI 0.40 is above 0.25"}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


def reports_of(tmp_path, storage, clock, *, every_s=60.0, errand=None, **changes) -> HealthReports:
    return HealthReports(
        Reporter(
            edge_id=EdgeId("edge-1"),
            label_map_digest="d",
            software="0.1.0",
            report_seconds=every_s,
        ),
        storage,
        Health(tmp_path / "health.json", clock=clock, now=clock.now),
        errand or Errand("health", inline=True),
        tmp_path / "reports",
        machine=lambda: MACHINE,
        oldest_s=lambda: 7200.04,
        clock=clock,
        now=clock.now,
        random_=random.Random(0),
        **changes,
    )


def last(storage: Storage) -> EdgeHealth:
    return from_json(EdgeHealth, storage.get(KEY), KEY)


def test_edge_12_a_report_says_what_the_node_and_its_box_do(tmp_path, storage, clock):
    reports = reports_of(tmp_path, storage, clock, drift=Drifted())
    health = reports._health
    vitals = health.vitals
    vitals.version, vitals.release_number, vitals.fallbacks = "a" * 16, 7, 1
    vitals.refused_version, vitals.refused_reason = "b" * 16, "truncated"
    vitals.outbox_examples, vitals.outbox_bytes = 3, 12345
    for _ in range(10):
        health.frame_took(0.020, "a" * 16)
        clock.advance(0.1)
    reports.send_when_due()
    told = last(storage)
    assert (told.edge_id, told.report, told.at) == ("edge-1", 1, clock.now())
    assert (told.version_id, told.release_number, told.fallbacks) == ("a" * 16, 7, 1)
    assert (told.refused_version, told.refused_reason) == ("b" * 16, "truncated")
    assert (told.frames, told.p50_ms, told.p99_ms) == (10, 20.0, 20.0)
    assert told.fps == pytest.approx(10.0, rel=0.1)
    assert (told.outbox_examples, told.outbox_bytes, told.outbox_oldest_s) == (3, 12345, 7200.0)
    assert (told.cpu_celsius, told.memory_bytes) == (51.5, 90 * 2**20)
    assert (told.outbox_free_bytes, told.state_free_bytes) == (7 * 2**30, None)
    assert told.drift == {"psi": 0.4}
    assert told.alarms == {"drift": "PSI 0.40 is above 0.25"}


def test_edge_12_reports_come_at_their_pace_and_not_all_nodes_at_once(tmp_path, storage, clock):
    reports = reports_of(tmp_path, storage, clock)
    moments = []
    for _ in range(3600):
        reports.send_when_due()
        if not moments or last(storage).report > len(moments):
            moments.append(clock.seconds)
        clock.advance(1.0)
    pauses = [later - sooner for sooner, later in itertools.pairwise(moments)]
    assert 54 <= min(pauses) < max(pauses) <= 67
    assert 55 <= len(moments) <= 66


def test_edge_12_the_number_rises_over_restarts_and_begins_anew_without_its_file(
    tmp_path, storage, clock
):
    for expected in (1, 2, 3):
        reports_of(tmp_path, storage, clock).send_when_due()
        assert last(storage).report == expected
    (tmp_path / "reports").write_text("nonsense")
    reports_of(tmp_path, storage, clock).send_when_due()  # begins anew, and says so in the log
    assert last(storage).report == 1


def test_a_dead_link_is_left_alone_and_the_next_report_is_whole(tmp_path, storage, clock):
    waits = itertools.chain([5.0, 10.0, 20.0], itertools.repeat(40.0))
    reports = reports_of(tmp_path, storage, clock, waits=lambda: waits)
    storage.is_down = True
    tried = []
    for _ in range(120):
        before = len(storage.calls)
        reports.send_when_due()
        if len(storage.calls) > before:
            tried.append(clock.seconds - 1000.0)
        clock.advance(1.0)
    assert len(tried) <= 5
    assert "connection refused" in reports.last_error
    storage.is_down = False
    clock.advance(70)
    reports.send_when_due()
    assert last(storage).report == len(tried) + 1
    assert reports.last_error == ""


def test_a_link_that_hangs_holds_up_nothing(tmp_path, clock):
    """The second report is not even begun while the first one hangs, and nobody waits for it."""
    hangs, reached = threading.Event(), threading.Event()

    class Hanging(FlakyStorage):
        def put(self, key: str, data: bytes) -> None:
            reached.set()
            hangs.wait(120)
            super().put(key, data)

    storage = Hanging()
    reports = reports_of(tmp_path, storage, clock, errand=Errand("health"))
    reports.send_when_due()
    assert reached.wait(60)
    for _ in range(1000):
        clock.advance(60)
        reports.send_when_due()  # returns, or this test would not
    assert not reports.finish(0.01)
    hangs.set()
    assert reports.finish(10)
    assert last(storage).report == 2


def test_a_full_disk_of_the_counter_stops_no_report(tmp_path, storage, clock):
    (tmp_path / "reports").mkdir()  # cannot be replaced by a file
    reports = reports_of(tmp_path, storage, clock)
    reports.send_when_due()
    clock.advance(70)
    reports.send_when_due()
    assert last(storage).report == 2


def test_no_report_when_none_is_wanted(tmp_path, storage, clock):
    reports = reports_of(tmp_path, storage, clock, every_s=0.0)
    reports.send_when_due()
    assert reports.finish(1.0)
    assert storage.calls == []


def test_ops_06_a_report_takes_no_secret_to_those_who_see_the_pages(tmp_path, storage, clock):
    """OPS-06: an error that quotes the storage's or a camera's address, with its password."""
    reports = reports_of(tmp_path, storage, clock)
    vitals = reports._health.vitals
    vitals.source_error = "rtsp://camera:planted@10.0.0.7 does not answer"
    vitals.last_error = "https://bucket/a?X-Amz-Signature=planted was refused"
    vitals.refused_reason = "password=planted"
    reports.send_when_due()
    assert b"planted" not in storage.get(KEY)
    assert "camera" not in last(storage).source_error
    assert "10.0.0.7 does not answer" in last(storage).source_error
