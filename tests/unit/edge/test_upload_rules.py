"""TR-04 on a virtual clock: windows of the day, bandwidth cap, circuit breaker, back-off."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
import yaml

from edge.delivery.bandwidth import Bandwidth
from edge.delivery.breaker import Breaker
from edge.delivery.outbox import Outbox
from edge.delivery.upload_rules import UploadRules
from edge.delivery.upload_windows import Windows
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.sections.delivery import OutboxSection, window_minutes
from tests.builders import NOON, a_frame, a_prediction
from tests.edge_fixtures import FlakyStorage, HandClock, an_uploader, events


class Shore:
    """An outbox with examples, flaky storage, and an uploader that keeps to rules."""

    def __init__(self, folder, **rules) -> None:
        self.folder, self.clock, self.storage = folder, HandClock(), FlakyStorage()
        self.journal = Journal(folder / "journal", "edge-1")
        self.outbox = Outbox(OutboxSection(path=folder / "outbox"), self.journal)
        self.uploader = an_uploader(
            self.outbox, self.storage, self.journal, self.clock, UploadRules(**rules)
        )

    def put(self, count: int) -> None:
        for seed in range(count):
            verdict = Verdict(is_hard=True, score=0.5, reasons=("test",), scores={})
            self.outbox.put(a_frame(seed), a_prediction(), verdict)


# -- windows -----------------------------------------------------------------------------------


def at(hour: int, minute: int = 0) -> Windows:
    return Windows(("22:00-06:00", "12:30-13:00"), lambda: NOON.replace(hour=hour, minute=minute))


@pytest.mark.parametrize(
    ("hour", "minute", "is_open"),
    [(21, 59, False), (22, 0, True), (23, 59, True), (0, 0, True), (5, 59, True), (6, 0, False),
     (12, 29, False), (12, 30, True), (12, 59, True), (13, 0, False), (16, 0, False)],
)  # fmt: skip
def test_tr_04_windows_open_and_close_to_the_minute_also_over_midnight(hour, minute, is_open):
    assert at(hour, minute).are_open() is is_open


def test_tr_04_without_windows_uploads_may_always_run():
    assert Windows().are_open()


@pytest.mark.parametrize(
    ("month", "day", "hours"),
    [(3, 28, 7), (10, 24, 9), (6, 1, 8)],  # forward, back, neither
)
def test_tr_04_a_window_means_the_clock_on_the_wall_when_clocks_change(month, day, hours):
    try:
        zone = ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        pytest.skip("no time zone data on this machine")
    moment, seen = datetime(2026, month, day, 12, tzinfo=zone).astimezone(UTC), []
    local = moment.astimezone(zone)
    windows = Windows(("22:00-06:00",), lambda: local)
    for _ in range(24 * 60):
        local = moment.astimezone(zone)
        if windows.are_open():
            seen.append(local)
        moment += timedelta(minutes=1)
    assert len(seen) == hours * 60
    assert (seen[0].hour, seen[-1].hour, seen[-1].minute) == (22, 5, 59)


@pytest.mark.parametrize(
    "text", ["", "22-6", "22:00", "22:60-06:00", "24:00-06:00", "22:00-24:01", "06:00-06:00",
             "9:00-10:00", "22:00 - 06:00", "22:00-06:00x", "aa:bb-cc:dd"],
)  # fmt: skip
def test_tr_04_a_window_that_is_none_is_a_named_error_of_the_configuration(tmp_path, text):
    with pytest.raises(ValueError, match="22:00-06:00"):
        window_minutes(text)
    edge = {"source": {"type": "folder", "path": "f"}, "upload": {"windows": [text]}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"edge": edge}))
    with pytest.raises(ConfigError, match=r"edge\.upload\.windows\.0: .*no window of a day"):
        load_config(path)


def test_tr_04_uploads_wait_for_their_window_and_stop_between_parts_when_it_closes(tmp_path):
    open_calls = iter([False, True, True, True, False, False, True])

    class Scripted(Windows):
        def are_open(self) -> bool:
            return next(open_calls, True)

    shore = Shore(tmp_path, windows=Scripted())
    shore.put(1)
    shore.uploader.drain()
    assert shore.storage.calls == []
    shore.clock.advance(5)
    shore.uploader.drain()  # closes after two objects
    puts = [key for what, key in shore.storage.calls if what == "put"]
    assert len(puts) == 2
    assert len(shore.outbox) == 1
    assert shore.uploader.last_error == ""  # waiting is no failure
    shore.clock.advance(5)
    shore.uploader.drain()
    shore.clock.advance(5)
    shore.uploader.drain()
    puts = [key for what, key in shore.storage.calls if what == "put"]
    assert len(puts) == 3  # nothing was sent twice
    assert len(shore.outbox) == 0


# -- bandwidth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [100, 1000, 5000])
def test_tr_04_the_cap_holds_over_any_time_and_is_used(part):
    clock, sent = HandClock(), 0
    cap = Bandwidth(1000.0, clock, clock.advance)
    began = clock()
    for _ in range(100_000 // part):
        assert cap.await_room(part, lambda: True)
        sent += part
        assert sent <= 1000 * (clock() - began) + 1000 + part
    assert 0.9 <= sent / (1000 * (clock() - began)) <= 1.1


def test_tr_04_a_stop_cuts_the_wait_for_bandwidth_short():
    clock, waits = HandClock(), []
    stopping = iter([False, False, True])

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    cap = Bandwidth(10.0, clock, wait, is_stopping=lambda: next(stopping))
    assert cap.await_room(1000, lambda: True)
    assert not cap.await_room(1000, lambda: True)
    assert len(waits) == 2
    assert max(waits) <= 1.0


def test_tr_04_an_upload_under_a_cap_takes_its_time(tmp_path):
    clock = HandClock()
    shore = Shore(tmp_path, bandwidth=Bandwidth(1024.0, clock, clock.advance))
    shore.put(4)
    size, began = shore.outbox.size, clock()
    shore.uploader.drain()
    assert len(shore.outbox) == 0
    assert clock() - began >= (size - 4 * 1024) / 1024 - 1


# -- circuit breaker ---------------------------------------------------------------------------


def test_tr_04_the_breaker_opens_after_failures_in_a_row_and_one_try_decides():
    clock = HandClock()
    breaker = Breaker(3, 60.0, clock)
    assert [breaker.failed(), breaker.failed()] == [False, False]
    breaker.succeeded()  # not in a row
    assert [breaker.failed(), breaker.failed(), breaker.failed()] == [False, False, True]
    states = []
    for seconds in (59, 1):
        clock.advance(seconds)
        states.append(breaker.state)
    assert states == ["open", "half-open"]
    assert breaker.failed()  # opens again at once
    clock.advance(60)
    breaker.succeeded()
    assert breaker.state == "closed"
    assert [breaker.failed(), breaker.failed(), breaker.failed()] == [False, False, True]


def test_tr_04_an_open_breaker_leaves_the_link_alone_then_one_try_decides(tmp_path):
    clock = HandClock()
    shore = Shore(tmp_path, breaker=Breaker(3, 300.0, clock))
    shore.clock = clock
    shore.uploader._clock = clock
    shore.put(2)
    shore.storage.is_down = True
    tried_at = []
    for _ in range(700):
        before = len(shore.storage.calls)
        shore.uploader.drain()
        if len(shore.storage.calls) > before:
            tried_at.append(clock() - 1000.0)
        clock.advance(1.0)
    assert tried_at == [0.0, 1.0, 2.0, 302.0, 602.0]
    assert len(events(tmp_path / "journal", "link.left_alone")) == 3
    shore.storage.is_down = False
    clock.advance(300)
    shore.uploader.drain()
    assert len(shore.outbox) == 0


def test_a_node_that_stops_does_not_try_an_open_link_again(tmp_path):
    shore = Shore(tmp_path, breaker=Breaker(1, 300.0))
    shore.put(1)
    shore.storage.is_down = True
    shore.uploader.drain()
    before = len(shore.storage.calls)
    assert not shore.uploader.finish(5.0, wait=shore.clock.advance)
    assert len(shore.storage.calls) == before


def test_a_node_that_stops_outside_its_window_does_not_upload(tmp_path):
    shore = Shore(tmp_path, windows=Windows(("22:00-06:00",), lambda: NOON))
    shore.put(1)
    assert not shore.uploader.finish(5.0, wait=shore.clock.advance)
    assert shore.storage.calls == []
