"""KB-07, LLL-05: what is to be forgotten goes everywhere, whatever crashes meanwhile."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from annotation.studio_tasks import StudioTask
from annotation.task_fields import ROUND, SAMPLE
from annotation.task_removal import StudioRemoval
from cloud.admissions import Admissions
from cloud.fleet.affected_models import advice, affected_models
from cloud.inbox import Inbox
from cloud.rounds import Rounds
from lifelong.errors import LabelStudioUnavailableError, StorageUnavailableError
from lifelong.knowledge.checks import verify
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.durable_files import UNFINISHED
from lifelong.links.journal import read_events
from lifelong.links.storage import open_storage
from lifelong.records.deliveries import Receipt
from lifelong.records.forget_requests import Scope, StudioTaskOf
from lifelong.records.ids import VersionId
from lifelong.records.keys import receipt_key
from lifelong.records.rounds import RoundState
from lifelong.records.wire import from_json
from lifelong.replay import CHOICES, choose_exemplars
from tests.builders import a_jpeg, a_mask_png, a_sample
from tests.dying_storage import Dying
from tests.unit.cloud.knowledge.forgetting_room import Room, an_example, id_of, pictures_of

# Where a forgotten picture's id, a hash, stays: lineage, and so that it is not taken in again.
ALLOWED = ("admissions/", "forgotten/", "kb/log/", "journal/")


class Tasks:
    """Label Studio's tasks, as `Removal` sees them."""

    def __init__(self) -> None:
        self.removed: list[int] = []
        self.is_up = True

    def remove(self, tasks: Sequence[StudioTaskOf]) -> list[StudioTaskOf]:
        if not self.is_up:
            raise LabelStudioUnavailableError("Label Studio is away")
        self.removed += [task.task_id for task in tasks]
        return []


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(open_storage("memory://"), tmp_path, Tasks()).filled()


def forget(room: Room, scope: Scope, name: str, value: str = "") -> None:
    forgetting = room.forgetting()
    forgetting.ask(forgetting.plan(scope, name, value))
    (done,) = forgetting.finish()
    assert done.is_finished


def assert_gone(room: Room, seeds: Sequence[int]) -> None:
    held = pictures_of(room)
    for seed in seeds:
        left = [key for key in room.bytes_with(id_of(seed)) if not key.startswith(ALLOWED)]
        assert left == []
        assert a_jpeg(seed) not in held
        assert a_mask_png(seed) not in held
    kb = KnowledgeBase(room.storage)
    assert kb.samples.keys().isdisjoint(id_of(seed) for seed in seeds)
    assert verify(room.storage).findings == ()
    known = Admissions(room.storage).all()
    assert {e.sample_id for e in known}.isdisjoint(id_of(seed) for seed in seeds)


@pytest.mark.parametrize(
    ("scope", "name", "value", "gone"),
    [
        ("device", "edge-1", "", (0, 2, 4)),
        ("annotator", "anna@x.org", "", (0, 1)),
        ("sample", id_of(3), "", (3,)),
        ("attribute", "person", "driver-1", (1,)),
        ("attribute", "person", "driver-5", (5,)),  # only on its way
    ],
)
def test_kb_07_samples_go_everywhere(
    room: Room, scope: Scope, name: str, value: str, gone: tuple[int, ...]
) -> None:
    """KB-07: images, masks, edge masks, drafts, deliveries, examples, receipts, rounds, dataset,
    features, embeddings, reviews; the other samples stay whole."""
    stay = [seed for seed in range(6) if seed not in gone]
    before = {key for seed in stay for key in room.bytes_with(id_of(seed))}
    forget(room, scope, name, value)
    assert_gone(room, gone)
    assert {key for seed in stay for key in room.bytes_with(id_of(seed))} >= {
        key for key in before if not any(id_of(seed) in key for seed in gone)
    } - {f"rounds/{1:06d}.json"}
    kb = KnowledgeBase(room.storage)
    assert set(kb.samples) == {id_of(seed) for seed in stay if seed < 4}
    doubts = json.loads(room.storage.get("doubted/1.json"))["record"]["doubts"]
    assert [one["sample_id"] for one in doubts] == [id_of(seed) for seed in stay if seed < 4]
    for sample in kb.samples.values():
        room.storage.get(sample.image_key, sha256=sample.image_sha256)
        room.storage.get(sample.mask_key, sha256=sample.mask_sha256)
    assert room.forgetting().open_requests() == []
    tasks = room.removal.removed  # type: ignore[union-attr]
    assert tasks == [100 + seed for seed in gone if seed < 4]


@pytest.mark.parametrize("scope", ["sample", "device"])
def test_kb_07_also_what_killed_writers_left(tmp_path: Path, scope: Scope) -> None:
    """KB-07: no listing tells of it, and it holds the picture as well."""
    room = Room(open_storage(str(tmp_path / "storage")), tmp_path / "rest", Tasks()).filled()
    images = room.job.dataset_path / "images"  # type: ignore[operator]
    left = [
        tmp_path / "storage" / "images" / f"{id_of(0)}.jpg#1",
        tmp_path / "storage" / "inbox" / "edge-1" / id_of(0) / "image.jpg#2",
        images / f"{UNFINISHED}{id_of(0)}.jpg",
    ]
    of_others = [
        tmp_path / "storage" / "inbox" / "edge-2" / id_of(5) / "image.jpg#1",  # being written
        images / f"{UNFINISHED}{id_of(1)}.jpg",
    ]
    for path in (*left, *of_others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(a_jpeg(9))
    forget(room, scope, id_of(0) if scope == "sample" else "edge-1")
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in of_others)


def test_kb_07_an_annotators_name_is_gone_from_all_records(room: Room) -> None:
    """KB-07: also where he judged, skipped or was counted in somebody else's work."""
    assert len(room.bytes_with("anna@x.org")) == 5  # log, review, doubts, round, journal
    forget(room, "annotator", "anna@x.org")
    assert room.bytes_with("anna@x.org") == []
    assert "bob@x.org" in {s.annotator for s in KnowledgeBase(room.storage).samples.values()}
    (round_,) = Rounds(room.storage).all()
    assert [skip.reason for skip in round_.skips] == ["skipped by forgotten"]
    pulled = [e for e in read_events(room.folder / "journal") if e["event"] == "annotation.pulled"]
    assert [e["annotator"] for e in pulled] == ["-" * 10] * 2 + ["bob@x.org"] * 2


def test_kb_07_a_persons_attribute_is_gone_from_all_records(room: Room) -> None:
    forget(room, "attribute", "person", "driver-2")
    assert room.bytes_with("driver-2") == []
    assert room.bytes_with("driver-1") != []


def test_kb_07_the_same_picture_is_not_taken_in_again(room: Room) -> None:
    """KB-07: its node is told for good; nothing of it is kept as refused."""
    running = Inbox(room.storage, room.journal)
    assert id_of(0) in {e.sample_id for e in running.collect()}
    forget(room, "sample", id_of(0))
    for inbox in (running, Inbox(room.storage, room.journal)):
        room.deliver(0)
        assert id_of(0) not in {e.sample_id for e in inbox.collect()}
        assert_gone_but_receipt(room)


def assert_gone_but_receipt(room: Room) -> None:
    key = receipt_key(an_example(0).edge_id, id_of(0))
    receipt = from_json(Receipt, room.storage.get(key), key)
    assert (receipt.verdict, receipt.is_final) == ("refused", True)
    room.storage.delete(key)
    assert_gone(room, [0])


@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_lll_05_a_forgotten_sample_is_in_no_replay_memory(room: Room, choice: str) -> None:
    """LLL-05: memory is chosen from what the knowledge base offers; the bound in bytes holds."""
    forget(room, "device", "edge-1")
    offered = KnowledgeBase(room.storage).learned_by(VersionId("vvv"))
    assert {s.sample_id for s in offered} == {id_of(1), id_of(3)}
    sizes = dict.fromkeys((s.sample_id for s in offered), 10)
    chosen = choose_exemplars(offered, sizes, 10, choice=choice, seed=0)
    assert len(chosen) == 1 and chosen[0].edge_id == "edge-2"


def test_kb_07_nothing_forgotten_can_be_added_again(room: Room) -> None:
    forget(room, "sample", id_of(0))
    kb = KnowledgeBase(room.storage)
    old = a_sample(0)
    assert kb.add([old, a_sample(50)], why="a round that was slow") == 1
    assert old.sample_id not in kb.samples


def test_kb_07_affected_models_are_listed_with_what_to_do(room: Room) -> None:
    """KB-07: trained on, replayed, or descended from one that did; and what to do."""
    forget(room, "device", "edge-1")
    kb = KnowledgeBase(room.storage)
    found = {m.version_id: m for m in affected_models(kb.forgotten, kb, [], [])}
    assert set(found) == {"v", "vv", "vvv"}
    assert found[VersionId("vv")].trained_on == (id_of(0),)
    assert found[VersionId("vv")].replayed == (id_of(2),)
    assert found[VersionId("vvv")].ancestors == ("vv", "v")
    assert found[VersionId("vvv")].clean_ancestor is None
    only_anna = {m.version_id: m for m in affected_models({id_of(0)}, kb, [], [])}
    assert set(only_anna) == {"vv", "vvv"}
    assert only_anna[VersionId("vvv")].clean_ancestor == "v"
    assert "nothing to do" in advice(only_anna[VersionId("vvv")])


def test_kb_07_planning_changes_nothing(room: Room) -> None:
    before = pictures_of(room)
    plan = room.forgetting().plan("device", "edge-1")
    assert plan.samples == tuple(sorted(id_of(seed) for seed in (0, 2, 4)))
    assert [task.task_id for task in plan.tasks] == [100, 102]
    assert pictures_of(room) == before


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RoundState.ANNOTATING, RoundState.FAILED),
        (RoundState.TRAINING, RoundState.FAILED),
        (RoundState.RELEASED, RoundState.RELEASED),
    ],
)
def test_kb_07_a_round_that_has_nothing_left_ends(
    tmp_path: Path, state: RoundState, expected: RoundState
) -> None:
    room = Room(open_storage("memory://"), tmp_path, Tasks()).filled(state)
    for name in ("anna@x.org", "bob@x.org"):
        forget(room, "annotator", name)
    (round_,) = Rounds(room.storage).all()
    assert round_.state is expected
    assert (round_.examples, round_.tasks, round_.annotations) == ((), (), ())


def test_kb_07_without_label_studio_its_tasks_are_left_to_people(room: Room) -> None:
    room.removal = None
    forgetting = room.forgetting()
    forgetting.ask(forgetting.plan("device", "edge-1"))
    (done,) = forgetting.finish()
    assert [task.task_id for task in done.tasks_left] == [100, 102]
    assert done.is_finished and "by hand" in done.note


def test_kb_07_label_studio_that_is_away_is_asked_again(room: Room) -> None:
    tasks = room.removal
    assert isinstance(tasks, Tasks)
    tasks.is_up = False
    forgetting = room.forgetting()
    forgetting.ask(forgetting.plan("device", "edge-1"))
    (done,) = forgetting.finish()
    assert not done.is_finished
    assert len(forgetting.open_requests()) == 1
    tasks.is_up = True
    (done,) = room.forgetting().finish()
    assert done.is_finished and tasks.removed == [100, 102]
    assert_gone(room, [0, 2, 4])


def test_kb_07_a_task_id_that_means_another_picture_by_now_is_left_alone(room: Room) -> None:
    """Label Studio gives a deleted task's id to the next one."""

    class Studio:
        def __init__(self) -> None:
            self.deleted: list[int] = []

        def task(self, task_id: int) -> StudioTask:
            sample = id_of(0) if task_id == 100 else "ffffffffffffffff"
            return StudioTask(
                task_id=task_id,
                data={SAMPLE: sample, ROUND: 1},
                meta={},
                updated_at=None,
                submitted=1,
                skipped=0,
            )

        def delete_task(self, task_id: int) -> None:
            self.deleted.append(task_id)

    plan = room.forgetting().plan("device", "edge-1")
    studio = Studio()
    assert StudioRemoval(studio).remove(plan.tasks) == []
    assert studio.deleted == [100]


@pytest.mark.parametrize("after", [False, True])
def test_kb_07_forgetting_that_is_cut_off_anywhere_is_finished_by_the_next_one(
    tmp_path: Path, after: bool
) -> None:
    """KB-07, KB-04: every write and every removal, before and after it."""
    at, deaths = 0, 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        room = Room(open_storage("memory://"), folder, Tasks()).filled()
        dying = Dying(room.storage, at, after=after)
        forgetting = room.forgetting(dying)
        try:
            forgetting.ask(forgetting.plan("annotator", "anna@x.org"))
            forgetting.finish()
        except StorageUnavailableError:
            deaths += 1
            assert verify(room.storage).findings == () or room.forgetting().open_requests()
            if not room.forgetting().open_requests() and not after and at == 1:
                continue  # it was never asked
            room.forgetting().finish()
        else:
            break
        assert_gone(room, [0, 1])
        assert room.bytes_with("anna@x.org") == []
        assert room.forgetting().open_requests() == []
    assert deaths > 20
