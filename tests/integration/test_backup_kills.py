"""OPS-07: `cornerloop backup` and `restore` as processes, killed for real in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cloud.backup.records import RECORD
from lifelong.links.storage import open_storage
from lifelong.links.unfinished_writes import finished_name
from tests.large_loop import live_long

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]

CONFIG = """\
storage: storage
journal_path: journal
annotation_folder: desk
job: {dataset_path: dataset}
"""


def cornerloop(*words: str) -> list[str]:
    return [sys.executable, "-m", "cloud", *words]


def ran(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(cornerloop(*words), cwd=ROOT, capture_output=True, text=True, check=False)


def killed(words: list[str], when: Callable[[], bool]) -> bool:
    """Start it, and kill -9 as soon as `when`; False: it had ended before."""
    process = subprocess.Popen(cornerloop(*words), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if when():
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
    finally:
        process.wait()
    return process.returncode == -signal.SIGKILL


def files_under(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def at_least(count: int, folder: Path) -> bool:
    return files_under(folder) >= count


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    storage = open_storage(str(folder / "storage"))
    live_long(storage, rounds=30, samples=20, edges=100, pictures=10)
    # No bundle of `live_long` can be opened: nothing is released in this loop.
    for key in storage.keys("releases"):
        storage.delete(key)
    (folder / "dataset").mkdir()
    (folder / "dataset" / "index.txt").write_text("images/a.jpg masks/a.png\n")
    (folder / "access").mkdir()
    (folder / "access" / "tokens.json").write_text('{"hash": "…"}')
    (folder / "assist-password").write_text("a password")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    # The restore is entered in the audit log and in the journal, and leaves a note of the open
    # round for the next service: Label Studio may have lost its tasks.
    skipped = {"lease", "restore", "audit", "journal", "lost_work"}
    skipped |= {"floor.json", "audit-witness.json"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not skipped & set(path.parts) and not is_left_for_nodes(path)
    }


def is_left_for_nodes(path: Path) -> bool:
    """A write that was cut off where a node might still be writing: it goes after an hour."""
    return finished_name(path.name) is not None and bool({"edges", "inbox"} & set(path.parts))


def test_ops_07_killed_in_the_middle_of_both_and_whole_at_the_end(
    live: Path, tmp_path: Path
) -> None:
    copy, config = tmp_path / "copy", str(live / "config.yaml")
    for part in (3, 60, 150):
        backup = ["backup", str(copy), "--config", config]
        assert killed(backup, partial(at_least, part, copy / "objects"))
        assert not (copy / RECORD).exists()
        refused = ran("restore", str(copy), "--config", str(tmp_path / "new" / "config.yaml"))
        assert refused.returncode == 1 and "no whole backup" in refused.stderr
    told = ran("backup", str(copy), "--config", config, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["copied"] < json.loads(told.stdout)["items"]
    assert ran("backup", str(copy), "--verify").returncode == 0

    # A second backup that is killed leaves the first one whole.
    storage = open_storage(str(live / "storage"))
    for number in range(1500):
        storage.put(f"images/{number:016x}.jpg", os.urandom(64))
    before = files_under(copy / "objects")
    assert killed(
        ["backup", str(copy), "--config", config],
        lambda: files_under(copy / "objects") > before + 50,
    )
    assert ran("backup", str(copy), "--verify").returncode == 0
    assert ran("backup", str(copy), "--config", config).returncode == 0
    whole = contents(live)

    # Destroy, and restore elsewhere with the configuration of the backup; killed three times.
    moved = tmp_path / "moved"
    restore = ["restore", str(copy), "--config", str(moved / "config.yaml")]
    for part in (5, 300, 1500):
        assert killed(restore, partial(at_least, part, moved))
        rounds = ran("rounds", "--config", str(moved / "config.yaml"))
        assert rounds.returncode == 1 and "cornerloop restore" in rounds.stderr
    done = ran(*restore, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["open_round"] == 30
    assert contents(moved) == whole
    rounds = ran("rounds", "--config", str(moved / "config.yaml"), "--json")
    assert len(json.loads(rounds.stdout)["rounds"]) == 30
    assert (moved / "access" / "tokens.json").stat().st_mode & 0o077 == 0
    again = ran(*restore)
    assert again.returncode == 1 and "not empty" in again.stderr


def test_ops_07_verify_names_a_flipped_bit(live: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert ran("backup", str(copy), "--config", str(live / "config.yaml")).returncode == 0
    one = max((copy / "objects").rglob("*"), key=lambda path: path.is_file())
    data = bytearray(one.read_bytes())
    data[-1] ^= 4
    one.write_bytes(data)
    found = ran("backup", str(copy), "--verify", "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["damaged"] and not json.loads(found.stdout)["missing"]
    shutil.rmtree(copy)
    assert ran("backup", str(copy), "--verify").returncode == 1
