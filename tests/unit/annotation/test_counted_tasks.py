"""ANN-06, ANN-08, ANN-10: an export holds what counts: no rejected, waiting or audit work."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes, brush_region, regions_from_mask
from annotation.exports.counted_tasks import CountedTasks
from annotation.exports.task_source import TaskSource, snapshot
from annotation.labeling_config import labeling_config
from annotation.review.standing import Decision, Decisions, Verdict, as_seen
from annotation.studio_tasks import StudioAnnotation, StudioPrediction, StudioTask
from annotation.task_fields import ROUND, SAMPLE
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.sections.review import ReviewSection
from tests.builders import SMALL_MAP, a_mask

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG = labeling_config(SMALL_MAP)


class Studio:
    """One page of tasks."""

    def __init__(self, tasks: list[StudioTask], config: str = CONFIG) -> None:
        self.tasks = tasks
        self.config = config

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        return [task for task in self.tasks if task.task_id > task_id]

    def label_config(self, project_id: int) -> str:
        return self.config


def a_task(number: int, *masks: np.ndarray) -> StudioTask:
    annotations = tuple(
        StudioAnnotation(
            annotation_id=10 * number + place,
            annotator=f"p{place}@example.com",
            at=NOON,
            is_skip=False,
            seconds=1.0,
            regions=tuple(regions_from_mask(mask, SMALL_MAP, shapes=DraftShapes())),
        )
        for place, mask in enumerate(masks)
    )
    return StudioTask(
        task_id=number,
        data={"image": f"s3://b/{number}.jpg", SAMPLE: f"{number:016x}", ROUND: 1},
        meta={},
        updated_at=NOON,
        submitted=len(masks),
        skipped=0,
        annotations=annotations,
    )


def decided(storage: Storage, task: StudioTask, verdict: Verdict) -> None:
    one = task.annotations[0]
    Decisions(storage).add(
        Decision(
            sample_id=SampleId(str(task.data[SAMPLE])),
            round_number=RoundNumber(1),
            about=as_seen(one),
            annotator=one.annotator,
            seconds=one.seconds,
            verdict=verdict,
            reason="",
            reviewer="lead",
            at=NOON,
            seen=tuple(as_seen(each) for each in task.annotations),
        )
    )


@pytest.fixture
def storage() -> Storage:
    return open_storage("memory://")


def counted(storage: Storage, tasks: list[StudioTask], **rules: object) -> dict[int, int]:
    section = ReviewSection.model_validate(rules)
    found = CountedTasks(Studio(tasks), storage, SMALL_MAP, section).submitted_after(7, 0)
    return {task.task_id: len(task.annotations) for task in found}


def test_ann_06_what_a_reviewer_rejected_is_not_exported(storage: Storage) -> None:
    tasks = [a_task(1, a_mask(1)), a_task(2, a_mask(2))]
    decided(storage, tasks[1], Verdict.REJECTED)
    assert counted(storage, tasks) == {1: 1, 2: 0}


def test_ann_06_with_required_review_only_what_was_accepted_is_exported(storage: Storage) -> None:
    tasks = [a_task(1, a_mask(1)), a_task(2, a_mask(2))]
    decided(storage, tasks[0], Verdict.ACCEPTED)
    assert counted(storage, tasks, required=True) == {1: 1, 2: 0}


def test_ann_07_annotators_too_far_apart_wait_and_are_not_exported(storage: Storage) -> None:
    tasks = [a_task(1, a_mask(1), a_mask(2)), a_task(2, a_mask(3), a_mask(3))]
    assert counted(storage, tasks, annotators=2, agree_below=0.9) == {1: 0, 2: 2}


def test_ann_08_audit_tasks_are_not_exported(storage: Storage) -> None:
    tasks = [a_task(1, a_mask(1)), a_task(2, a_mask(2))]
    storage.put(f"audits/1/{tasks[0].data[SAMPLE]}.json", b"{}")
    assert counted(storage, tasks) == {1: 0, 2: 1}


def test_ann_10_tasks_of_others_are_exported_as_they_are(storage: Storage) -> None:
    foreign = replace(a_task(1, a_mask(1)), data={"image": "s3://b/1.jpg"})
    assert counted(storage, [foreign], required=True) == {1: 1}


def test_cnv_03_aliases_and_edits_come_through_the_look_at_a_project(
    storage: Storage, tmp_path: Path
) -> None:
    """The look keeps the draft, so that what an edit gained is read as it was meant."""
    config = CONFIG.replace('value="car"', 'value="car" alias="the_car"')

    def square(side: int, name: str, at: int, region_id: str):  # type: ignore[no-untyped-def]
        painted = np.zeros((20, 20), dtype=np.bool_)
        painted[:side, at : at + side] = True
        region = brush_region(painted, name)
        region["id"] = region_id
        return region

    small = square(4, "person", 12, "b")
    draft = StudioPrediction(
        prediction_id=5,
        model_version="round-1",
        score=0.5,
        regions=(square(10, "the_car", 0, "a"), small),
    )
    edited = StudioAnnotation(
        annotation_id=9,
        annotator="p@example.com",
        at=NOON,
        is_skip=False,
        seconds=None,
        regions=(square(14, "the_car", 0, "a"), small),
        parent_prediction=5,
    )
    task = replace(a_task(1, a_mask(1)), annotations=(edited,), predictions=(draft,))
    looked = CountedTasks(Studio([task], config), storage, SMALL_MAP, ReviewSection())
    path = tmp_path / "look.json"
    assert snapshot(looked, 7, path) == 1
    source = TaskSource(path=path, label_map=SMALL_MAP)
    (item,) = source.items()
    mask = source.read(item).mask()  # type: ignore[arg-type]
    assert (mask[:4, 12:14] == SMALL_MAP.id_of("car")).all()  # gained by the edit
    assert (mask[:4, 14:16] == SMALL_MAP.id_of("person")).all()
