"""K8S-06: word to systemd, read from a real datagram socket."""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.systemd import SystemdNotices
from tests.edge_fixtures import HandClock


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_k8s_06_ready_alive_stopping(tmp_path, manager):
    clock = HandClock()
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
    notices = SystemdNotices(environment, clock)
    notices.ready()
    assert heard(manager) == ["READY=1"]
    for _ in range(100):
        notices.beat("12 frames")
        clock.advance(1.0)
    assert heard(manager) == ["WATCHDOG=1\nSTATUS=12 frames"] * 7  # each 15 s: four in the minute
    notices.stopping()
    assert heard(manager) == ["STOPPING=1"]


def test_k8s_06_a_name_of_the_abstract_namespace():
    name = f"cornerloop-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)
        SystemdNotices({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}],
)
def test_k8s_06_without_a_watchdog_no_beat(tmp_path, manager, watchdog):
    notices = SystemdNotices({"NOTIFY_SOCKET": str(tmp_path / "notify"), **watchdog}, HandClock())
    notices.beat()
    assert heard(manager) == []
    mine = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}
    SystemdNotices({"NOTIFY_SOCKET": str(tmp_path / "notify"), **mine}, HandClock()).beat()
    assert heard(manager) == ["WATCHDOG=1"]


def test_k8s_06_no_manager_and_a_dead_one_stop_nothing(tmp_path, caplog):
    SystemdNotices({}).ready()
    SystemdNotices({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    assert "systemd was not told READY=1" in caplog.text
