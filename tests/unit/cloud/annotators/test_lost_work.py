"""OPS-07: after a restore, an open round whose tasks Label Studio has lost goes on."""

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.draft_regions import brush_region
from annotation.exchange import Exchange
from annotation.page_marks import PageMark, marked
from annotation.studio_tasks import StudioTask
from cloud.annotators.by_classes import AnnotatorsByClasses
from cloud.annotators.lost_work import ROOM, LostWork, note_lost_work
from cloud.lease import Lease
from cloud.rounds import Rounds
from cloud.service import Service
from lifelong.config import RoundsSection
from lifelong.errors import LabelStudioUnavailableError
from lifelong.labels.map_history import read_history
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import SMALL_MAP, a_mask, stored_drafts
from tests.fakes_label_studio import FakeStudio

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def regions_of(mask: NDArray[np.uint8]) -> list[Any]:
    return [
        brush_region(mask == number, SMALL_MAP.names[number])
        for number in np.unique(mask).tolist()
        if number < len(SMALL_MAP.names)
    ]


class Room:
    """An open round of three drafts in one Label Studio, and then in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = open_storage(str(folder / "storage"))
        self.journal = Journal(folder / "journal", "cloud")
        self.studio = FakeStudio()
        self.people = self._people()
        drafts = tuple(stored_drafts(self.storage, 3))
        self.round = Round(
            number=RoundNumber(1),
            state=RoundState.ANNOTATING,
            drafts=drafts,
            tasks=tuple(self.people.push(drafts)),
        )

    def _people(self) -> AnnotatorsByClasses:
        section = LabelStudioSection(local_files_root=self.folder)
        exchange = Exchange(
            storage=self.storage, studio=self.studio, label_map=SMALL_MAP, section=section,
            journal=self.journal, now=lambda: NOW,
        )  # fmt: skip
        history = read_history(self.storage, SMALL_MAP)
        return AnnotatorsByClasses(history, lambda label_map: exchange)

    def lose(self) -> None:
        """Label Studio begins with an empty database, in which somebody else was faster."""
        self.studio = FakeStudio()
        other = self.studio.create_project("somebody else's", "<View/>", "")
        self.studio.import_tasks(other, [{"data": {}, "meta": {}, "predictions": []}])
        self.people = self._people()

    def offer_again(self) -> bool:
        """A step of the service; True when there is something to save."""
        lost = LostWork(self.storage, self.people, lambda: self.studio, self.journal)
        after = lost.offer_again(self.round)
        moved, self.round = after is not self.round, after
        return moved

    def annotate(self, task: AnnotationTask, seed: int, by: str = "") -> None:
        regions = regions_of(a_mask(seed))
        if by:
            mark = PageMark(by=by, submission="5f0e2d3a-0000-4000-8000-000000000001")
            regions = marked(regions, mark)
        self.studio.create_annotation(
            task.task_id, regions, seconds=12.5, parent_prediction=task.task_id * 10
        )

    def there(self) -> list[StudioTask]:
        tasks = self.round.tasks
        return self.studio.full_tasks(tasks[0].project_id, [task.task_id for task in tasks])


def exported(task: StudioTask) -> Mapping[str, object]:
    """As a backup has it: Label Studio's JSON with people by their addresses."""
    body = {
        "id": task.task_id,
        "data": dict(task.data),
        "annotations": [
            {
                "id": one.annotation_id,
                "completed_by": {"email": one.annotator},
                "was_cancelled": one.is_skip,
                "lead_time": one.seconds,
                "parent_prediction": one.parent_prediction,
                "result": [dict(region) for region in one.regions],
            }
            for one in task.annotations
        ],
    }
    return dict(json.loads(json.dumps(body)))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def noted(room: Room) -> int:
    done = [exported(task) for task in room.there() if task.annotations]
    return note_lost_work(room.storage, room.round, "a backup", done)


def masks(room: Room) -> dict[str, tuple[str, str, float | None]]:
    pulled = room.people.pull(room.round.tasks)
    return {a.sample_id: (a.mask_sha256, a.annotator, a.seconds) for a in pulled.annotations}


def test_ops_07_tasks_that_are_gone_are_offered_again_with_peoples_work(room: Room) -> None:
    """Same masks, same people; one task is open still and one was skipped."""
    room.annotate(room.round.tasks[0], 7)
    room.studio.skip_task(room.round.tasks[1].task_id)
    before, old = masks(room), room.round.tasks
    assert len(before) == 1 and noted(room) == 2
    room.lose()
    assert room.offer_again() and not room.offer_again()  # saved between the two
    assert [task.sample_id for task in room.round.tasks] == [task.sample_id for task in old]
    assert {t.task_id for t in room.round.tasks} == {2, 3, 4}
    assert [replace(t, task_id=0, project_id=0) for t in room.round.tasks] == [
        replace(t, task_id=0, project_id=0) for t in old
    ]
    assert masks(room) == before
    assert [skip.sample_id for skip in room.people.pull(room.round.tasks).skips] == [
        old[1].sample_id
    ]
    assert not list(room.storage.keys(ROOM))
    assert not room.offer_again()  # and never again
    told = [e for e in read_events(room.folder / "journal") if e["event"] == "round.offered_again"]
    assert [event["annotations_put_back"] for event in told] == [2]


def test_ops_07_without_a_note_a_task_that_is_gone_was_deleted(room: Room) -> None:
    room.lose()
    assert not room.offer_again()
    assert len(room.people.pull(room.round.tasks).skips) == 3


def test_ops_07_a_label_studio_that_survived_stays_as_it_is(room: Room) -> None:
    """Nobody's work is doubled: neither drawn in Label Studio nor sent through a page."""
    room.annotate(room.round.tasks[0], 7)
    room.annotate(room.round.tasks[1], 8, by="Kim")
    before, there = masks(room), room.there()
    assert noted(room) == 2
    assert not room.offer_again()
    assert masks(room) == before
    assert [task.annotations for task in room.there()] == [task.annotations for task in there]


def test_ops_07_who_was_faster_than_the_backup_is_left_alone(room: Room) -> None:
    room.annotate(room.round.tasks[0], 7)
    assert noted(room) == 1
    room.lose()
    assert room.offer_again()
    room.annotate(room.round.tasks[0], 9)
    mine = masks(room)
    assert not room.offer_again()
    assert masks(room) == mine


@pytest.mark.parametrize("cut", range(1, 40, 2))
def test_ops_07_cut_off_at_any_request_there_are_no_twins(
    room: Room, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.annotate(room.round.tasks[0], 7)
    room.annotate(room.round.tasks[0], 8, by="Kim")
    room.annotate(room.round.tasks[2], 9)
    before = [len(task.annotations) for task in room.there()]
    assert noted(room) == 2
    room.lose()
    left = threading.Semaphore(cut)

    def answer() -> None:
        if not left.acquire(blocking=False):
            raise LabelStudioUnavailableError("cut off")

    monkeypatch.setattr(room.studio, "_answer", answer)
    try:
        while room.offer_again():
            pass
    except LabelStudioUnavailableError:
        monkeypatch.setattr(room.studio, "_answer", lambda: None)
        while room.offer_again():
            pass
    left.release(1000)
    assert [len(task.annotations) for task in room.there()] == before == [2, 0, 1]
    project = room.round.tasks[0].project_id
    assert len(room.studio.round_tasks(project, 1)) == 3
    assert not list(room.storage.keys(ROOM))


def test_ops_07_the_service_saves_the_new_tasks_before_it_looks_at_them(room: Room) -> None:
    """A look at the old ones would take them for deleted, and the round would fail."""
    room.annotate(room.round.tasks[0], 7)
    assert noted(room) == 1
    room.lose()
    rounds = Rounds(room.storage)
    rounds.save(room.round)
    lost = LostWork(room.storage, room.people, lambda: room.studio, room.journal)
    ports: Any = SimpleNamespace(
        annotators=room.people, selection=SimpleNamespace(order=lambda *_, **__: ())
    )
    service = Service(
        ports=ports, rounds=rounds, lease=Lease(room.storage, 60.0, lambda: NOW),
        rules=RoundsSection(proceed_share=1.0), people_pause_s=1.0, journal=room.journal,
        now=lambda: NOW, offer_again=lost.offer_again,
    )  # fmt: skip
    assert service.step()
    (saved,) = rounds.all()
    assert saved.tasks != room.round.tasks
    assert not service.step()  # the work is back, two tasks are open
    assert rounds.all() == [saved]
    for task, seed in zip(saved.tasks[1:], (8, 9), strict=True):
        room.annotate(task, seed)
    assert service.step()
    assert [one.state for one in rounds.all()] == [RoundState.TRAINING]
    assert len(rounds.all()[0].annotations) == 3


def test_ops_07_nothing_is_noted_where_people_are_not_at_work(room: Room) -> None:
    training = replace(room.round, state=RoundState.TRAINING)
    assert note_lost_work(room.storage, training, "a backup", []) == 0
    assert not list(room.storage.keys(ROOM))
