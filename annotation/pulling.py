"""Corrections come back: what people finished becomes masks in storage and records about them."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Protocol

import numpy as np

from annotation.labeling_config import classes_of
from annotation.review.agreement import agreement
from annotation.review.assessment import Assessor, Pieces, Readings
from annotation.review.correction_cost import cost_by_class
from annotation.review.kept_work import first_draft
from annotation.review.standing import (
    Decision,
    Decisions,
    Standing,
    TaskState,
    Verdict,
    rejected_seconds,
)
from annotation.studio_tasks import StudioAnnotation, StudioTask
from annotation.task_fields import SAMPLE
from annotation.tasks import carries
from lifelong.errors import RecordError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, CorrectionCost, Skip
from lifelong.records.wire import to_plain
from lifelong.sections.review import ReviewSection

logger = logging.getLogger(__name__)

# What a task looked like: its sample, Label Studio's last change, how much was decided about it.
_Look = tuple[str, datetime | None, int]


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
    # How each task stands, as far as a look at the whole round tells: what somebody has begun and
    # not submitted is still open.
    states: Mapping[SampleId, TaskState] = field(default_factory=dict)


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
        rules: ReviewSection | None = None,
        other_names: Mapping[str, str] | None = None,
    ) -> None:
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._other_names = other_names
        self._journal = journal
        self._now = now
        self._rules = rules or ReviewSection()
        self._classes: dict[int, Mapping[str, str]] = {}  # project id -> what its labels mean
        self._decisions = Decisions(storage)
        self.assessor = Assessor(
            storage=storage,
            label_map=label_map,
            rules=self._rules,
            classes_of=self._classes_of,
        )
        # task id -> what it looked like and what we made of it: most tasks do not change
        # between two looks, and reading brush strokes again costs both sides time.
        self._known: dict[int, tuple[_Look, Annotation | Skip | None]] = {}
        self._stood: dict[int, TaskState] = {}  # task id -> how it stood when it was read

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished, read into storage; unfinished tasks are left out.

        What counts is decided in `annotation/review/standing.py`. An annotation that cannot be read
        becomes a Skip that says why.
        """
        outcomes: list[Annotation | Skip] = []
        states: dict[SampleId, TaskState] = {}

        def place(task: AnnotationTask) -> tuple[int, RoundNumber]:
            return (task.project_id, task.round_number)

        for (project_id, number), of_round in groupby(sorted(tasks, key=place), key=place):
            outcomes += self._pull_round(project_id, number, list(of_round), states)
        return Pulled(
            annotations=tuple(one for one in outcomes if isinstance(one, Annotation)),
            skips=tuple(one for one in outcomes if isinstance(one, Skip)),
            states=states,
        )

    def _pull_round(
        self,
        project_id: int,
        number: RoundNumber,
        tasks: list[AnnotationTask],
        states: dict[SampleId, TaskState],
    ) -> list[Annotation | Skip]:
        listed = self._studio.round_tasks(project_id, number)
        there = {str(task.data.get(SAMPLE)): task for task in reversed(listed)}
        there |= {str(t.data.get(SAMPLE)): t for t in reversed(listed) if t.is_finished}
        decided = self._decisions.of_round(number)
        outcomes: list[Annotation | Skip] = []
        changed: dict[int, tuple[AnnotationTask, _Look]] = {}
        for task in tasks:
            found = there.get(task.sample_id)
            decisions = decided.get(task.sample_id, ())
            states[task.sample_id] = _unfinished(decisions)
            if found is None:
                if self._is_deleted(task):
                    states[task.sample_id] = TaskState.SKIPPED
                    outcomes.append(self._skip(task, "deleted in Label Studio"))
            elif found.is_finished:
                look: _Look = (task.sample_id, found.updated_at, len(decisions))
                known = self._known.get(found.task_id)
                if known is None or known[0] != look:
                    changed[found.task_id] = (task, look)
                elif known[1] is not None:
                    outcomes.append(known[1])
        for full in self._studio.full_tasks(project_id, changed) if changed else []:
            task, seen = changed[full.task_id]
            outcome = self._outcome(task, full, decided.get(task.sample_id, ()))
            if full.updated_at == seen[1]:  # else it changed while we were asking
                self._known[full.task_id] = (seen, outcome)
            if outcome is not None:
                outcomes.append(outcome)
        for task in tasks:
            found = there.get(task.sample_id)
            if found is not None and found.is_finished and found.task_id in self._stood:
                states[task.sample_id] = self._stood[found.task_id]
        return outcomes

    def _is_deleted(self, task: AnnotationTask) -> bool:
        """Listings may miss a task while others come and go; only its own absence counts."""
        found = self._studio.task(task.task_id)
        return found is None or not carries(found.data, task.sample_id, task.round_number)

    def _outcome(
        self, task: AnnotationTask, full: StudioTask, decisions: Sequence[Decision]
    ) -> Annotation | Skip | None:
        if not carries(full.data, task.sample_id, task.round_number):
            return None
        try:
            stands, readings = self.assessor.assess(task, full, decisions)
            self._stood[full.task_id] = stands.state
            if stands.counted:
                return self._annotation(task, full, stands, readings, decisions)
        except RecordError as error:
            self._stood[full.task_id] = TaskState.SKIPPED
            return self._skip(task, str(error))
        if stands.state is TaskState.SKIPPED:
            return self._skip(task, f"skipped by {', '.join(stands.skipped_by)}")
        return None

    def _annotation(
        self,
        task: AnnotationTask,
        full: StudioTask,
        stands: Standing,
        readings: Readings,
        decisions: Sequence[Decision],
    ) -> Annotation:
        mask, used = self.assessor.merged(stands.counted, readings)
        draft = np.full_like(mask, IGNORE_INDEX) if readings.draft is None else readings.draft
        shown = np.full_like(mask, IGNORE_INDEX) if task.is_blank else draft
        with_draft = readings.with_draft(used[-1]) if len(used) == 1 else None
        people = readings.between_people(stands.live)
        costs = self._costs(task, full, stands.counted, readings, decisions)
        data = png_from_mask(mask)
        key, is_new = self._mask_key(task, used, data)
        self._storage.put(key, data)
        seconds = [one.seconds for one in used if one.seconds is not None]
        annotation = Annotation(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=used[-1].annotation_id,
            annotator=", ".join(one.annotator for one in used),
            annotated_at=used[-1].at or self._now(),
            mask_key=key,
            mask_sha256=sha256_hex(data),
            agreement=agreement(draft, mask).miou,
            changed_pixels=int(np.count_nonzero(shown != mask)),
            seconds=sum(seconds) if seconds else None,
            draft_boundary=None if with_draft is None else with_draft[1],
            annotation_ids=tuple(one.annotation_id for one in used),
            annotators=tuple(one.annotator for one in used),
            people_agreement=None if people is None else people[0],
            people_boundary=None if people is None else people[1],
            costs=costs,
            label_map_digest=self._label_map.digest,
        )
        if is_new:
            self._tell(full.task_id, annotation)
        return annotation

    def _mask_key(
        self, task: AnnotationTask, used: Sequence[StudioAnnotation], data: bytes
    ) -> tuple[str, bool]:
        """Where a mask goes, and whether it is not there yet.

        An annotation that changed gets another key: a record made before still finds its bytes.
        """
        name = f"masks/{task.sample_id}/{'+'.join(str(one.annotation_id) for one in used)}"
        key = f"{name}.png"
        if not self._storage.exists(key):
            return key, True
        if self._storage.get(key) == data:
            return key, False
        key = f"{name}-{sha256_hex(data)[:12]}.png"
        return key, not self._storage.exists(key)

    def _costs(
        self,
        task: AnnotationTask,
        full: StudioTask,
        counted: Sequence[StudioAnnotation],
        readings: Readings,
        decisions: Sequence[Decision],
    ) -> tuple[CorrectionCost, ...]:
        """What each annotation that counts took; rejected attempts are added to the first."""
        found = []
        for number, one in enumerate(counted):
            reading = readings.of(one)
            mask = reading.mask
            blank = task.is_blank or readings.draft is None
            shown = np.full_like(mask, IGNORE_INDEX)
            if not blank and readings.draft is not None:
                shown = readings.draft
            seconds = one.seconds
            if seconds is not None and number == 0:
                seconds += rejected_seconds(decisions)
            before = () if blank else self._shown_pieces(task, full, one, mask.shape)
            found.append(
                CorrectionCost(
                    annotation_id=one.annotation_id,
                    annotator=one.annotator,
                    drafted_by=task.drafted_by,
                    with_draft=not blank,
                    seconds=seconds,
                    pixels=mask.size,
                    classes=cost_by_class(
                        shown,
                        mask,
                        before=before,
                        after=reading.pieces,
                        label_map=self._label_map,
                        seconds=seconds,
                    ),
                )
            )
        return tuple(found)

    def _shown_pieces(
        self, task: AnnotationTask, full: StudioTask, one: StudioAnnotation, size: tuple[int, ...]
    ) -> Pieces:
        """The machine's regions; after a rejection the prediction holds a person's instead."""
        by_id = {prediction.prediction_id: prediction for prediction in full.predictions}
        chosen = one.parent_prediction if one.parent_prediction in by_id else max(by_id, default=0)
        regions = first_draft(self._storage, task)
        if regions is None:
            regions = by_id[chosen].regions if chosen in by_id else ()
        if not regions:
            return ()
        where = f"draft of task {full.task_id}"
        try:
            return self.assessor.pieces(
                regions, task.project_id, size=(size[0], size[1]), where=where
            )[0]
        except RecordError as error:  # somebody else's prediction; the pixels still tell
            logger.warning("%s cannot be compared region by region: %s", where, error)
            return ()

    def _tell(self, task_id: int, annotation: Annotation) -> None:
        self._journal.event(
            "annotation.pulled",
            sample_id=annotation.sample_id,
            round_number=annotation.round_number,
            task_id=task_id,
            annotation_id=annotation.annotation_id,
            annotator=annotation.annotator,
            agreement=round(annotation.agreement, 4),
            changed_pixels=annotation.changed_pixels,
            seconds=annotation.seconds,
            people_agreement=annotation.people_agreement,
            people_boundary=annotation.people_boundary,
            costs=[to_plain(cost) for cost in annotation.costs],
        )
        logger.info(
            "sample %s annotated by %s, draft agreed to %.2f",
            annotation.sample_id,
            annotation.annotator,
            annotation.agreement,
        )

    def _classes_of(self, project_id: int) -> Mapping[str, str]:
        if project_id not in self._classes:
            config = self._studio.label_config(project_id)
            self._classes[project_id] = classes_of(config, self._label_map, self._other_names)
        return self._classes[project_id]

    def _skip(self, task: AnnotationTask, reason: str) -> Skip:
        logger.info("sample %s of round %d: %s", task.sample_id, task.round_number, reason)
        return Skip(sample_id=task.sample_id, round_number=task.round_number, reason=reason)


def _unfinished(decisions: Sequence[Decision]) -> TaskState:
    sent_back = bool(decisions) and decisions[-1].verdict is Verdict.REJECTED
    return TaskState.REJECTED if sent_back else TaskState.OPEN
