"""The watch reads only what is new, keeps its last look when storage is gone, and works ahead."""

import logging
import threading
from pathlib import Path

import pytest

from cloud.monitor.look import Look
from cloud.monitor.watch import Watch
from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage, open_storage
from tests.large_loop import live_long
from tests.web_parts import a_watch


class Counted(Storage):
    """Counts what is read; may be switched off."""

    reads: list[str]
    is_away = False

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        if self.is_away:
            raise StorageUnavailableError("the bucket does not answer")
        self.reads.append(key)
        return super().get(key, sha256=sha256)


@pytest.fixture
def storage() -> Counted:
    plain = open_storage("memory://")
    found = Counted(plain._store, plain.url)
    found.reads = []
    live_long(found, rounds=12, samples=4, edges=6)
    return found


@pytest.fixture
def watch(storage: Counted, tmp_path: Path) -> Watch:
    return a_watch(storage, tmp_path)


def test_a_look_has_all_that_lies_in_storage(watch: Watch) -> None:
    look = watch.look()
    assert [int(round_.number) for round_ in look.rounds] == list(range(1, 13))
    assert len(look.samples) == 12 * 4
    assert len(look.fleet) == 6
    assert look.current == look.releases[-1]
    assert watch.look() is look, "nobody waits for storage once there is a look"


def test_what_was_read_once_is_read_again_only_when_it_changed(
    watch: Watch, storage: Counted
) -> None:
    first = watch.refresh()
    storage.reads.clear()
    second = watch.refresh()
    assert second is not first
    assert len(storage.reads) < 6, "pointers, and whether logs have a next entry"
    assert not any(key.startswith(("rounds/", "edges/", "releases/0")) for key in storage.reads)
    storage.put("rounds/000003.json", storage.get("rounds/000003.json"))
    storage.reads.clear()
    watch.refresh()
    assert [key for key in storage.reads if key.startswith("rounds/")] == ["rounds/000003.json"]


def test_without_storage_the_last_look_stays_and_says_why(watch: Watch, storage: Counted) -> None:
    before = watch.refresh()
    storage.is_away = True
    with pytest.raises(StorageUnavailableError):
        watch.refresh()
    after = watch.look()
    assert after.rounds == before.rounds
    assert "does not answer" in after.trouble
    storage.is_away = False
    assert watch.refresh().trouble == ""


def test_what_pages_wanted_to_know_is_worked_out_before_they_ask_again(watch: Watch) -> None:
    seen: list[Look] = []

    def count(look: Look) -> int:
        seen.append(look)
        return len(look.rounds)

    first = watch.refresh()
    assert first.fact(count) == 12
    second = watch.refresh()
    assert seen == [first, second], "by the watch, before the page"
    assert second.fact(count) == 12
    assert seen == [first, second], "and once only"
    for _ in range(70):
        third = watch.refresh()
    assert seen[-1] is not third, "nobody has asked for minutes"


def test_a_fact_that_breaks_is_told_and_stops_no_look(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(look: Look) -> int:
        raise ZeroDivisionError

    first = watch.refresh()
    with pytest.raises(ZeroDivisionError):
        first.fact(broken)
    with caplog.at_level(logging.ERROR):
        assert watch.refresh() is not first
        watch.refresh()
    assert caplog.text.count("cannot be worked out") == 1, "once, until a page asks again"


def test_the_thread_looks_until_it_is_told_to_stop(watch: Watch) -> None:
    watch._pause_s = 0.0
    stop, beats = threading.Event(), list[int]()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            stop.set()

    watch.run(stop, beat)
    assert len(beats) == 3
    assert watch.look().rounds


def test_sec_03_a_look_that_breaks_is_told_and_the_next_one_is_taken(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SEC-03: whatever lies in storage, the pages say what is wrong and go on afterwards."""
    watch.refresh()
    watch._pause_s = 0.0
    stop, troubles = threading.Event(), list[str]()
    seen = watch._seen

    def broken() -> Look:
        raise OverflowError("larger than any number")

    def beat() -> None:
        troubles.append(watch.look().trouble)
        monkeypatch.setattr(watch, "_seen", broken if len(troubles) < 3 else seen)
        if len(troubles) == 4:
            stop.set()

    with caplog.at_level(logging.ERROR):
        watch.run(stop, beat)
    assert troubles[0] == "" and all("larger than any" in one for one in troubles[1:3])
    assert watch.look().trouble == ""
    assert caplog.text.count("will look again") == 1, "once for as long as it lasts"
