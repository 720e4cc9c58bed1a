"""Drafts go out to people, corrections come back; every step may be repeated safely.

A task is found again by the sample and round in its data, never by its id alone. A push that was
cut off, on our side or on Label Studio's, is completed by the next one without twins.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.agreement import agreement
from annotation.project import ImageAddresses, Projects, ensure_project, ensure_readable
from annotation.studio_tasks import StudioAnnotation, StudioTask, latest_skip, latest_submitted
from annotation.task_fields import SAMPLE
from annotation.tasks import carries, mask_from_annotation, model_version_of, task_json
from lifelong.config import LabelStudioSection
from lifelong.errors import LabelStudioError, RecordError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation, Skip

logger = logging.getLogger(__name__)

_BATCH = 100  # drafts whose masks are in memory at a time


class Studio(Projects, Protocol):
    """What is asked of Label Studio about tasks; `annotation.label_studio.LabelStudio` does it."""

    def import_tasks(self, project_id: int, tasks: Sequence[dict[str, object]]) -> None: ...

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...

    def task(self, task_id: int) -> StudioTask | None: ...

    def delete_task(self, task_id: int) -> None: ...

    def show_predictions(self, project_id: int, model_version: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of annotation tasks so far; a task in neither list is still being worked on."""

    annotations: tuple[Annotation, ...] = ()
    skips: tuple[Skip, ...] = ()


class Exchange:
    """The way to the annotators and back, through one Label Studio project.

    `push` and `pull` raise LabelStudioUnavailableError and StorageUnavailableError when the other
    side is away; nothing is lost, call again.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        studio: Studio,
        label_map: LabelMap,
        section: LabelStudioSection,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        """
        Raises:
            ConfigError: Label Studio could not show images from this storage.
        """
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._section = section
        self._journal = journal
        self._now = now
        self._addresses = ImageAddresses(storage.url, section.local_files_root)
        # task id -> what it looked like and what we made of it: most tasks do not change
        # between two looks, and reading brush strokes again costs both sides time.
        self._known: dict[int, tuple[str, datetime | None, Annotation | Skip]] = {}

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people; those that are already there stay as they are.

        Returns:
            One task a draft, in the drafts' order.

        Raises:
            ProjectMismatchError: the project does not fit the label map.
        """
        if not drafts:
            return []
        project_id = ensure_project(self._studio, self._section.project, self._label_map)
        ensure_readable(
            self._studio, project_id, self._addresses, [draft.image_key for draft in drafts]
        )
        tasks = []
        ordered = sorted(drafts, key=lambda draft: draft.round_number)
        for number, of_round in groupby(ordered, key=lambda draft: draft.round_number):
            tasks += self._push_round(project_id, number, list(of_round))
        found = {(task.round_number, task.sample_id): task for task in tasks}
        return [found[draft.round_number, draft.sample_id] for draft in drafts]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished, read into storage; unfinished tasks are left out.

        An annotation that cannot be read becomes a Skip that says why. Of several annotations of
        a task the latest counts; one that says "skip" counts only when there is no other.
        """
        outcomes: list[Annotation | Skip] = []

        def place(task: AnnotationTask) -> tuple[int, RoundNumber]:
            return (task.project_id, task.round_number)

        for (project_id, number), of_round in groupby(sorted(tasks, key=place), key=place):
            outcomes += self._pull_round(project_id, number, list(of_round))
        return Pulled(
            annotations=tuple(one for one in outcomes if isinstance(one, Annotation)),
            skips=tuple(one for one in outcomes if isinstance(one, Skip)),
        )

    # push

    def _push_round(
        self, project_id: int, number: RoundNumber, drafts: list[PreAnnotation]
    ) -> list[AnnotationTask]:
        there = self._tasks_by_sample(project_id, number)
        missing = list({d.sample_id: d for d in drafts if d.sample_id not in there}.values())
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            self._studio.import_tasks(project_id, [self._task_json(draft) for draft in batch])
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

    def _task_json(self, draft: PreAnnotation) -> dict[str, object]:
        mask = mask_from_png(self._storage.get(draft.mask_key), draft.mask_key)
        return task_json(
            draft,
            mask,
            image_url=self._addresses.url(draft.image_key),
            label_map=self._label_map,
            mode=self._section.draft,
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

    # pull

    def _pull_round(
        self, project_id: int, number: RoundNumber, tasks: list[AnnotationTask]
    ) -> list[Annotation | Skip]:
        listed = self._studio.round_tasks(project_id, number)
        there = {str(task.data.get(SAMPLE)): task for task in reversed(listed)}
        there |= {str(t.data.get(SAMPLE)): t for t in reversed(listed) if t.is_finished}
        outcomes: list[Annotation | Skip] = []
        changed: dict[int, AnnotationTask] = {}
        for task in tasks:
            found = there.get(task.sample_id)
            if found is None:
                if self._is_deleted(task):
                    outcomes.append(self._skip(task, "deleted in Label Studio"))
            elif found.is_finished:
                known = self._known.get(found.task_id)
                if known is not None and known[:2] == (task.sample_id, found.updated_at):
                    outcomes.append(known[2])
                else:
                    changed[found.task_id] = task
        for full in self._studio.full_tasks(project_id, changed) if changed else []:
            outcome = self._outcome(changed[full.task_id], full)
            if outcome is not None:
                seen = (changed[full.task_id].sample_id, full.updated_at)
                self._known[full.task_id] = (*seen, outcome)
                outcomes.append(outcome)
        return outcomes

    def _is_deleted(self, task: AnnotationTask) -> bool:
        """Listings may miss a task while others come and go; only its own absence counts."""
        found = self._studio.task(task.task_id)
        return found is None or not carries(found.data, task.sample_id, task.round_number)

    def _outcome(self, task: AnnotationTask, full: StudioTask) -> Annotation | Skip | None:
        if not carries(full.data, task.sample_id, task.round_number):
            return None
        submitted, skip = latest_submitted(full), latest_skip(full)
        if submitted is not None:
            try:
                return self._annotation(task, full, submitted)
            except RecordError as error:
                return self._skip(task, str(error))
        return None if skip is None else self._skip(task, f"skipped by {skip.annotator}")

    def _annotation(
        self, task: AnnotationTask, full: StudioTask, submitted: StudioAnnotation
    ) -> Annotation:
        draft = self._draft(task)
        size = None if draft is None else (draft.shape[0], draft.shape[1])
        mask = mask_from_annotation(full, submitted, self._label_map, size=size)
        change = agreement(np.full_like(mask, IGNORE_INDEX) if draft is None else draft, mask)
        data = png_from_mask(mask)
        key = f"masks/{task.sample_id}/{submitted.annotation_id}.png"
        is_new = not self._storage.exists(key)
        self._storage.put(key, data)
        annotation = Annotation(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=submitted.annotation_id,
            annotator=submitted.annotator,
            annotated_at=submitted.at or self._now(),
            mask_key=key,
            mask_sha256=sha256_hex(data),
            agreement=change.miou,
            changed_pixels=change.changed_pixels,
            seconds=submitted.seconds,
        )
        if is_new:
            self._journal.event(
                "annotation.pulled",
                sample_id=task.sample_id,
                round_number=task.round_number,
                task_id=full.task_id,
                annotation_id=submitted.annotation_id,
                annotator=submitted.annotator,
                agreement=round(change.miou, 4),
                changed_pixels=change.changed_pixels,
                seconds=submitted.seconds,
            )
        return annotation

    def _draft(self, task: AnnotationTask) -> NDArray[np.uint8] | None:
        if not task.draft_key:
            return None
        return mask_from_png(self._storage.get(task.draft_key), task.draft_key)

    def _skip(self, task: AnnotationTask, reason: str) -> Skip:
        logger.info("sample %s of round %d: %s", task.sample_id, task.round_number, reason)
        return Skip(sample_id=task.sample_id, round_number=task.round_number, reason=reason)
