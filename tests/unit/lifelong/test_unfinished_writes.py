"""TR-07: what killed writers leave in a storage folder, and that it goes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifelong.links.storage import open_storage
from lifelong.links.unfinished_writes import (
    DEAD_AFTER_SECONDS,
    finished_name,
    folder_of,
    sweep_unfinished,
)

WRITES_FOR_EVER = """
import sys
from lifelong.links.storage import open_storage
storage, number = open_storage(sys.argv[1]), 0
print("writing", flush=True)
while True:
    storage.put(f"images/{number % 7}.jpg", bytes(2 << 20))
    number += 1
"""


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def an_hour_later() -> float:
    return time.time() + DEAD_AFTER_SECONDS + 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Objects, and three writes that were cut off."""
    storage = open_storage(str(tmp_path))
    for key in ("images/a.jpg", "images/b#1.jpg", "top.json", "images/c#x"):
        storage.put(key, b"whole")
    for name in ("images/a.jpg#1", "images/a.jpg#12", "top.json#1"):
        (tmp_path / name).write_bytes(b"ha")
    return tmp_path


def test_tr_07_what_was_cut_off_goes_after_an_hour_and_objects_stay(folder: Path) -> None:
    storage, before = open_storage(str(folder)), names(folder)
    assert sweep_unfinished(storage) == 0  # a writer may live
    assert names(folder) == before
    assert sweep_unfinished(storage, now=an_hour_later) == 3
    assert names(folder) == {"images/a.jpg", "images/b#1.jpg", "top.json", "images/c#x"}
    assert sweep_unfinished(storage, now=an_hour_later) == 0


def test_tr_07_of_dead_writers_at_once(folder: Path) -> None:
    asked = []

    def is_dead(key: str) -> bool:
        asked.append(key)
        return key == "images/a.jpg"

    assert sweep_unfinished(open_storage(str(folder)), is_dead=is_dead) == 2
    assert sorted(asked) == ["images/a.jpg", "images/a.jpg", "top.json"]
    assert (folder / "top.json#1").exists() and (folder / "images/a.jpg").exists()


def test_no_empty_folder_stays_for_listings_to_walk_through(folder: Path) -> None:
    left = folder / "inbox" / "edge-1" / "0123456789abcdef" / "image.jpg#1"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    (folder / "inbox" / "edge-2").mkdir()
    assert sweep_unfinished(open_storage(str(folder)), is_dead=lambda key: "edge-1" in key) == 1
    assert [path.name for path in (folder / "inbox").iterdir()] == ["edge-2"]
    sweep_unfinished(open_storage(str(folder)), is_dead=lambda key: True)
    assert folder.is_dir()


def test_links_are_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.txt#1").write_bytes(b"of somebody else")
    (folder / "images" / "out").symlink_to(elsewhere)
    sweep_unfinished(open_storage(str(folder)), is_dead=lambda key: True)
    assert names(elsewhere) == {"mine.txt#1"}


def test_stores_that_are_no_folder_have_none() -> None:
    assert folder_of(open_storage("memory://")) is None
    assert sweep_unfinished(open_storage("memory://"), is_dead=lambda key: True) == 0


@pytest.mark.parametrize(
    ("name", "whole"),
    [("a.jpg#1", "a.jpg"), ("a#2#13", "a#2"), ("a.jpg", None), ("#1", None), ("a#1.jpg", None)],
)
def test_names(name: str, whole: str | None) -> None:
    assert finished_name(name) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_tr_07_what_a_really_killed_writer_leaves_is_found(tmp_path: Path) -> None:
    """Ours are the names that the library gives: a new release of it may give others."""
    storage = open_storage(str(tmp_path / "storage"))
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path / "storage")],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stdout.readline()
        began = time.monotonic()
        while not _is_half_written(tmp_path) and time.monotonic() - began < 60:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if _is_half_written(tmp_path):
            break
    else:
        pytest.fail("no kill left anything")
    sweep_unfinished(storage, now=an_hour_later)
    assert names(tmp_path / "storage") == set(storage.keys("images"))


def _is_half_written(tmp_path: Path) -> bool:
    """Is there a file that no listing tells of?"""
    folder = tmp_path / "storage" / "images"
    return folder.is_dir() and any(p.suffix != ".jpg" for p in folder.iterdir())
