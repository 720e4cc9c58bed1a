"""Annotations come back into tasks that were made anew, when Label Studio lost its database.

What comes back counts as submitted by whoever made it: its regions carry the mark of
`annotation/page_marks.py`, which also tells, when this is repeated, what is back already. Label
Studio itself knows only the token's user and the present time.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Protocol
from uuid import NAMESPACE_URL, uuid5

from annotation.page_marks import PageMark, mark_of, marked
from annotation.regions import Region
from annotation.studio_tasks import StudioAnnotation, StudioTask
from annotation.tasks import carries
from lifelong.records.ids import SampleId
from lifelong.records.samples import AnnotationTask


class WorkStudio(Protocol):
    """What is asked of Label Studio to bring annotations back."""

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...

    def create_annotation(
        self,
        task_id: int,
        regions: Sequence[Region],
        *,
        seconds: float,
        parent_prediction: int | None,
        unique_id: str | None = None,
    ) -> int: ...

    def skip_task(self, task_id: int) -> None: ...


def put_back(
    studio: WorkStudio, tasks: Sequence[AnnotationTask], kept: Mapping[SampleId, StudioTask]
) -> int:
    """Submit what people had done; repeated, nothing is submitted twice.

    A task in which there is anybody's work that did not come from here is left alone: Label Studio
    has kept it, or somebody was faster.

    Args:
        tasks: as they are in Label Studio now.
        kept: tasks with their annotations as they once were.

    Returns:
        How many annotations and skips were submitted.
    """
    wanted = [task for task in tasks if task.sample_id in kept and not task.asks_nobody]
    count = 0
    by_project = sorted(wanted, key=lambda task: task.project_id)
    for project_id, group in groupby(by_project, key=lambda task: task.project_id):
        ours = {task.task_id: task for task in group}
        for there in studio.full_tasks(project_id, ours):
            task = ours[there.task_id]
            if carries(there.data, task.sample_id, task.round_number):
                count += _put(studio, task, there, kept[task.sample_id].annotations)
    return count


def _put(
    studio: WorkStudio,
    task: AnnotationTask,
    there: StudioTask,
    annotations: Sequence[StudioAnnotation],
) -> int:
    """Bring one task's annotations back, those without regions only where nothing else is."""
    names = {_submission(task, one): one for one in annotations}
    back = [mark_of(one.regions) for one in there.annotations]
    if any(mark is None or mark.submission not in names for mark in back):
        return 0
    is_back = {mark.submission for mark in back if mark is not None}
    count = 0
    draft = max((one.prediction_id for one in there.predictions), default=None)
    in_order = sorted(names.items(), key=lambda item: item[1].annotation_id)
    for name, one in in_order:
        if one.is_skip or not one.regions or name in is_back:
            continue
        studio.create_annotation(
            there.task_id,
            marked(one.regions, PageMark(by=one.annotator, submission=name)),
            seconds=one.seconds or 0.0,
            parent_prediction=draft if one.parent_prediction is not None else None,
            unique_id=name,
        )
        count += 1
    if is_back or count or not in_order:
        return count
    name, last = in_order[-1]  # nobody drew anything: one word about it is enough
    if last.is_skip:
        studio.skip_task(there.task_id)
    else:
        studio.create_annotation(
            there.task_id, [], seconds=last.seconds or 0.0, parent_prediction=None, unique_id=name
        )
    return 1


def _submission(task: AnnotationTask, one: StudioAnnotation) -> str:
    """The UUID of one submission, the same one each time."""
    mark = mark_of(one.regions)
    if mark is not None:
        return mark.submission
    place = f"{task.round_number}/{task.sample_id}/{one.annotation_id}"
    return str(uuid5(NAMESPACE_URL, f"cornerloop:annotation/{place}"))
