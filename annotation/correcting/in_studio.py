"""Corrections made on a page of ours, handed in as annotations of Label Studio's tasks.

Whoever opens such a task there sees regions as anywhere else, goes on from them, and finds the
name of who corrected it beside each (`annotation/page_marks.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.correcting.corrected_regions import corrected_regions
from annotation.correcting.work import HandedIn, Opened, Outcome
from annotation.draft_regions import DraftShapes
from annotation.labeling_config import Tools, tools_for
from annotation.page_marks import PageMark, mark_of, marked
from annotation.regions import mask_from_regions
from annotation.studio_tasks import StudioPrediction, StudioTask
from annotation.task_fields import NOTE, PROMPT, RANK, SAMPLE
from annotation.tasks import carries, model_version_of
from annotation.work_put_back import WorkStudio
from lifelong.errors import LabelStudioError, LabelStudioRefusedError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask
from lifelong.sections.annotation import LabelStudioSection


class CorrectingStudio(WorkStudio, Protocol):
    """What is asked of Label Studio."""

    def label_config(self, project_id: int) -> str: ...

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def set_task_data(self, task_id: int, data: Mapping[str, object]) -> bool: ...


class StudioCorrections:
    """Tasks of one label map in Label Studio; every call may be repeated."""

    def __init__(
        self,
        *,
        storage: Storage,
        studio: CorrectingStudio,
        label_map: LabelMap,
        section: LabelStudioSection,
        annotators: int,
        other_names: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            annotators: how many people must submit a task.
            other_names: see `annotation.labeling_config.tools_for`.
        """
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._section = section
        self._annotators = annotators
        self._other_names = other_names
        self._tools: dict[int, Tools] = {}
        self._shapes = DraftShapes(
            mode=section.draft,
            tolerance=section.polygon_tolerance_px,
            by_class=section.draft_by_class,
        )

    def waiting(self, tasks: Sequence[AnnotationTask]) -> list[AnnotationTask]:
        """Those that want somebody, best first as Label Studio's "Next best" shows them.

        Raises:
            LabelStudioError: it cannot be reached, or refuses.
        """
        by_sample = {(task.round_number, str(task.sample_id)): task for task in tasks}
        found: list[tuple[str, int, AnnotationTask]] = []
        for project_id, number in sorted({(t.project_id, t.round_number) for t in tasks}):
            for listed in self._studio.round_tasks(project_id, number):
                task = by_sample.get((RoundNumber(number), str(listed.data.get(SAMPLE))))
                if task is not None and listed.submitted + listed.skipped < self._annotators:
                    found.append((str(listed.data.get(RANK, "")), listed.task_id, task))
        return [task for _, _, task in sorted(found, key=lambda one: one[:2])]

    def open(self, task: AnnotationTask, by: str) -> Opened | None:
        """What to begin with; None: it is finished, by others or by `by`, or gone.

        Raises:
            LabelStudioError, RecordError, StorageError: as they come.
        """
        full = self._full(task)
        if full is None or self._is_finished(full, by):
            return None
        return Opened(
            mask=self._shown_mask(task, self._shown(task, full)),
            note=str(full.data.get(NOTE) or ""),
            words=str(full.data.get(PROMPT) or ""),
            link=f"{self._section.url.rstrip('/')}/projects/{task.project_id}/data?task="
            f"{full.task_id}",
        )

    def accept(self, task: AnnotationTask, mask: NDArray[np.uint8], made: HandedIn) -> Outcome:
        """Submit a mask, (H, W) uint8, as an annotation of its task.

        Raises:
            LabelStudioError, RecordError: as they come; the same submission may be sent again.
        """
        full = self._full(task)
        if full is None:
            return Outcome.GONE
        if _is_there(full, made.submission):
            return Outcome.TAKEN
        if self._is_finished(full, made.by):
            return Outcome.FINISHED
        shown = self._shown(task, full)
        regions = corrected_regions(
            mask,
            shown.regions if shown else (),
            self._label_map,
            shapes=self._shapes,
            tools=self._tools_of(task.project_id),
            where=f"task {full.task_id}",
        )
        try:
            self._studio.create_annotation(
                full.task_id,
                marked(regions, PageMark(by=made.by, submission=made.submission)),
                seconds=round(made.seconds, 3),
                parent_prediction=shown.prediction_id if shown else None,
                unique_id=made.submission,
            )
        except LabelStudioRefusedError:
            # It came twice at the same time, and the other one was first?
            again = self._full(task)
            if again is None or not _is_there(again, made.submission):
                raise
        return Outcome.TAKEN

    def skip(self, task: AnnotationTask, reason: str, made: HandedIn) -> Outcome:
        """Say that the task shall not be annotated; the reason stands above its picture then.

        Raises:
            LabelStudioError: as it comes.
        """
        full = self._full(task)
        if full is None:
            return Outcome.GONE
        note = f"skipped by {made.by}: {reason}"
        if full.data.get(NOTE) == note and full.skipped:
            return Outcome.TAKEN
        if self._is_finished(full, made.by):
            return Outcome.FINISHED
        # The reason first: a skip has no field for it, and what is skipped is not asked for again.
        self._studio.set_task_data(full.task_id, {**full.data, NOTE: note})
        self._studio.skip_task(full.task_id)
        return Outcome.TAKEN

    def _full(self, task: AnnotationTask) -> StudioTask | None:
        found = self._studio.full_tasks(task.project_id, [task.task_id])
        ours = [one for one in found if carries(one.data, task.sample_id, task.round_number)]
        return ours[0] if ours else None

    def _is_finished(self, full: StudioTask, by: str) -> bool:
        people = {one.annotator for one in full.annotations}
        return by in people or full.submitted + full.skipped >= self._annotators

    def _shown(self, task: AnnotationTask, full: StudioTask) -> StudioPrediction | None:
        """What the task opens with there: the first prediction of the round's version, which
        after a rejection holds the work that was sent back."""
        version = model_version_of(task.round_number)
        shown = [one for one in full.predictions if one.model_version == version]
        return min(shown, key=lambda one: one.prediction_id, default=None)

    def _shown_mask(
        self, task: AnnotationTask, shown: StudioPrediction | None
    ) -> NDArray[np.uint8]:
        draft = mask_from_png(self._storage.get(task.draft_key), task.draft_key)
        if shown is None:
            return np.full_like(draft, IGNORE_INDEX) if task.is_blank else draft
        if not shown.regions:
            return np.full_like(draft, IGNORE_INDEX)
        return mask_from_regions(
            shown.regions,
            self._label_map,
            size=(draft.shape[0], draft.shape[1]),
            where=f"draft of task {task.task_id}",
            classes=self._tools_of(task.project_id).classes or None,
        )

    def _tools_of(self, project_id: int) -> Tools:
        if project_id not in self._tools:
            config = self._studio.label_config(project_id)
            if not config:
                raise LabelStudioError(f"project {project_id} has no labelling interface")
            self._tools[project_id] = tools_for(
                config, self._label_map, self._section.project, self._other_names
            )
        return self._tools[project_id]


def _is_there(full: StudioTask, submission: str) -> bool:
    marks = (mark_of(one.regions) for one in full.annotations)
    return any(mark is not None and mark.submission == submission for mark in marks)
