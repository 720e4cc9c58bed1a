"""K8S-04: real worker processes, killed by SIGKILL at every write; the next one ends the same.

A train worker and then an eval worker run in children that kill themselves at their n-th write to
storage or output, before or after it. The next child finds what is there and reports; files and
records are those of a run that nobody killed. The children are forks of one process that has
imported everything, computed nothing and opened nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cloud import sedna_train
from cloud.assembly import open_cloud
from cloud.job import worker_files
from cloud.sedna_eval import eval_worker
from cloud.sedna_train import train_worker
from lifelong.knowledge.checks import verify
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.sedna import ReportedModel
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import sha256_hex
from tests.forked_child import child
from tests.unit.cloud.test_sedna_workers import (  # noqa: F401
    FIRST,
    Recorder,
    environment,
    prepared,
    settings,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Count:
    """SIGKILL at the n-th write, before or after it; nobody says good-bye."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after = at, after

    def __call__(self, act: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        act()
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Killed(Storage):
    """Storage whose writes are counted."""

    def __init__(self, url: str, count: Count) -> None:
        real = open_storage(url)
        super().__init__(real._store, real.url)
        self._count = count

    def put(self, key: str, data: bytes) -> None:
        self._count(lambda: Storage.put(self, key, data))

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._count(lambda: Storage.put_if_absent(self, key, data))

    def delete(self, key: str) -> None:
        self._count(lambda: Storage.delete(self, key))


def work(folder: Path, stage: str, at: int, *, after: bool) -> None:
    """One worker; what it reports goes to a file, as a POST would go to the controller."""
    count = Count(at, after=after)
    # How often progress is written depends on the clock, and nothing depends on progress.
    sedna_train._progress = lambda *_: lambda *_: None
    replace_ = worker_files._replace
    worker_files._replace = lambda *what: count(lambda: replace_(*what))
    config = settings(folder)
    storage = Killed(config.storage, count)
    recorder = Recorder()
    where = environment(folder, stage)
    if stage == "train":
        train_worker(where, config, storage, folder / "work", recorder)
    else:
        eval_worker(where, config, storage, recorder)
    (model,) = recorder.reports
    assert isinstance(model, ReportedModel)
    count(lambda: None)  # right before the report
    told = {"url": model.url, "metrics": dict(model.metrics), "samples": model.samples}
    (folder / f"{stage}.json").write_text(json.dumps(told))


def finish(folder: Path, stage: str, after: bool) -> None:
    """A worker that nobody kills, and then what must be the same whoever was killed before."""
    work(folder, stage, 10**6, after=after)
    storage = open_storage(settings(folder).storage)
    kb = KnowledgeBase(storage)
    (version,) = [v for v in kb.versions.values() if v.round_number == FIRST]
    assert verify(storage).findings == ()
    verdict = kb.examinations.get(version.version_id)
    output = folder / f"host/out/{stage}/1"
    found = {
        "file": sha256_hex((output / "index.pkl").read_bytes()),
        "names": [path.name for path in output.glob("index*")],
        "report": (folder / f"{stage}.json").read_text().replace(str(folder), ""),
        "trained_on": version.trained_on,
        "accepted": verdict and verdict.decision.accepted,
    }
    (folder / "outcome.json").write_text(json.dumps(found, indent=1))


def finished(folder: Path, stage: str, *, after: bool) -> str:
    """The outcome, by a child."""
    if child(partial(finish, folder, stage, after)) != 0:
        raise AssertionError(f"{folder.name}: the next worker failed, see above")
    return (folder / "outcome.json").read_text()


def kill_everywhere(base: Path, folder: Path, *, after: bool) -> int:
    """A worker for each write, and one that goes on; returns how many were killed."""
    kills = 0
    for stage in ("train", "eval"):
        whole = folder / stage
        shutil.copytree(base, whole)
        wanted = finished(whole, stage, after=after)
        for at in range(1, 1000):
            place = folder / f"{stage}{at}"
            shutil.copytree(base, place)
            code = child(partial(work, place, stage, at, after=after))
            if code == 0:
                break
            if code != -signal.SIGKILL:
                raise AssertionError(f"{stage}, write {at}: exit status {code}")
            kills += 1
            if finished(place, stage, after=after) != wanted:
                raise AssertionError(f"{stage}, write {at}: ends otherwise")
            shutil.rmtree(place)
        base = whole  # what the train worker left is what the eval worker finds
    return kills


@pytest.mark.parametrize("after", [False, True])
def test_k8s_04_a_worker_killed_at_every_write_ends_byte_for_byte_the_same(
    prepared: Path,  # noqa: F811
    tmp_path: Path,
    after: bool,
) -> None:
    """K8S-04: also when the round's first worker died between its records and its file."""
    assert open_cloud(settings(prepared)).rounds.get(FIRST)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.test_sedna_kills",
            str(prepared),
            str(tmp_path),
            f"{after:d}",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= 8


if __name__ == "__main__":
    print(kill_everywhere(Path(sys.argv[1]), Path(sys.argv[2]), after=bool(int(sys.argv[3]))))
