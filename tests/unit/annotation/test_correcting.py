"""UX-09: a corrected mask as regions of Label Studio, handed in to a fake one and pulled back."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.class_runs import mask_from_runs, runs_from_mask
from annotation.correcting.corrected_regions import corrected_regions
from annotation.correcting.in_studio import StudioCorrections
from annotation.correcting.work import HandedIn, Outcome
from annotation.draft_regions import BRUSH_DRAFTS, POLYGON_DRAFTS, DraftShapes, regions_from_mask
from annotation.exchange import Exchange
from annotation.labeling_config import OUR_TOOLS
from annotation.page_marks import PageMark, mark_of, marked
from annotation.regions import Region, mask_from_regions
from annotation.task_fields import NOTE
from lifelong.errors import LabelMapError, LabelStudioUnavailableError
from lifelong.links.journal import Journal, read_events, utc_now
from lifelong.links.storage import open_storage
from lifelong.records.label_map import label_map_of
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask
from lifelong.sections.annotation import LabelStudioSection
from lifelong.sections.review import ReviewSection
from tests.builders import HEIGHT, SMALL_MAP, WIDTH, a_mask, stored_drafts
from tests.fakes_label_studio import FakeStudio

MAP = SMALL_MAP.with_things(("car", "person"))
AUTO = DraftShapes(mode="auto")


def blobs(seed: int) -> NDArray[np.uint8]:
    """(48, 64) uint8: a road with things on it, some over each other, and a hole."""
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(9):
        y, x = int(random.integers(HEIGHT)), int(random.integers(WIDTH))
        radius = int(random.integers(2, 12))
        value = int(random.choice([0, 1, 2, 255]))
        mask[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = value
    return mask


def painted(regions: list[Region], draft: list[Region]) -> NDArray[np.uint8]:
    size = (HEIGHT, WIDTH)
    if not regions:
        return np.full(size, 255, dtype=np.uint8)
    return mask_from_regions(regions, MAP, size=size, where="test", draft=draft)


def corrected(mask: NDArray[np.uint8], draft: list[Region], shapes: DraftShapes) -> list[Region]:
    return corrected_regions(mask, draft, MAP, shapes=shapes, tools=OUR_TOOLS, where="test")


@pytest.mark.parametrize("shapes", [AUTO, BRUSH_DRAFTS, POLYGON_DRAFTS], ids=lambda s: s.mode)
def test_ux_09_any_correction_is_painted_exactly(shapes: DraftShapes) -> None:
    for seed in range(40):
        draft = regions_from_mask(blobs(seed), MAP, shapes=shapes)
        mask = blobs(seed + 1000)
        if seed % 3 == 0:  # a small edit
            mask = blobs(seed)
            mask[5:12, 8:30] = seed % 2
        made = corrected(mask, draft, shapes)
        assert np.array_equal(painted(made, draft), mask), seed
        names = [region.get("id") for region in made]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("shapes", [AUTO, BRUSH_DRAFTS, POLYGON_DRAFTS], ids=lambda s: s.mode)
def test_ux_09_what_nobody_touched_is_handed_in_as_it_was(shapes: DraftShapes) -> None:
    draft = regions_from_mask(blobs(3), MAP, shapes=shapes)
    assert corrected(blobs(3), draft, shapes) == draft


def test_ux_09_a_renamed_region_stays_the_same_region() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[10:20, 10:30] = 1
    draft = regions_from_mask(mask, MAP, shapes=BRUSH_DRAFTS)
    mask[10:20, 10:30] = 2
    made = corrected(mask, draft, BRUSH_DRAFTS)
    assert [region["id"] for region in made] == ["draft-0", "draft-1"]
    assert made[1]["value"]["brushlabels"] == ["person"]


def test_ux_09_a_discarded_region_is_left_out_and_gains_go_to_the_class() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[10:20, 10:30] = 1
    mask[30:34, 4:9] = 2
    draft = regions_from_mask(mask, MAP, shapes=BRUSH_DRAFTS)
    mask[30:34, 4:9] = 255
    mask[10:20, 30:33] = 1
    made = corrected(mask, draft, BRUSH_DRAFTS)
    assert sorted(str(region["id"]) for region in made) == ["draft-0", "draft-1"]
    assert np.array_equal(painted(made, draft), mask)


def test_ux_09_a_draft_that_overlaps_itself_is_drawn_anew() -> None:
    """Somebody else's predictions may: the corrected mask counts, not their order."""
    whole = np.ones((HEIGHT, WIDTH), dtype=np.uint8)
    half = whole.copy()
    half[:20] = 255
    half[20:] = 2
    draft = regions_from_mask(whole, MAP, shapes=BRUSH_DRAFTS)
    draft += regions_from_mask(half, MAP, shapes=BRUSH_DRAFTS)
    mask = whole.copy()
    mask[20:30] = 2
    made = corrected(mask, draft, BRUSH_DRAFTS)
    assert np.array_equal(painted(made, draft), mask)


def test_ux_09_a_foreign_class_is_refused() -> None:
    with pytest.raises(LabelMapError, match="7"):
        corrected(np.full((HEIGHT, WIDTH), 7, dtype=np.uint8), [], AUTO)


def test_ux_09_marks_are_read_back_and_leave_other_meta() -> None:
    region: Region = {"id": "r", "meta": {"other": 1}}
    mark = PageMark(by="tess", submission="s")
    (made,) = marked([region], mark)
    assert mark_of([{}, made]) == mark
    assert made["meta"]["other"] == 1
    assert region["meta"] == {"other": 1}


@pytest.mark.parametrize(
    "meta", [None, 7, {}, {"cornerloop": 1}, {"cornerloop": {"by": "", "submission": "s"}}]
)
def test_ux_09_what_is_no_mark_is_nobody(meta: object) -> None:
    assert mark_of([{"meta": meta}]) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (48, 64), (1, 3000), (300, 1)])
@pytest.mark.parametrize("classes", [1, 2, 256])
def test_ux_09_runs_come_back_as_the_mask(size: tuple[int, int], classes: int) -> None:
    mask = np.random.default_rng(classes).integers(0, classes, size).astype(np.uint8)
    assert np.array_equal(mask_from_runs(runs_from_mask(mask), *size, "test"), mask)


class Studio:
    """A room over a fake Label Studio: drafts out, corrections by the page, pulled back."""

    def __init__(self, tmp_path: Path, *, annotators: int = 1, blank: float = 0.0) -> None:
        self.storage = open_storage(str(tmp_path / "root" / "storage"))
        self.fake = FakeStudio()
        self.journal_folder = tmp_path / "journal"
        self.section = LabelStudioSection(project="Correcting", local_files_root=tmp_path / "root")
        self.exchange = Exchange(
            storage=self.storage,
            studio=self.fake,
            label_map=MAP,
            section=self.section,
            journal=Journal(self.journal_folder, "cloud"),
            now=utc_now,
            review=ReviewSection(annotators=annotators, blank_share=blank),
        )
        self.tasks = self.exchange.push(stored_drafts(self.storage, 3))
        self.work = StudioCorrections(
            storage=self.storage,
            studio=self.fake,
            label_map=MAP,
            section=self.section,
            annotators=annotators,
        )

    def pulled(self) -> dict[str, NDArray[np.uint8]]:
        annotations = self.exchange.pull(self.tasks).annotations
        return {
            one.sample_id: mask_from_png(self.storage.get(one.mask_key), "mask")
            for one in annotations
        }

    def annotations(self, task: AnnotationTask) -> int:
        found = self.fake.task(task.task_id)
        assert found is not None
        return len(found.annotations)


def made(by: str = "tess", seconds: float = 9.25, submission: str = "") -> HandedIn:
    return HandedIn(by=by, submission=submission or str(uuid4()), seconds=seconds)


def test_ux_09_an_untouched_accept_costs_no_region(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    task = room.tasks[0]
    opened = room.work.open(task, "tess")
    assert opened is not None
    assert np.array_equal(opened.mask, a_mask(0))
    assert opened.link.endswith(f"/projects/{task.project_id}/data?task={task.task_id}")
    assert room.work.accept(task, opened.mask, made()) is Outcome.TAKEN
    (annotation,) = room.exchange.pull(room.tasks).annotations
    assert (annotation.annotator, annotation.seconds) == ("tess", 9.25)
    assert (annotation.changed_pixels, annotation.agreement) == (0, 1.0)
    (cost,) = annotation.costs
    assert (cost.annotator, cost.seconds, cost.with_draft) == ("tess", 9.25, True)
    for one in cost.classes.values():
        assert (one.regions_touched, one.regions_added, one.regions_deleted) == (0, 0, 0)
    told = [e for e in read_events(room.journal_folder) if e["event"] == "annotation.pulled"]
    assert told[0]["annotator"] == "tess"


def test_ux_09_a_correction_comes_back_through_pull(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    mask = blobs(5)
    assert room.work.accept(room.tasks[1], mask, made()) is Outcome.TAKEN
    assert np.array_equal(room.pulled()[room.tasks[1].sample_id], mask)
    assert [task.task_id for task in room.work.waiting(room.tasks)] == [
        room.tasks[0].task_id,
        room.tasks[2].task_id,
    ]


def test_ux_09_waiting_follows_next_best(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    order = [task.sample_id for task in reversed(room.tasks)]
    room.exchange.sort(room.tasks, order)
    assert [task.sample_id for task in room.work.waiting(room.tasks)] == order


def test_ux_09_sent_twice_is_one_annotation_in_label_studio(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    task, once = room.tasks[0], str(uuid4())
    for _ in range(3):
        assert room.work.accept(task, blobs(1), made(submission=once)) is Outcome.TAKEN
    assert room.annotations(task) == 1


def test_ux_09_label_studio_away_loses_nothing(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    task, once = room.tasks[0], str(uuid4())
    room.fake.is_up = False
    with pytest.raises(LabelStudioUnavailableError):
        room.work.accept(task, blobs(1), made(submission=once))
    room.fake.is_up = True
    assert room.work.accept(task, blobs(1), made(submission=once)) is Outcome.TAKEN
    assert room.annotations(task) == 1


def test_ux_09_what_label_studio_finished_meanwhile_stays(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    task = room.tasks[0]
    opened = room.work.open(task, "tess")
    assert opened is not None
    room.fake.skip_task(task.task_id)
    assert room.work.accept(task, opened.mask, made()) is Outcome.FINISHED
    assert room.work.open(task, "tess") is None
    assert room.annotations(task) == 1
    room.fake.delete_task(room.tasks[1].task_id)
    assert room.work.accept(room.tasks[1], opened.mask, made()) is Outcome.GONE


def test_ux_09_two_people_are_two_annotators_though_one_token_speaks(tmp_path: Path) -> None:
    room = Studio(tmp_path, annotators=2)
    task = room.tasks[0]
    assert room.work.accept(task, blobs(1), made("tess")) is Outcome.TAKEN
    assert room.work.open(task, "tess") is None  # she has done it
    assert room.work.accept(task, blobs(2), made("tess")) is Outcome.FINISHED
    assert not room.pulled()
    assert room.work.open(task, "ada") is not None
    assert room.work.accept(task, blobs(1), made("ada")) is Outcome.TAKEN
    (annotation,) = room.exchange.pull(room.tasks).annotations
    assert set(annotation.annotators) <= {"tess", "ada"}
    assert {cost.annotator for cost in annotation.costs} == {"tess", "ada"}


def test_ux_09_a_draft_kept_from_people_stays_kept(tmp_path: Path) -> None:
    room = Studio(tmp_path, blank=1.0)
    opened = room.work.open(room.tasks[0], "tess")
    assert opened is not None
    assert (opened.mask == 255).all()
    assert room.work.accept(room.tasks[0], blobs(4), made()) is Outcome.TAKEN
    (annotation,) = room.exchange.pull(room.tasks).annotations
    assert [cost.with_draft for cost in annotation.costs] == [False]


def test_ux_09_a_skip_tells_its_reason_in_label_studio(tmp_path: Path) -> None:
    room = Studio(tmp_path)
    task = room.tasks[0]
    for _ in range(2):
        assert room.work.skip(task, "too dark", made(submission="s")) is Outcome.TAKEN
    found = room.fake.task(task.task_id)
    assert found is not None
    assert found.data[NOTE] == "skipped by tess: too dark"
    assert found.skipped == 1
    (skip,) = room.exchange.pull(room.tasks).skips
    assert skip.sample_id == task.sample_id


def test_ux_09_many_classes_and_large_sizes_stay_exact() -> None:
    many = label_map_of([(f"class {i}", (i, 0, 255 - i)) for i in range(40)])
    mask = np.random.default_rng(0).integers(0, 40, (60, 90)).astype(np.uint8)
    draft = regions_from_mask(mask, many, shapes=BRUSH_DRAFTS)
    mask[20:40] = 39
    made_ = corrected_regions(mask, draft, many, shapes=BRUSH_DRAFTS, tools=OUR_TOOLS, where="test")
    read = mask_from_regions(made_, many, size=(60, 90), where="test", draft=draft)
    assert np.array_equal(read, mask)
