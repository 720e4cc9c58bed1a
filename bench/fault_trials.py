"""The six faults, each a function of a seed: what happens to a node or a delivery, and what then.

A trial draws everything by its seed, so that one that fails can be run again alone.
"""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import lifelong.links.journal
from bench.fault_links import CutRoad, CutStorage
from bench.fault_room import FRAMES, Outcome, Room, judged, let_go
from cloud.inbox import Inbox
from lifelong.errors import ConfigError, LifelongError, StorageUnavailableError
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.keys import INBOX

BUCKET = "faults"

# -- kill -9 -----------------------------------------------------------------------------------

# Imported once by the process that all killed nodes are forked from; nothing there has opened a
# store or a model yet, since their threads would not survive a fork.
_PRELOADED = ["bench.fault_trials"]
_SLOWEST_S = 60.0


def kill(seed: int, folder: Path) -> Outcome:
    """A node process is killed at a random moment of its life, twice; a model comes meanwhile."""
    draw = random.Random(seed)
    room = Room(folder, seed)
    with room.heard:
        usual_s = _usual_seconds()
        struck = 0
        for life in range(2):
            struck |= _killed(folder, seed, draw.uniform(0.0, 1.05 * usual_s))
            room.collect()
            if life == 0:
                room.release(2)
        refused = room.refused()
        _ran_whole(folder, seed)
        outcome = judged(room)
    outcome.struck = struck
    outcome.half += len(refused)  # the cloud met something that was not whole
    outcome.notes += refused
    return outcome


def _killed(folder: Path, seed: int, after_s: float) -> bool:
    process = _forks().Process(target=_live, args=(str(folder), seed))
    process.start()
    process.join(after_s)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    was_alive = process.exitcode == -signal.SIGKILL
    process.close()
    return was_alive


def _ran_whole(folder: Path, seed: int) -> float:
    process = _forks().Process(target=_live, args=(str(folder), seed))
    began = time.perf_counter()
    process.start()
    process.join(_SLOWEST_S)
    took = time.perf_counter() - began
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"the node of trial {seed} ended with {process.exitcode} after {took} s")
    process.close()
    return took


@cache
def _usual_seconds() -> float:
    """How long a node's life takes when nobody ends it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lives = []
        for seed in range(4):  # the first one also starts the process that forks
            Room(Path(folder), seed)
            lives.append(_ran_whole(Path(folder), seed))
        return min(lives)


@cache
def _forks() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _live(folder: str, seed: int) -> None:
    """The life of a node process: everything as `cornerloop-edge run` builds it."""
    from edge.assembly import build_node
    from edge.stop import Stop

    room = object.__new__(Room)
    room.folder, room.seed, room.settings, room.storage_url = Path(folder), seed, {}, ""
    build_node(room.config(), Stop()).run()


# -- a link that is cut ------------------------------------------------------------------------


def cut(seed: int, folder: Path) -> Outcome:
    """The link breaks at a random byte, often twice; the beginning of an object stays behind."""
    draw = random.Random(seed)
    room = Room(folder, seed)
    with room.heard:
        struck = 0
        for _ in range(draw.choice([1, 2, 2])):
            storage = CutStorage(str(folder / "storage"), draw.randrange(30_000))
            room.node(storage).run()
            struck |= storage.is_dead
            if draw.random() < 0.5:
                room.collect()
        room.run_to_the_end()
        return replace(judged(room), struck=struck)


def cut_tcp(seed: int, folder: Path) -> Outcome:
    """A TCP connection to a real S3 server is cut at a random byte of either direction."""
    draw = random.Random(seed)
    road = _road()
    road.mend()
    with _pointed_at(_server()):
        room = Room(folder, seed, storage_url=f"s3://{BUCKET}/{seed}-{os.getpid()}")
        with room.heard:
            struck = 0
            for _ in range(draw.choice([1, 2])):
                with _pointed_at(road.url):
                    storage = room.storage()
                road.arm(draw.randrange(60_000))
                room.node(storage).run()
                struck |= road.is_cut
                road.mend()
                if draw.random() < 0.5:
                    room.collect()
            room.run_to_the_end()
            outcome = replace(judged(room), struck=struck)
        for key in list(room.storage().keys("images")):
            room.storage().delete(key)
        return outcome


@cache
def _server() -> str:
    """A real S3-compatible server on loopback with one bucket."""
    import boto3  # type: ignore[import-untyped]
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return f"http://{host}:{port}"


@cache
def _road() -> CutRoad:
    host, _, port = _server().removeprefix("http://").rpartition(":")
    return CutRoad(host, int(port))


@contextmanager
def _pointed_at(url: str) -> Iterator[None]:
    wanted = {"S3_ENDPOINT_URL": url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# -- one flipped byte --------------------------------------------------------------------------


def flip(seed: int, folder: Path) -> Outcome:
    """Some bit of one byte in a random file of node or storage turns over while the node is off."""
    draw = random.Random(seed)
    room = Room(folder, seed)
    with room.heard:
        number = draw.choice([1, 1, 2])
        room.release(number)
        # The node has delivered a part of its frames, the cloud has taken some of them.
        room.node(CutStorage(str(folder / "storage"), draw.randrange(4_000, 60_000))).run()
        if draw.random() < 0.3:
            room.collect()
        victim = draw.choice(_files_of(room))
        data = bytearray(victim.read_bytes())
        position = draw.randrange(len(data))
        data[position] ^= 1 << draw.randrange(8)
        stat = victim.stat()
        victim.write_bytes(data)
        os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        try:
            room.run_to_the_end()
        except ConfigError as error:
            if victim.name != "ring.json":
                raise
            room.heard.lines.append(f"not started: {error}")
            room.install_keys()
            room.run_to_the_end()
        # A node that lost its only model waits: somebody looks, and the cloud releases anew.
        room.release(number)
        room.run_to_the_end()
        owner = _owner(victim)
        outcome = judged(room, given_up=frozenset({owner} if owner else ()))
        outcome.struck = 1
    if not outcome.is_clean:
        outcome.note(f"flipped byte {position} of {victim.relative_to(folder)}")
    return outcome


def _files_of(room: Room) -> list[Path]:
    """What a disk could damage: deliveries, entries, records, bundles, pointers, books."""
    roots = [room.folder / name for name in ("outbox", "state", "storage")]
    found = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    found.append(room.folder / "ring.json")
    # The journal tells what happened and decides nothing; what was admitted has left the edge.
    spared = ("journal/", "health.json", "state/lock", "storage/images/", "storage/examples/",
              "storage/edge_masks/")  # fmt: skip
    return [
        path
        for path in found
        if path.stat().st_size and not any(part in str(path) for part in spared)
    ]


def _owner(path: Path) -> SampleId | None:
    """Whose only copy this may have been."""
    for part in path.parts:
        if len(part) == 16 and set(part) <= set("0123456789abcdef"):
            return SampleId(part)
    return None


# -- a full disk -------------------------------------------------------------------------------


def disk(seed: int, folder: Path) -> Outcome:
    """The node's disk has room for a random number of bytes more; later there is room again."""
    draw = random.Random(seed)
    room = Room(folder, seed)
    storage = CutStorage(str(folder / "storage"), draw.choice([0, 10_000, 10**9]))
    with room.heard, _small_disk(folder, [folder / "outbox", folder / "state"]) as disk_:
        disk_.leave(draw.randrange(60_000))
        with suppress(OSError, LifelongError):
            # A disk without room for the state itself: the node cannot start, and says so.
            room.node(storage).run()
        disk_.leave(None)
        room.run_to_the_end()
        outcome = judged(room, given_up=frozenset(room.frames()))
        outcome.struck = any("No space" in line or "too large" in line for line in room.heard.lines)
    return outcome


class _Disk:
    """A small file system of its own where that is allowed; else a limit on written files."""

    def __init__(self, mount: Path | None) -> None:
        self._mount = mount
        self._ballast = mount / "ballast" if mount else None

    def leave(self, free: int | None) -> None:
        """Leave so many bytes (in pages of 4 KiB); None: all."""
        if self._ballast is None:
            limit = resource.RLIM_INFINITY if free is None else max(free // 10, 1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            return
        self._ballast.unlink(missing_ok=True)
        if free is None:
            return
        room = shutil.disk_usage(self._ballast.parent).free - free
        with self._ballast.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(room, 1))


@contextmanager
def _small_disk(folder: Path, paths: list[Path]) -> Iterator[_Disk]:
    mount = folder / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that is too long fails instead
        limited = _Disk(None)
        try:
            yield limited
        finally:
            limited.leave(None)
        return
    try:
        for path in paths:
            if path.exists():
                shutil.move(path, mount / path.name)
            (mount / path.name).mkdir(exist_ok=True)
            path.symlink_to(mount / path.name)
        yield _Disk(mount)
    finally:
        let_go(mount)
        subprocess.run(["umount", "-l", str(mount)], check=True)


# -- a clock that jumps ------------------------------------------------------------------------

_JUMPS_S = (-1.0, 1.0, -3600.0, 3600.0, -86_400.0, 86_400.0, -3.2e8, 3.2e8)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clock(seed: int, folder: Path) -> Outcome:
    """The device's clock jumps between random steps, also to 1970; budgets and expiry are on."""
    draw = random.Random(seed)
    strict = {
        "outbox": {"path": folder / "outbox", "max_age_hours": 24.0},
        "upload": {
            "part_kib": 1,
            "max_mib_per_day": draw.choice([0.005, 0.02, 1.0]),
            "max_samples_per_hour": draw.choice([1, 3, 100]),
            "pace": draw.choice(["value", "steady", "at_once"]),
        },
    }
    room = Room(folder, seed)
    with room.heard:
        jumping = _Jumping(draw)
        for _ in range(2):
            storage = CutStorage(str(folder / "storage"), draw.choice([0, 20_000, 10**9]))
            with jumping:
                room.node(storage, **strict).run()
        room.run_to_the_end()
        return replace(judged(room), struck=min(jumping.jumps, 1))


class _Jumping:
    """While entered, `utc_now` jumps in one of some ten calls; nothing else knows of it."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._offset = timedelta()
        self.jumps = 0
        self._real = lifelong.links.journal.datetime

    def __enter__(self) -> None:
        jumping = self

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Any":
                return jumping.moment()

        lifelong.links.journal.datetime = Clock  # type: ignore[attr-defined]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lifelong.links.journal.datetime = self._real  # type: ignore[attr-defined]

    def moment(self) -> datetime:
        now = self._real.now(UTC)
        if self._draw.random() < 0.1:
            jump = self._draw.choice([*_JUMPS_S, None])
            self.jumps += 1
            self._offset = EPOCH - now if jump is None else timedelta(seconds=jump)
        return now + self._offset


# -- deliveries twice, in another order, or late -----------------------------------------------


class _Interrupted(Storage):
    """Storage in which, before a random operation, something else happens."""

    def __init__(self, inner: Storage, draw: random.Random, then: Callable[[], object]) -> None:
        super().__init__(inner._store, inner.url)
        self._draw, self._then = draw, then
        self._busy = False

    def _maybe(self) -> None:
        if not self._busy and self._draw.random() < 0.15:
            self._busy = True
            try:
                self._then()
            finally:
                self._busy = False

    def put(self, key: str, data: bytes) -> None:
        self._maybe()
        super().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._maybe()
        super().put_if_absent(key, data)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self._maybe()
        return super().get(key, sha256=sha256)

    def size(self, key: str) -> int | None:
        self._maybe()
        return super().size(key)

    def delete(self, key: str) -> None:
        self._maybe()
        super().delete(key)


class _ClosedInbox(Storage):
    """Everything can be read, nothing delivered."""

    def put(self, key: str, data: bytes) -> None:
        raise StorageUnavailableError(f"{self.url}/{key}: connection refused")


def deliveries(seed: int, folder: Path) -> Outcome:
    """Objects of deliveries come twice, in any order, late, or not at all, while the node delivers
    and two services collect at once, one in the middle of the other's operations."""
    draw = random.Random(seed)
    upload = {"part_kib": 1, "confirm": draw.choice(["read_back", "receipt"])}
    room = Room(folder, seed, {"upload": upload})
    with room.heard:
        storage = room.storage()
        room.node(_ClosedInbox(storage._store, storage.url)).run()
        sent = _sent(room)
        other = Inbox(storage, room.cloud_journal())
        one = Inbox(_Interrupted(storage, draw, other.collect), room.cloud_journal())
        ghosts = [key for key in sent for _ in range(draw.choice([0, 1, 1, 2, 3]))]
        draw.shuffle(ghosts)

        def meanwhile() -> None:
            """A late or repeated object arrives, or a service looks."""
            if ghosts and draw.random() < 0.6:
                key = ghosts.pop()
                storage.put(key, sent[key])
            else:
                draw.choice([one, other]).collect()

        for _ in range(draw.randrange(len(ghosts))):
            meanwhile()
        for _ in range(2):
            room.node(_Interrupted(storage, draw, meanwhile)).run()
        while ghosts:
            meanwhile()
        room.run_to_the_end()
        seen = [{example.sample_id for example in box.collect()} for box in (one, other, one)]
        outcome = replace(judged(room, ghosts=True), struck=1)
    if any(ids != set(room.frames()) for ids in seen):
        outcome.lost += 1
        outcome.note(f"an inbox knows {[len(ids) for ids in seen]} of {FRAMES}")
    return outcome


def _sent(room: Room) -> dict[str, bytes]:
    """What the node is going to deliver; the node itself still has it all."""
    kept = room.folder / "kept"
    for name in ("outbox", "state"):
        shutil.copytree(room.folder / name, kept / name)
    room.node(upload={"part_kib": 1}).run()
    storage = room.storage()
    sent = {key: storage.get(key) for key in storage.keys(INBOX)}
    for key in sent:
        storage.delete(key)
    for name in ("outbox", "state"):
        shutil.rmtree(room.folder / name)
        shutil.move(kept / name, room.folder / name)
    return sent


TRIALS: dict[str, Callable[[int, Path], Outcome]] = {
    "kill": kill,
    "cut": cut,
    "cut_tcp": cut_tcp,
    "flip": flip,
    "disk": disk,
    "clock": clock,
    "deliveries": deliveries,
}
