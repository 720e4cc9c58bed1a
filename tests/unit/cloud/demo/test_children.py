"""The demo's processes: watched, started again, and cleaned up by the next demo."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloud.demo.children import Children
from cloud.worker_process import process_start
from lifelong.errors import LifelongError


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A module that runs until it is told to stop, or ends at once when `brief` lies beside it."""
    (tmp_path / "sleeper.py").write_text(
        "import pathlib, time\n"
        "while not pathlib.Path(__file__).with_name('brief').exists():\n"
        "    time.sleep(0.05)\n"
    )
    return tmp_path


def children_of(folder: Path) -> Children:
    return Children(folder / "run", {"PYTHONPATH": str(folder)})


def wait_until_ended(number: int) -> None:
    deadline = time.monotonic() + 120
    while process_start(number) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process_start(number)


def test_a_child_that_was_killed_is_started_again(sleeper: Path) -> None:
    children = children_of(sleeper)
    children.start("one", "sleeper")
    first = children.process_id("one")
    os.kill(first, signal.SIGKILL)
    wait_until_ended(first)
    assert children.look_after() == ["one"]
    assert children.process_id("one") != first
    children.end_all()


def test_a_child_that_ends_again_and_again_is_an_error_with_its_log(sleeper: Path) -> None:
    (sleeper / "brief").touch()
    children = children_of(sleeper)
    children.start("one", "sleeper")
    with pytest.raises(LifelongError, match=r"one\.log"):
        for _ in range(2000):
            children.look_after(most_restarts=2)
            time.sleep(0.05)
    children.end_all()


def test_what_a_killed_demo_left_running_is_ended_by_the_next(sleeper: Path) -> None:
    abandoned = children_of(sleeper)
    abandoned.start("one", "sleeper")
    number = abandoned.process_id("one")
    other = subprocess.Popen([sys.executable, "-m", "sleeper"], cwd=sleeper)
    abandoned.note("label-studio", other.pid)
    assert sorted(children_of(sleeper).end_leftovers()) == ["label-studio", "one"]
    abandoned._running["one"].wait(60)
    other.wait(60)
    wait_until_ended(number)
    assert children_of(sleeper).end_leftovers() == []
