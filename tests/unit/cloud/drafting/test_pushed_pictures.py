"""ANN-02: a data set of drafts is pushed in bulk; pushed again it adds nothing."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.exports.images import ImageShelf
from annotation.exports.picture_sources import Reading, guess_kind, open_source
from annotation.formats.ssa import ssa_from_mask
from annotation.pushing import Pushing
from annotation.regions import mask_from_regions
from cloud.drafting.pushed_pictures import OUTSIDE, PushReport, push_pictures
from lifelong.errors import LifelongError, RecordError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import SMALL_MAP, a_jpeg, a_mask
from tests.fakes_label_studio import FakeStudio


class Room:
    """A folder of drafts in Semantic Segment Anything's layout, and a studio."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "dataset"
        self.studio = FakeStudio()
        self.storage: Storage = open_storage(str(tmp_path / "storage"))
        self.tmp_path = tmp_path

    def add(self, name: str, seed: int, *, score: float | None = None) -> NDArray[np.uint8]:
        image = self.folder / "raw_data" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(a_jpeg(seed))
        draft = (self.folder / "ssa_output" / name).with_suffix("")
        draft.parent.mkdir(parents=True, exist_ok=True)
        about = None if score is None else {"score": score}
        draft.with_name(f"{draft.name}_semantic.json").write_bytes(
            ssa_from_mask(a_mask(seed), about=about)
        )
        return a_mask(seed)

    def push(self, *, skip: bool = False, kind: str = "ssa") -> PushReport:
        return push_pictures(
            open_source(self.folder, kind, Reading(label_map=SMALL_MAP)),
            ImageShelf(mode="copy", roots=(self.folder / "raw_data",)),
            self.storage,
            Pushing(
                storage=self.storage,
                studio=self.studio,
                label_map=SMALL_MAP,
                section=LabelStudioSection(local_files_root=self.tmp_path),
                journal=Journal(self.tmp_path / "journal", "cloud"),
                webhook_secret="",
            ),
            skip=skip,
        )


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_ann_02_every_draft_of_a_folder_becomes_a_task_with_its_picture(room: Room) -> None:
    masks = {name: room.add(name, seed) for seed, name in enumerate(["a.jpg", "front/b c.jpg"])}
    report = room.push()
    assert (len(report.tasks), report.refused) == (2, ())
    for task in room.studio.round_tasks(report.tasks[0].project_id, OUTSIDE):
        (full,) = room.studio.full_tasks(report.tasks[0].project_id, [task.task_id])
        name = str(full.meta["name"])
        painted = mask_from_regions(
            full.predictions[0].regions, SMALL_MAP, size=(48, 64), where=name
        )
        assert np.array_equal(painted, masks.pop(name))
        assert str(full.data["image"]).startswith("/data/local-files/?d=storage/pictures/")
    assert not masks


def test_ann_02_pushing_again_adds_only_what_is_new(room: Room) -> None:
    room.add("a.jpg", 1)
    first = room.push()
    room.add("b.jpg", 2)
    again = room.push()
    assert len(again.tasks) == 2
    assert first.tasks[0] in again.tasks
    assert len(room.studio.round_tasks(first.tasks[0].project_id, OUTSIDE)) == 2


def test_ann_04_the_least_sure_draft_comes_first(room: Room) -> None:
    for seed, score in enumerate([0.9, 0.2, 0.5]):
        room.add(f"{seed}.jpg", seed, score=score)
    project = room.push().tasks[0].project_id
    tasks = room.studio.round_tasks(project, OUTSIDE)
    by_place = sorted(tasks, key=lambda task: str(task.data["cornerloop_rank"]))
    assert [task.meta["name"] for task in by_place] == ["1.jpg", "2.jpg", "0.jpg"]


def test_cnv_04_a_picture_that_cannot_be_read_stops_or_is_told(room: Room) -> None:
    room.add("a.jpg", 1)
    room.add("b.jpg", 2)
    (room.folder / "raw_data" / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(RecordError, match=r"b\.jpg"):
        room.push()
    report = room.push(skip=True)
    assert len(report.tasks) == 1
    assert "b.jpg" in report.refused[0]


def test_cnv_06_two_names_for_one_image_are_told(room: Room) -> None:
    room.add("a.jpg", 1)
    room.add("b.jpg", 1)
    with pytest.raises(RecordError, match=r"the same image as a\.jpg"):
        room.push()


def test_cnv_06_another_image_under_a_name_that_is_taken_is_refused(room: Room) -> None:
    room.add("a.jpg", 1)
    room.push()
    room.add("a.jpg", 2)
    with pytest.raises(RecordError, match=r"pictures/a\.jpg; rename"):
        room.push()


def test_pictures_without_a_draft_are_counted(room: Room) -> None:
    room.add("a.jpg", 1)
    (room.folder / "raw_data" / "b.jpg").write_bytes(a_jpeg(2))
    assert room.push().without_labels == 1


def test_ux_01_pictures_that_nobody_drafts_are_offered_as_they_are(room: Room) -> None:
    """A new user's classes may be none that a shipped model knows; people then draw them."""
    for seed, name in enumerate(["a.jpg", "相机 1/ü.png"]):
        (room.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (room.folder / name).write_bytes(a_jpeg(seed))
    (room.folder / "notes.txt").write_text("no picture")
    assert guess_kind(room.folder, or_bare=True) == "pictures"
    report = room.push(kind="pictures")
    tasks = room.studio.round_tasks(report.tasks[0].project_id, OUTSIDE)
    assert {task.meta["name"] for task in tasks} == {"a.jpg", "相机 1/ü.png"}
    for task in tasks:
        (full,) = room.studio.full_tasks(report.tasks[0].project_id, [task.task_id])
        assert [draft.regions for draft in full.predictions] in ([], [()], [[]])
    (room.folder / "c.jpg").write_bytes(b"no picture")
    with pytest.raises(LifelongError, match=r"c\.jpg.*leave it away"):
        room.push(kind="pictures")
