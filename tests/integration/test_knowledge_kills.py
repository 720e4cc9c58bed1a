"""KB-04, KB-07: real processes, killed by SIGKILL at every write of the knowledge base.

A child adds changes, writes checkpoints and forgets a device over a folder, and kills itself at
its n-th write, before or after it. Whoever opens the folder then sees whole changes; the next
child finishes the work, and everything ends as if nobody had been killed. The children are forks
of one process that has imported everything and opened nothing.
"""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from lifelong.knowledge.checks import verify
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import SampleId, sha256_hex
from tests.builders import a_sample
from tests.forked_child import child
from tests.unit.cloud.knowledge.forgetting_room import Room

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GROUPS, EDGE = 6, "edge-1"


class Killed(Storage):
    """SIGKILL at the n-th write or removal; nothing is flushed, nobody says good-bye."""

    def __init__(self, url: str, at: int, *, after: bool) -> None:
        real = open_storage(url)
        super().__init__(real._store, real.url)
        self.left, self.after = at, after

    def _count(self, *, after: bool) -> None:
        if after is self.after:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def put(self, key: str, data: bytes) -> None:
        self._count(after=False)
        super().put(key, data)
        self._count(after=True)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._count(after=False)
        super().put_if_absent(key, data)
        self._count(after=True)

    def delete(self, key: str) -> None:
        self._count(after=False)
        super().delete(key)
        self._count(after=True)


def group(number: int) -> list:
    """Two samples that become known together, by two devices."""
    made = []
    for edge in (EDGE, "edge-2"):
        sha256 = sha256_hex(f"{number} {edge}".encode())
        sample_id = SampleId(sha256[:16])
        made.append(a_sample(sample_id=sample_id, image_sha256=sha256, edge_id=edge))
    return made


def work(folder: Path, at: int, *, after: bool) -> None:
    """What the child does; every step may be repeated."""
    storage = Killed(str(folder / "storage"), at, after=after)
    kb = KnowledgeBase(storage, checkpoint_every=2)
    for number in range(GROUPS):
        samples = group(number)
        for sample in samples:
            if sample.sample_id not in kb.forgotten and not storage.exists(sample.image_key):
                storage.put(sample.image_key, sample.sample_id.encode())
        kb.add(samples, why="group")
    forgetting = Room(storage, folder).forgetting(storage)
    if not forgetting.open_requests():
        forgetting.ask(forgetting.plan("device", EDGE))
    forgetting.finish()


def assert_whole(folder: Path) -> None:
    seen = KnowledgeBase(open_storage(str(folder / "storage")))
    for number in range(GROUPS):
        one, other = group(number)
        if one.sample_id not in seen.forgotten:
            assert (one.sample_id in seen.samples) == (other.sample_id in seen.samples)


def assert_done(folder: Path) -> None:
    storage = open_storage(str(folder / "storage"))
    kb = KnowledgeBase(storage)
    assert {s.edge_id for s in kb.samples.values()} == {"edge-2"}
    assert len(kb.samples) == GROUPS and len(kb.forgotten) == GROUPS
    assert verify(storage).findings == ()
    held = {Path(key).stem for key in storage.keys("images")}
    assert held == set(kb.samples)
    assert list(storage.keys("forgetting")) == []


def kill_everywhere(folder: Path, *, after: bool) -> int:
    """One child for each write, until one gets through; returns how many were killed."""
    for kills in range(1000):
        place = folder / str(kills)
        code = child(partial(work, place, kills + 1, after=after))
        if code == 0:
            return kills
        if code != -signal.SIGKILL:
            raise AssertionError(f"write {kills + 1}: exit status {code}")
        for act in (
            partial(assert_whole, place),
            partial(work, place, 10**6, after=after),
            partial(assert_done, place),
        ):
            if child(act) != 0:
                raise AssertionError(f"write {kills + 1}: see above")
    raise AssertionError("there is no end of writes")


@pytest.mark.parametrize("after", [False, True])
def test_kb_04_kb_07_killed_at_every_write_everything_ends_the_same(
    tmp_path: Path, after: bool
) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.test_knowledge_kills",
            str(tmp_path),
            f"{after:d}",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


if __name__ == "__main__":
    print(kill_everywhere(Path(sys.argv[1]), after=bool(int(sys.argv[2]))))
