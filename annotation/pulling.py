"""Corrections come back: what people finished becomes masks in storage and records about them."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.agreement import agreement
from annotation.labeling_config import classes_of
from annotation.studio_tasks import StudioAnnotation, StudioTask, latest_skip, latest_submitted
from annotation.task_fields import SAMPLE
from annotation.tasks import carries, mask_from_annotation
from lifelong.errors import RecordError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, Skip

logger = logging.getLogger(__name__)


class PullStudio(Protocol):
    """What is asked of Label Studio to read what people did."""

    def label_config(self, project_id: int) -> str: ...

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...

    def task(self, task_id: int) -> StudioTask | None: ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of annotation tasks so far; a task in neither list is still being worked on."""

    annotations: tuple[Annotation, ...] = ()
    skips: tuple[Skip, ...] = ()


class Pulling:
    """The way back; every call may be repeated."""

    def __init__(
        self,
        *,
        storage: Storage,
        studio: PullStudio,
        label_map: LabelMap,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._journal = journal
        self._now = now
        self._classes: dict[int, Mapping[str, str]] = {}  # project id -> what its labels mean
        # task id -> what it looked like and what we made of it: most tasks do not change
        # between two looks, and reading brush strokes again costs both sides time.
        self._known: dict[int, tuple[str, datetime | None, Annotation | Skip]] = {}

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
        mask = mask_from_annotation(
            full,
            submitted,
            self._label_map,
            size=size,
            classes=self._classes_of(task.project_id),
        )
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

    def _classes_of(self, project_id: int) -> Mapping[str, str]:
        if project_id not in self._classes:
            config = self._studio.label_config(project_id)
            self._classes[project_id] = classes_of(config, self._label_map)
        return self._classes[project_id]

    def _draft(self, task: AnnotationTask) -> NDArray[np.uint8] | None:
        if not task.draft_key:
            return None
        return mask_from_png(self._storage.get(task.draft_key), task.draft_key)

    def _skip(self, task: AnnotationTask, reason: str) -> Skip:
        logger.info("sample %s of round %d: %s", task.sample_id, task.round_number, reason)
        return Skip(sample_id=task.sample_id, round_number=task.round_number, reason=reason)
