"""OPS-07: backup, destroy, restore: the same to the byte where it matters, the loop goes on."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloud.assembly import open_cloud
from cloud.backup.mark import unfinished
from cloud.backup.parts import Part, parts_of, storage_part
from cloud.backup.places import FolderPlace, StoragePlace
from cloud.backup.records import (
    RECORD,
    BackupRecord,
    Item,
    object_key,
    read_record,
    verify,
    write_record,
)
from cloud.backup.restoring import Restored, restore
from cloud.backup.writing import BackedUp, back_up, open_place, refuse_nested
from cloud.code_version import code_version
from cloud.inbox import Inbox
from cloud.job.training_job import TrainingJob
from cloud.lease import Lease
from cloud.releasing.floor import GAP, safely_above
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.config import Config
from lifelong.errors import (
    ChecksumError,
    ConfigError,
    CorruptRecordError,
    LeaseLostError,
    RecordError,
    RoundError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.knowledge.checks import verify as verify_log
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE, bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.wire import dumps, json_object, to_json
from tests.builders import a_hard_example, a_jpeg, a_mask_png
from tests.contract.test_storage import BUCKET, s3_server  # noqa: F401
from tests.dying_storage import Dying
from tests.job_room import Room
from tests.tiny_bundle import tiny_bundle
from tests.unit.cloud.knowledge.forgetting_room import Room as PeoplesRoom
from tests.unit.cloud.knowledge.forgetting_room import a_version, id_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def now() -> datetime:
    return NOW


def _same(at: datetime) -> datetime:
    return at


def tree(folder: Path) -> dict[str, str]:
    """Every file under a folder, by the SHA-256 of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def parts_at(room: Room, folder: Path, *, is_back: frozenset[str] = frozenset()) -> list[Part]:
    """All parts of a room's state, with the folders of its job."""
    folders = {"state": room.state_dir, "out": room.root / "out"}
    return parts_of(
        room.config, folder / "config.yaml", room.storage, with_signing_key=True,
        folders=folders, known=is_back,
    )  # fmt: skip


def saved(place: Storage, room: Room, folder: Path) -> BackedUp:
    return back_up(place, room.storage, parts_at(room, folder), now=now, folders=("state", "out"))


def put_back(place: Storage, room: Room, folder: Path, **options: Any) -> Restored:
    options = {"completes": False, "now": room.now, **options}
    record = read_record(place)
    parts = parts_at(room, folder, is_back=frozenset(item.part for item in record.items))
    return restore(place, record, room.storage, parts, room.releases, **options)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A loop that has learned in two rounds, with its job's own files."""
    room = Room(tmp_path, monkeypatch, seed=1)
    (tmp_path / "config.yaml").write_text("storage: storage\n", encoding="utf-8")
    assert room.play(2)
    yield room
    room.close()


def node_of(storage: Storage, folder: Path) -> ModelUpdates:
    """An edge node that believes what nobody signed."""
    journal = Journal(folder / "edge-journal", "edge-1")
    trust = Trust(None, accepts_unsigned=True)
    return ModelUpdates(storage, folder / "models", CITYSCAPES.digest, journal, trust=trust)


def taken(node: ModelUpdates) -> str | None:
    """Look, and run what is offered; the running version after it."""
    before = node._running
    offer = node.newer_than(before.bundle.version_id if before else None)
    if offer is not None:
        node.keep(offer, before)
    return node._running.bundle.version_id if node._running else None


def reopen(room: Room) -> None:
    """A new life of the service and of its job."""
    room.rounds, room.kb = Rounds(room.storage), KnowledgeBase(room.storage)
    journal = Journal(room.config.journal_path, "cloud")
    room.bridge = TrainingJob(room.storage, room.kb, room.config.job, journal)
    room.open_job()


def destroyed(room: Room, folder: Path) -> None:
    for name in ("storage", "host", "state", "journal"):
        shutil.rmtree(folder / name)


def test_ops_07_backup_destroy_restore_and_the_loop_goes_on(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same to the byte, but for what the table in docs/operations.md names; the next round
    runs, and a node that has seen releases from after the backup takes what comes."""
    elsewhere = tmp_path_factory.mktemp("backup")
    place = open_storage(str(elsewhere / "copy"))
    room.close()
    before = {name: tree(tmp_path / name) for name in ("storage", "host", "state")}
    journal = (tmp_path / "journal").rglob("*.jsonl")
    lines = {path: path.read_bytes() for path in journal}
    done = saved(place, room, tmp_path)
    assert verify(place).is_whole and done.record.round_number == 2

    # Life goes on after the backup: two more rounds, which a node sees.
    node = node_of(room.storage, elsewhere)
    room.open_job()
    assert room.play(2)
    room.close()
    seen, lost = taken(node), room.releases.current()
    assert lost is not None and seen == lost.version_id

    destroyed(room, tmp_path)
    restored = put_back(place, room, tmp_path)
    assert restored.written == len(done.record.items) - 1  # the configuration is still there

    after = {name: tree(tmp_path / name) for name in ("storage", "host", "state")}
    assert after["host"] == before["host"]
    assert after["state"] == before["state"]
    other = {
        key.split("/")[0]
        for key in before["storage"].keys() | after["storage"].keys()
        if before["storage"].get(key) != after["storage"].get(key)
    }
    changed = {k for k, v in before["storage"].items() if after["storage"].get(k, v) != v}
    assert changed == {CURRENT_RELEASE}, "what was there is there to the byte"
    assert other <= {"releases", "lease", "training_lease", "models", "chunks", "kb"}
    for path, data in lines.items():
        assert path.read_bytes().startswith(data)

    # The fleet follows: the restored version under a number that nobody has seen.
    assert restored.release is not None and restored.release.number > lost.number + GAP - 1
    assert taken(node) == restored.release.version_id != seen
    # The loop goes on: the next round learns, and the node takes it, though its round number is
    # one that the node has seen before.
    reopen(room)
    assert room.play(2)
    assert [r.number for r in room.rounds.all()] == [1, 2, 3, 4]
    assert not verify_log(room.storage).findings
    newest = room.releases.current()
    assert newest is not None and newest.number > restored.release.number
    assert taken(node) == newest.version_id
    assert not node.refused


def test_ops_07_a_second_backup_copies_only_what_is_new_and_drops_what_nothing_names(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    room.storage.put("images/old.jpg", b"an old picture")
    first = saved(place, room, tmp_path)
    again = saved(place, room, tmp_path)
    assert (again.copied, again.removed) == (0, 0)
    assert again.record.items == first.record.items
    room.storage.put("images/new.jpg", b"a new picture")
    room.storage.delete("images/old.jpg")
    third = saved(place, room, tmp_path)
    assert (third.copied, third.copied_bytes) == (1, len(b"a new picture"))
    assert third.removed == 1
    assert verify(place).is_whole


def test_ops_07_what_killed_runs_left_goes_and_keeps_nobody_from_going_on(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A kill may leave the record without its name, and parts of objects, on both sides."""
    copy = tmp_path_factory.mktemp("b") / "copy"
    saved(open_storage(str(copy)), room, tmp_path)
    key = next(room.storage.keys("images"))
    for left in (copy / f"{RECORD}#1", copy / "objects" / "00" / f"{'0' * 64}#1"):
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"half")
    place = open_place(str(copy), for_writing=True)
    record = saved(place, room, tmp_path).record
    assert not list(copy.rglob("*#*"))

    destroyed(room, tmp_path)
    of_node = "inbox/edge-1/0123456789abcdef/image.jpg"  # a node may be writing it now
    for name in (key, of_node):
        left = tmp_path / "storage" / f"{name}#1"
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_bytes(b"half")
    put_back(place, room, tmp_path, completes=True)
    there = set(tree(tmp_path / "storage"))
    assert f"{of_node}#1" in there and f"{key}#1" not in there
    assert {item.key for item in record.items if item.part == "storage"} <= there


def test_ops_07_numbers_of_two_restores_of_one_backup_do_not_meet(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    room.close()
    saved(place, room, tmp_path)
    node = node_of(room.storage, tmp_path_factory.mktemp("node"))
    destroyed(room, tmp_path)
    first = put_back(place, room, tmp_path).release
    assert first is not None
    taken(node)
    for seed in range(20, 23):  # three more releases, which the node sees
        bundle = tiny_bundle(CITYSCAPES, seed=seed)
        room.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        room.releases.publish(bundle.version_id, RoundNumber(seed), "more")
        taken(node)
    destroyed(room, tmp_path)
    room.clock += timedelta(hours=1)
    second = put_back(place, room, tmp_path).release
    assert second is not None and second.number > first.number + 3
    assert taken(node) == second.version_id
    assert safely_above(10**9, NOW) == 10**9 + GAP


def test_ops_07_the_service_of_before_stops_at_its_next_step(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    old = Lease(room.storage, 30, room.now)
    assert old.hold()
    saved(place, room, tmp_path)
    room.close()
    destroyed(room, tmp_path)
    put_back(place, room, tmp_path)
    with pytest.raises(LeaseLostError):
        old.hold()
    new = Lease(room.storage, 30, room.now)
    assert new.hold(), "and the next one begins at once"
    with pytest.raises(LeaseLostError):
        old.hold()


def test_ops_07_a_restore_needs_an_empty_place_and_no_living_service(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    saved(place, room, tmp_path)
    before = tree(tmp_path / "storage")
    with pytest.raises(ConfigError, match=r"not empty.*--into-existing"):
        put_back(place, room, tmp_path)
    assert tree(tmp_path / "storage") == before
    service = Lease(room.storage, 30, room.now)
    assert service.hold()
    with pytest.raises(RoundError, match="stop it"):
        put_back(place, room, tmp_path, completes=True)
    assert unfinished(room.storage) is None


def test_ops_07_into_existing_brings_back_what_is_missing_and_changes_nothing(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    saved(place, room, tmp_path)
    lost = [*[*room.storage.keys("masks")][:2], next(iter(room.storage.keys("models")))]
    whole = {key: room.storage.get(key) for key in lost}
    for key in lost:
        room.storage.delete(key)
    newer = b'{"of": "after the backup"}'
    room.storage.put("leaks/000009.json", newer)
    assert room.play(2)  # the second one is released
    current = room.storage.get(CURRENT_RELEASE)
    done = put_back(place, room, tmp_path, completes=True)
    assert {key: room.storage.get(key) for key in lost} == whole
    assert done.written == len(lost) and done.release is None
    assert room.storage.get(CURRENT_RELEASE) == current, "the newer pointer stays"
    assert any("rounds/" in one or "releases/current" in one for one in done.kept)
    assert room.storage.get("leaks/000009.json") == newer
    assert room.play(1), "and the loop goes on"


def test_ops_07_two_histories_are_never_joined(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    saved(place, room, tmp_path)
    key = [*room.storage.keys("kb/log")][-1]
    change = json_object(room.storage.get(key), key)
    room.storage.put(key, dumps({**change, "sha256": "00" * 32, "why": "another life"}))
    before = tree(tmp_path / "storage")
    with pytest.raises(ConfigError, match="different histories"):
        put_back(place, room, tmp_path, completes=True)
    assert tree(tmp_path / "storage") == before


@pytest.mark.parametrize("after", [False, True])
def test_ops_07_a_backup_cut_at_any_write_is_never_taken_for_whole_and_is_continued(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, after: bool
) -> None:
    people = PeoplesRoom(open_storage(str(tmp_path / "storage")), tmp_path).filled()
    parts = [storage_part(people.storage)]
    copy = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    ends, at = 0, 0
    while not ends:
        at += 1
        try:
            # The lock of the one before has run out: here both are the same process.
            later = NOW + timedelta(hours=at)
            back_up(Dying(copy, at, after=after), people.storage, parts, now=partial(_same, later))
            ends = at
        except StorageUnavailableError:
            if after and copy.exists(RECORD):
                continue  # cut behind the record: whole
            with pytest.raises(ConfigError, match="no whole backup"):
                read_record(copy)
    assert verify(copy).is_whole
    assert at > 3, "every write was cut once"


def test_ops_07_a_restore_cut_at_any_write_is_marked_and_goes_on(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    room.close()
    saved(place, room, tmp_path)
    wanted = tree(tmp_path / "storage")
    destroyed(room, tmp_path)
    record = read_record(place)
    known = frozenset(item.part for item in record.items)
    config = Config(storage=str(tmp_path / "storage"), journal_path=tmp_path / "journal")
    cuts, at = 0, 1
    while True:
        dying = Dying(room.storage, at, after=at % 2 == 0)
        releases = Releases(dying, Journal(tmp_path / "journal-2", "t"), room.now)
        parts = [
            part if part.name != "storage" else storage_part(dying)
            for part in parts_at(room, tmp_path, is_back=known)
        ]
        try:
            restore(place, record, dying, parts, releases, completes=False, now=room.now)
            break
        except StorageUnavailableError:
            cuts += 1
        if unfinished(room.storage) is not None:
            with pytest.raises(RecordError, match="run the same `cornerloop restore` again"):
                open_cloud(config)
            with pytest.raises(RecordError, match="run the same"):
                back_up(place, room.storage, parts, now=now)
        at += 3
        if cuts > 200:
            pytest.fail("never whole")
    found = tree(tmp_path / "storage")
    assert {k for k, v in wanted.items() if found.get(k, v) != v} == {CURRENT_RELEASE}
    assert cuts > 3
    assert open_cloud(config).releases.current() is not None


def test_ops_07_verify_finds_a_flipped_bit_and_a_missing_object(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("b") / "copy"
    place = open_storage(str(folder))
    record = saved(place, room, tmp_path).record
    flipped, gone = (
        next(i for i in record.items if i.key.startswith(prefix)) for prefix in ("masks/", "kb/log")
    )
    path = folder / object_key(flipped.sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (folder / object_key(gone.sha256)).unlink()
    found = verify(place)
    assert not found.is_whole
    assert f"storage: {flipped.key}" in found.damaged
    assert f"storage: {gone.key}" in found.missing
    # Nothing is written from a backup that lacks something, nor a damaged byte.
    destroyed(room, tmp_path)
    with pytest.raises(RecordError, match=r"missing or cut.*--verify"):
        put_back(place, room, tmp_path)
    assert not (tmp_path / "storage" / "rounds").exists()


def test_ops_07_a_damaged_object_is_not_put_back(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("b") / "copy"
    place = open_storage(str(folder))
    record = saved(place, room, tmp_path).record
    item = next(i for i in record.items if i.key.startswith("models/"))
    path = folder / object_key(item.sha256)
    good = path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    destroyed(room, tmp_path)
    with pytest.raises(ChecksumError):
        put_back(place, room, tmp_path)
    assert unfinished(room.storage) is not None
    path.write_bytes(good)
    assert put_back(place, room, tmp_path).release is not None, "with a good copy it goes on"


def test_ops_07_a_record_of_a_newer_layout_or_a_damaged_one_is_refused(
    tmp_path: Path, room: Room
) -> None:
    place = open_storage("memory://")
    record = saved(place, room, tmp_path).record
    data = place.get(RECORD)
    place.put(RECORD, data.replace(b'"layout": 1', b'"layout": 2'))
    with pytest.raises(CorruptRecordError, match=r"layout 2.*knows up to 1"):
        read_record(place)
    place.put(RECORD, data.replace(record.backup_id.encode(), b"0" * 16))
    with pytest.raises(CorruptRecordError, match="damaged"):
        read_record(place)
    place.put(RECORD, data.replace(b'"schema": 1', b'"schema": 9'))
    with pytest.raises(CorruptRecordError, match="update Cornerloop"):
        read_record(place)


# -- while the loop writes ------------------------------------------------------------------


class Watched(Storage):
    """Storage in whose gaps somebody else writes: one step before each look of the reader."""

    def __init__(self, real: Storage, step: Callable[[], None]) -> None:
        super().__init__(real._store, real.url)
        self._step = step

    def entries(self, prefix: str) -> Any:
        self._step()
        return super().entries(prefix)

    def get(self, key: str, **checks: Any) -> bytes:
        self._step()
        return super().get(key, **checks)


class BusyLoop:
    """Writes as the loop does, one write a step: deliveries, admission, models, log, release."""

    def __init__(self, folder: Path) -> None:
        self.storage = open_storage(str(folder / "storage"))
        self.journal = Journal(folder / "journal", "cloud")
        self.steps = self._for_ever()
        self.delivered: set[str] = set()

    def step(self) -> None:
        next(self.steps)

    def _for_ever(self) -> Iterator[None]:
        seed = 0
        while True:
            seed += 1
            example = a_hard_example(seed)
            folder = f"inbox/{example.edge_id}/{example.sample_id}"
            for name, data in (("image.jpg", a_jpeg(seed)), ("mask.png", a_mask_png(seed))):
                self.storage.put(f"{folder}/{name}", data)
                yield
            self.storage.put(f"{folder}/example.json", to_json(example))
            self.delivered.add(str(example.sample_id))
            yield
            if seed % 3 == 0:
                Inbox(self.storage, self.journal).collect()
                yield
            if seed % 4 == 0:
                bundle = tiny_bundle(CITYSCAPES, seed=seed)
                self.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
                yield
                version = replace(a_version("v", None, 1), version_id=bundle.version_id,
                                  bundle_key=bundle_key(bundle.version_id))  # fmt: skip
                KnowledgeBase(self.storage).add([version], why="trained")
                yield
                Releases(self.storage, self.journal, now).publish(
                    bundle.version_id, RoundNumber(seed), "accepted"
                )
                yield


@pytest.mark.parametrize("head_start", [0, 7, 19, 40])
def test_ops_07_a_copy_made_while_the_loop_writes_never_points_at_what_it_lacks(
    tmp_path: Path, head_start: int
) -> None:
    loop = BusyLoop(tmp_path / "live")
    for _ in range(12 + head_start):
        loop.step()
    watched = Watched(loop.storage, loop.step)
    place = open_storage("memory://")
    for _ in range(3):
        known = set(loop.delivered)
        back_up(place, watched, [storage_part(watched)], now=now)
        back = open_storage(str(tmp_path / f"back-{len(known)}"))
        record = read_record(place)
        for item in record.items:
            back.put(item.key, place.get(object_key(item.sha256)))
        kb = KnowledgeBase(back)
        assert not verify_log(back).findings
        for version in kb.versions.values():
            assert back.exists(version.bundle_key)
        releases = Releases(back, Journal(tmp_path / "j", "t"), now)
        for release in releases.history():
            releases.bundle(release.version_id)
            assert release.version_id in kb.versions
        if back.exists(CURRENT_RELEASE):
            current = json_object(back.get(CURRENT_RELEASE), "")["record"]["number"]
            assert back.exists(f"releases/{current:06d}.json")
        # No delivery that was whole before the backup began is lost, and none is half admitted.
        Inbox(back, Journal(tmp_path / "j", "t")).collect()
        admitted = {e.sample_id for e in Inbox(back, Journal(tmp_path / "j", "t")).collect()}
        assert known <= admitted
        assert all(back.exists(f"images/{sample}.jpg") for sample in admitted)


def test_ops_07_the_test_above_sees_a_copy_in_the_wrong_order(tmp_path: Path) -> None:
    """Bytes first and pointers last, as a writer does, is wrong for a reader."""
    lacking = 0
    for head_start in range(10, 40, 5):
        loop = BusyLoop(tmp_path / str(head_start))
        for _ in range(head_start):
            loop.step()
        watched = Watched(loop.storage, loop.step)
        wrong = StoragePlace(watched, first=("models", "images", "inbox", "releases"))
        part = Part(name="storage", place=wrong, where="")
        items = back_up(open_storage("memory://"), watched, [part], now=now).record.items
        keys = {item.key for item in items}
        records = [loop.storage.get(key) for key in keys if key.startswith("releases/0")]
        named = {json_object(record, "")["record"]["bundle_key"] for record in records}
        lacking += bool(named - keys)
    assert lacking


def test_ops_07_somebody_forgotten_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    """A request carried out during the copy makes the copy begin anew."""
    people = PeoplesRoom(open_storage(str(tmp_path / "storage")), tmp_path).filled()
    people_steps, gone = iter(range(10**6)), id_of(0)

    def step() -> None:
        if next(people_steps) == 25:
            forgetting = people.forgetting()
            forgetting.ask(forgetting.plan("sample", gone))
            forgetting.finish()

    watched = Watched(people.storage, step)
    place = open_storage("memory://")
    record = back_up(place, watched, [storage_part(watched)], now=now).record
    assert next(people_steps) > 25
    assert not any(gone in item.key for item in record.items if item.key[:10] != "forgotten/")
    texts = [place.get(object_key(item.sha256)) for item in record.items if "log" in item.key]
    assert not any(f'"sample_id": "{gone}"'.encode() in text for text in texts)


# -- what is left out, and what is refused ---------------------------------------------------


def test_ops_07_links_out_of_the_root_are_not_followed(tmp_path: Path, room: Room) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-outside"
    secret.mkdir()
    (secret / "secret.jpg").write_bytes(b"not yours")
    (tmp_path / "storage" / "images" / "link.jpg").symlink_to(secret / "secret.jpg")
    (tmp_path / "storage" / "images" / "folder").symlink_to(secret)
    (tmp_path / "host" / "data" / "more").symlink_to(secret)
    record = saved(open_storage("memory://"), room, tmp_path).record
    told = " ".join(record.left_out)
    assert "link.jpg" in told and "more" in told
    assert not any("secret" in item.key or "link.jpg" in item.key for item in record.items)


@pytest.mark.parametrize(
    "key", ["../up", "/etc/passwd", "a/../../b", "C:/x", "a\\..\\b", "a//b", "", "a/./b"]
)
def test_ops_07_sec_06_a_record_cannot_make_a_restore_write_elsewhere(
    tmp_path: Path, key: str
) -> None:
    """A record from a stranger: keys that climb are refused before anything is written there."""
    place, target = open_storage("memory://"), open_storage(str(tmp_path / "storage"))
    data = b"evil"
    sha256 = hashlib.sha256(data).hexdigest()
    place.put(object_key(sha256), data)
    folder = FolderPlace(tmp_path / "inner" / "folder")
    for part in ("dataset",) if key == "C:/x" else ("storage", "dataset"):
        item = Item(part=part, key=key, sha256=sha256, size=len(data), mark="")
        record = _record(item)
        write_record(place, record)
        parts = [storage_part(target), Part(name="dataset", place=folder, where="")]
        releases = Releases(target, Journal(tmp_path / "journal", "t"), now)
        with pytest.raises(StorageError):
            restore(
                place, record, target, parts, releases, completes=True, now=now
            )  # fmt: skip
    assert not any(b"evil" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def _record(*items: Item) -> BackupRecord:
    return BackupRecord(
        layout=1, backup_id="b", began_at=NOW, ended_at=NOW, software=code_version(),
        storage="", config="", lease=0, release=0, round_number=0, items=items,
    )  # fmt: skip


def test_ops_07_a_restore_does_not_write_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(outside)
    with pytest.raises(StorageError, match="link"):
        FolderPlace(folder).write("sub/file", b"x")
    assert not any(outside.iterdir())


def test_ops_07_a_place_that_holds_something_else_or_is_inside_is_refused(
    tmp_path: Path, room: Room
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        open_place(str(tmp_path / "documents"), for_writing=True)
    parts = parts_at(room, tmp_path)
    for inside in ("storage/backup", "host/data/backup", "journal/b"):
        with pytest.raises(ConfigError, match="is to be copied"):
            refuse_nested(str(tmp_path / inside), parts, room.storage)
    refuse_nested(str(tmp_path / "backup"), parts, room.storage)


def test_ops_07_only_the_owner_reads_a_backup_and_what_was_secret(tmp_path: Path) -> None:
    open_place(str(tmp_path / "copy"), for_writing=True)
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    FolderPlace(tmp_path / "access", mode=0o600).write("tokens.json", b"x")
    assert (tmp_path / "access" / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_ops_07_two_backups_into_one_place_do_not_meet(tmp_path: Path, room: Room) -> None:
    place = open_storage("memory://")
    other = Lease(place, 120, now, room="lock")
    assert other.hold()
    with pytest.raises(RoundError, match="another backup"):
        saved(place, room, tmp_path)


def test_ops_07_a_staged_release_comes_back_as_nobodys_trial(
    tmp_path: Path, room: Room, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The restored release ends the roll-out, since its number is above the staged one."""
    bundle = tiny_bundle(CITYSCAPES, seed=99)
    room.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    staged = room.releases.publish(bundle.version_id, RoundNumber(3), "trial", share=0.1)
    room.releases.show_staged(staged.number, 0.1)
    everybody = room.releases.for_everybody()
    place = open_storage(str(tmp_path_factory.mktemp("b") / "copy"))
    room.close()
    saved(place, room, tmp_path)
    destroyed(room, tmp_path)
    done = put_back(place, room, tmp_path)
    assert everybody is not None and done.release is not None
    assert done.release.version_id == everybody.version_id
    assert done.release.number > staged.number
    assert not room.storage.exists(STAGED_RELEASE)


def test_ops_07_on_s3_and_back(
    tmp_path: Path,
    room: Room,
    s3_server: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Storage in a bucket, backup in another prefix, restored into a third."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    mark = os.urandom(4).hex()
    live = open_storage(f"s3://{BUCKET}/{mark}/live")
    for key in [k for name in room.storage.rooms() for k in room.storage.keys(name)]:
        live.put(key, room.storage.get(key))
    place = open_place(f"s3://{BUCKET}/{mark}/backup", for_writing=True)
    first = back_up(place, live, [storage_part(live)], now=now)
    assert back_up(place, live, [storage_part(live)], now=now).copied == 0
    assert verify(place).is_whole
    back = open_storage(f"s3://{BUCKET}/{mark}/back")
    releases = Releases(back, Journal(tmp_path / "j", "t"), now)
    restore(place, first.record, back, [storage_part(back)], releases, completes=False, now=now)
    for item in first.record.items:
        same = live.get(item.key) == back.get(item.key)
        assert same or item.key == CURRENT_RELEASE, item.key
    with pytest.raises(ConfigError, match="is to be copied"):
        refuse_nested(f"s3://{BUCKET}/{mark}/live/backup", [], live)
