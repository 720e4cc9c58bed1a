"""One service at a time."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud import lease as lease_module
from cloud.lease import Lease
from lifelong.errors import LeaseLostError
from lifelong.links.storage import Storage, open_storage


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def lease_of(host: str, storage: Storage, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Lease:
    monkeypatch.setattr(lease_module.socket, "gethostname", lambda: host)
    return Lease(storage, 30.0, clock)


def test_a_second_service_waits_until_the_first_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, clock = open_storage("memory://"), Clock()
    first = lease_of("one", storage, clock, monkeypatch)
    assert first.hold()
    second = lease_of("two", storage, clock, monkeypatch)
    assert not second.hold()
    clock.at += timedelta(seconds=31)
    assert second.hold()
    monkeypatch.setattr(lease_module.socket, "gethostname", lambda: "one")
    with pytest.raises(LeaseLostError, match="two"):
        first.hold()


def test_the_holder_renews(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = open_storage("memory://"), Clock()
    first = lease_of("one", storage, clock, monkeypatch)
    assert first.hold()
    for _ in range(10):
        clock.at += timedelta(seconds=20)
        monkeypatch.setattr(lease_module.socket, "gethostname", lambda: "one")
        assert first.hold()
        assert not lease_of("two", storage, clock, monkeypatch).hold()


def test_a_lease_that_was_handed_back_is_free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = open_storage("memory://"), Clock()
    first = lease_of("one", storage, clock, monkeypatch)
    assert first.hold()
    first.release()
    assert lease_of("two", storage, clock, monkeypatch).hold()


def test_the_lease_of_a_killed_process_of_this_host_is_free_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, clock = open_storage("memory://"), Clock()
    assert lease_of("one", storage, clock, monkeypatch).hold()
    monkeypatch.setattr(lease_module, "process_start", lambda _number: "")
    assert lease_of("one", storage, clock, monkeypatch).hold()


def test_k8s_04_pods_on_one_hosts_network_do_not_take_each_other_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sedna puts all pods there: one host name, and a process number 1 in each of them."""
    storage, clock = open_storage("memory://"), Clock()
    monkeypatch.setattr(lease_module, "_here", lambda: "node pid:[1]")
    assert Lease(storage, 30.0, clock).hold()
    monkeypatch.setattr(lease_module, "_here", lambda: "node pid:[2]")
    monkeypatch.setattr(lease_module, "process_start", lambda _number: "another one")
    assert not Lease(storage, 30.0, clock).hold()
    assert Lease(storage, 30.0, clock, room="training_lease").hold(), "another matter"
