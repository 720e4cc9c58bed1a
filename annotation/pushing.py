"""Drafts go out to people: tasks with predictions, each sample of a round once.

A task is found again by the sample and round in its data, never by its id alone. A push that was
cut off, on our side or on Label Studio's, is completed by the next one without twins.
"""

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from annotation.draft_regions import DraftShapes
from annotation.project import (
    ImageAddresses,
    OurProject,
    Projects,
    ensure_project,
    ensure_readable,
)
from annotation.studio_tasks import StudioTask
from annotation.task_fields import SAMPLE
from annotation.tasks import model_version_of, task_json
from lifelong.annotation_config import LabelStudioSection
from lifelong.errors import LabelStudioError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask, PreAnnotation

logger = logging.getLogger(__name__)

_BATCH = 100  # drafts whose masks are in memory at a time


class PushStudio(Projects, Protocol):
    """What is asked of Label Studio to offer tasks."""

    def import_tasks(self, project_id: int, tasks: Sequence[dict[str, object]]) -> None: ...

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def delete_task(self, task_id: int) -> None: ...

    def show_predictions(self, project_id: int, model_version: str) -> None: ...


class Pushing:
    """The way out; every call may be repeated."""

    def __init__(
        self,
        *,
        storage: Storage,
        studio: PushStudio,
        label_map: LabelMap,
        section: LabelStudioSection,
        journal: Journal,
    ) -> None:
        """
        Raises:
            ConfigError: Label Studio could not show images from this storage.
            LabelMapError: the section names a class that does not exist.
        """
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._section = section
        self._journal = journal
        self._addresses = ImageAddresses(storage.url, section.local_files_root)
        self._shapes = DraftShapes(
            mode=section.draft,
            tolerance=section.polygon_tolerance_px,
            by_class=section.draft_by_class,
        ).checked(label_map)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people; those that are already there stay as they are.

        Returns:
            One task a draft, in the drafts' order.

        Raises:
            ProjectMismatchError: the project does not fit the label map.
        """
        if not drafts:
            return []
        project = ensure_project(self._studio, self._section.project, self._label_map)
        ensure_readable(
            self._studio, project.project_id, self._addresses, [d.image_key for d in drafts]
        )
        tasks = []
        ordered = sorted(drafts, key=lambda draft: draft.round_number)
        for number, of_round in groupby(ordered, key=lambda draft: draft.round_number):
            tasks += self._push_round(project, number, list(of_round))
        found = {(task.round_number, task.sample_id): task for task in tasks}
        return [found[draft.round_number, draft.sample_id] for draft in drafts]

    def _push_round(
        self, project: OurProject, number: RoundNumber, drafts: list[PreAnnotation]
    ) -> list[AnnotationTask]:
        project_id = project.project_id
        there = self._tasks_by_sample(project_id, number)
        missing = list({d.sample_id: d for d in drafts if d.sample_id not in there}.values())
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            self._studio.import_tasks(
                project_id, [self._task_json(draft, project) for draft in batch]
            )
        self._studio.show_predictions(project_id, model_version_of(number))
        # Label Studio's own word on what arrived: an earlier request may have come through late.
        there = self._tasks_by_sample(project_id, number)
        lost = [draft.sample_id for draft in drafts if draft.sample_id not in there]
        if lost:
            raise LabelStudioError(
                f"Label Studio took {len(lost)} tasks of round {number} but does not list them "
                f"({lost[0]} …); look at project {project_id}"
            )
        for draft in missing:
            self._journal.event(
                "task.pushed",
                sample_id=draft.sample_id,
                round_number=number,
                project_id=project_id,
                task_id=there[draft.sample_id].task_id,
            )
        logger.info("pushed %d tasks of round %d, %d are new", len(drafts), number, len(missing))
        return [
            AnnotationTask(
                sample_id=draft.sample_id,
                round_number=number,
                project_id=project_id,
                task_id=there[draft.sample_id].task_id,
                draft_key=draft.mask_key,
            )
            for draft in drafts
        ]

    def _task_json(self, draft: PreAnnotation, project: OurProject) -> dict[str, object]:
        mask = mask_from_png(self._storage.get(draft.mask_key), draft.mask_key)
        return task_json(
            draft,
            mask,
            image_url=self._addresses.url(draft.image_key),
            unsure_url=self._addresses.url(draft.unsure_key) if draft.unsure_key else "",
            label_map=self._label_map,
            shapes=self._shapes,
            tools=project.tools,
        )

    def _tasks_by_sample(self, project_id: int, number: RoundNumber) -> dict[str, StudioTask]:
        """The round's tasks; of twins the one with work in it, or the oldest, is kept.

        Twins appear when a request of ours timed out while Label Studio still carried it out.
        """
        by_sample: dict[str, StudioTask] = {}
        listed = self._studio.round_tasks(project_id, number)
        for task in sorted(listed, key=lambda task: (not task.is_finished, task.task_id)):
            sample_id = str(task.data.get(SAMPLE))
            if sample_id not in by_sample:
                by_sample[sample_id] = task
            elif not task.is_finished:
                logger.warning("task %d is a twin of %s: deleted", task.task_id, sample_id)
                self._studio.delete_task(task.task_id)
        return by_sample
