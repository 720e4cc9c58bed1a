"""What a reviewer does: look how tasks stand, accept, send back.

Sending back, in this order, so that a cut in between loses nothing and a second call completes it:
the whole annotation and the machine's draft go to storage, then the decision; the submitted regions
become what the task opens with in Label Studio, the reason stands where the annotator sees it, and
only then the annotation is removed, which puts the task back into the queue.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from annotation.draft_regions import brush_region
from annotation.labeling_config import classes_of, tools_for
from annotation.regions import Region, painted_regions, with_gains
from annotation.review.assessment import Assessor, Readings
from annotation.review.kept_work import keep_annotation, keep_first_draft
from annotation.review.standing import (
    Decision,
    Decisions,
    Standing,
    TaskState,
    Verdict,
    as_seen,
    is_enough,
    standing,
)
from annotation.studio_tasks import (
    StudioAnnotation,
    StudioPrediction,
    StudioTask,
    begun_with,
)
from annotation.task_fields import NOTE, UNSURE
from annotation.tasks import carries, model_version_of
from lifelong.errors import RecordError, ReviewError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import AnnotationTask
from lifelong.sections.review import ReviewSection


class ReviewStudio(Protocol):
    """What is asked of Label Studio to review."""

    def label_config(self, project_id: int) -> str: ...

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...

    def annotation_json(self, annotation_id: int) -> dict[str, object]: ...

    def delete_annotation(self, annotation_id: int) -> None: ...

    def rename_prediction(self, prediction_id: int, model_version: str) -> None: ...

    def add_prediction(
        self, task_id: int, model_version: str, regions: Sequence[Region], score: float | None
    ) -> None: ...

    def set_task_data(self, task_id: int, data: Mapping[str, object]) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """How one task stands, for a table."""

    task: AnnotationTask
    state: TaskState
    annotations: tuple[StudioAnnotation, ...] = ()
    people: tuple[float, float] | None = None  # mIoU and boundary F between annotators
    draft: tuple[float, float] | None = None  # of the newest annotation beside the draft
    reason: str = ""  # of the last rejection, or why it cannot be read
    reviewer: str = ""  # of the last decision


class ReviewDesk:
    """Shows tasks of one label map and writes decisions about them."""

    def __init__(
        self,
        *,
        storage: Storage,
        studio: ReviewStudio,
        label_map: LabelMap,
        rules: ReviewSection,
        journal: Journal,
        now: Callable[[], datetime],
        reviewer: str,
    ) -> None:
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._rules = rules
        self._journal = journal
        self._now = now
        self._reviewer = reviewer
        self._decisions = Decisions(storage)
        self._classes: dict[int, Mapping[str, str]] = {}

        def meant(project_id: int) -> Mapping[str, str]:
            if project_id not in self._classes:
                config = studio.label_config(project_id)
                self._classes[project_id] = classes_of(config, label_map)
            return self._classes[project_id]

        self._assessor = Assessor(
            storage=storage, label_map=label_map, rules=rules, classes_of=meant
        )

    def rows(self, tasks: Sequence[AnnotationTask]) -> list[ReviewRow]:
        """How tasks stand, in their order; those that are gone from Label Studio are skipped."""
        found = []
        full = self._full(tasks)
        decided = self._decided(tasks)
        for task in tasks:
            decisions = decided.get((task.round_number, task.sample_id), ())
            if task.task_id not in full:
                found.append(
                    ReviewRow(task=task, state=TaskState.SKIPPED, reason="deleted in Label Studio")
                )
            else:
                found.append(self._row(task, full[task.task_id], decisions))
        return found

    def look(self, task: AnnotationTask) -> tuple[StudioTask, Standing, Readings]:
        """One task with what was submitted for it.

        Raises:
            ReviewError: it is gone from Label Studio.
            RecordError: annotations that must be compared cannot be read.
        """
        full = self._full([task]).get(task.task_id)
        if full is None:
            raise ReviewError(f"task {task.task_id} is gone from Label Studio; nothing to review")
        decisions = self._decided([task]).get((task.round_number, task.sample_id), ())
        stands, readings = self._assessor.assess(task, full, decisions)
        return full, stands, readings

    def accept(self, task: AnnotationTask, annotation_id: int | None = None) -> list[Decision]:
        """Say that what was submitted counts: one annotation, or all of them together.

        Raises:
            ReviewError: there is nothing to accept, or annotators disagree and none was chosen.
        """
        full, stands, _ = self.look(task)
        chosen = self._chosen(full, stands, annotation_id)
        if stands.state is TaskState.ADJUDICATE and annotation_id is None and len(chosen) > 1:
            ids = ", ".join(f"{one.annotation_id} by {one.annotator}" for one in chosen)
            raise ReviewError(
                f"task {task.task_id}: its annotators disagree; choose with --annotation: {ids}"
            )
        return self._decide(task, stands.live, chosen, Verdict.ACCEPTED, "")

    def accept_all(self, tasks: Sequence[AnnotationTask]) -> list[Decision]:
        """Accept every task that is submitted by enough people who agree."""
        made = []
        for row in self.rows(tasks):
            stands = Standing(state=row.state, live=row.annotations)
            if row.state is TaskState.SUBMITTED and not row.reason and self._is_complete(row):
                made += self._decide(row.task, stands.live, stands.live, Verdict.ACCEPTED, "")
        return made

    def reject(
        self,
        task: AnnotationTask,
        reason: str,
        annotation_id: int | None = None,
        *,
        picture_url: str = "",
    ) -> list[Decision]:
        """Send what was submitted back to the queue, with the reason in the annotator's sight.

        Args:
            picture_url: of a picture that shows what is meant; "": none.

        Raises:
            ReviewError: there is nothing to reject, or no reason.
        """
        if not reason.strip():
            raise ReviewError("say why with --reason: the annotator reads it above the picture")
        full = self._full([task]).get(task.task_id)
        if full is None:
            raise ReviewError(f"task {task.task_id} is gone from Label Studio; nothing to review")
        # Annotations that a cut-off rejection left behind are live here, so that it is completed.
        stands = standing(full, (), self._rules, disagree=lambda ones: False)
        chosen = self._chosen(full, stands, annotation_id)
        for one in chosen:
            body = self._studio.annotation_json(one.annotation_id)
            keep_annotation(self._storage, task, one.annotation_id, body)
        shown = self._shown_prediction(task, full)
        if shown is not None:
            keep_first_draft(self._storage, task, shown)
        left = self._as_left(task, full, chosen[-1])
        made = self._decide(task, stands.live, chosen, Verdict.REJECTED, reason)
        self._open_with(task, left, shown)
        shown_too = {UNSURE: picture_url} if picture_url else {}
        self._studio.set_task_data(task.task_id, {**full.data, NOTE: reason, **shown_too})
        for one in chosen:
            self._studio.delete_annotation(one.annotation_id)
        return made

    def _row(
        self, task: AnnotationTask, full: StudioTask, decisions: Sequence[Decision]
    ) -> ReviewRow:
        last = decisions[-1] if decisions else None
        told = {
            "reason": last.reason if last and last.verdict is Verdict.REJECTED else "",
            "reviewer": last.reviewer if last else "",
        }
        try:
            stands, readings = self._assessor.assess(task, full, decisions)
            people = readings.between_people(stands.live)
            draft = readings.with_draft(stands.live[-1]) if stands.live else None
        except RecordError as error:
            return ReviewRow(
                task=task,
                state=TaskState.SUBMITTED,
                annotations=tuple(one for one in full.annotations if not one.is_skip),
                reason=str(error),
                reviewer=told["reviewer"],
            )
        if stands.live:
            told["reason"] = ""  # the rejection is answered
        return ReviewRow(
            task=task,
            state=stands.state,
            annotations=stands.live,
            people=people,
            draft=draft,
            **told,
        )

    def _is_complete(self, row: ReviewRow) -> bool:
        return is_enough(Standing(state=row.state, live=row.annotations), self._rules)

    def _full(self, tasks: Sequence[AnnotationTask]) -> dict[int, StudioTask]:
        """The tasks as Label Studio has them; a reused id is not mistaken for the task."""
        projects: dict[int, dict[int, AnnotationTask]] = {}
        for task in tasks:
            projects.setdefault(task.project_id, {})[task.task_id] = task
        return {
            full.task_id: full
            for project_id, by_id in projects.items()
            for full in self._studio.full_tasks(project_id, by_id)
            for task in [by_id[full.task_id]]
            if carries(full.data, task.sample_id, task.round_number)
        }

    def _decided(
        self, tasks: Sequence[AnnotationTask]
    ) -> dict[tuple[RoundNumber, str], tuple[Decision, ...]]:
        return {
            (number, sample_id): decisions
            for number in sorted({task.round_number for task in tasks})
            for sample_id, decisions in self._decisions.of_round(number).items()
        }

    def _chosen(
        self, full: StudioTask, stands: Standing, annotation_id: int | None
    ) -> tuple[StudioAnnotation, ...]:
        if not stands.live:
            raise ReviewError(
                f"task {full.task_id} is {stands.state}: nothing is submitted that could be "
                "accepted or rejected"
            )
        if annotation_id is None:
            return stands.live
        chosen = tuple(one for one in stands.live if one.annotation_id == annotation_id)
        if not chosen:
            ids = ", ".join(str(one.annotation_id) for one in stands.live)
            raise ReviewError(
                f"task {full.task_id} has no annotation {annotation_id}; it has {ids}"
            )
        return chosen

    def _decide(
        self,
        task: AnnotationTask,
        live: Sequence[StudioAnnotation],
        chosen: Sequence[StudioAnnotation],
        verdict: Verdict,
        reason: str,
    ) -> list[Decision]:
        at = self._now()
        made = [
            Decision(
                sample_id=task.sample_id,
                round_number=task.round_number,
                about=as_seen(one),
                annotator=one.annotator,
                seconds=one.seconds,
                verdict=verdict,
                reason=reason,
                reviewer=self._reviewer,
                at=at,
                seen=tuple(as_seen(other) for other in live),
            )
            for one in chosen
        ]
        for decision in made:
            self._decisions.add(decision)
            self._journal.event(
                f"annotation.{verdict}",
                sample_id=task.sample_id,
                round_number=task.round_number,
                task_id=task.task_id,
                annotation_id=decision.about.annotation_id,
                annotator=decision.annotator,
                reviewer=self._reviewer,
                reason=reason,
            )
        return made

    def _shown_prediction(self, task: AnnotationTask, full: StudioTask) -> StudioPrediction | None:
        """The prediction that the task opens with: the first of the round's version."""
        version = model_version_of(task.round_number)
        shown = [one for one in full.predictions if one.model_version == version]
        return min(shown, key=lambda one: one.prediction_id, default=None)

    def _open_with(
        self, task: AnnotationTask, regions: Sequence[Region], shown: StudioPrediction | None
    ) -> None:
        """Let the task open with these regions.

        The prediction so far stays under another version: annotations that began with it are
        read beside it.
        """
        version = model_version_of(task.round_number)
        if shown is not None:
            if list(shown.regions) == list(regions):
                return
            self._studio.rename_prediction(shown.prediction_id, f"{version} before review")
        score = None if shown is None else shown.score
        self._studio.add_prediction(task.task_id, version, regions, score)

    def _as_left(
        self, task: AnnotationTask, full: StudioTask, one: StudioAnnotation
    ) -> list[Region]:
        """The submitted regions such that they paint what was read: where an edited region took
        pixels from another one, the other one is painted without them."""
        regions = painted_regions(one.regions)
        where = f"task {full.task_id}, annotation {one.annotation_id}"
        try:
            found, size = self._assessor.pieces(regions, task.project_id, size=None, where=where)
            resolved = with_gains(found, begun_with(full, one), size, where)
        except RecordError:  # it cannot be read, and goes back as it is
            return regions
        tools = tools_for(self._studio.label_config(task.project_id), self._label_map, where)
        left = []
        for region, (_, class_id, before), (_, _, after) in zip(
            regions, found, resolved, strict=True
        ):
            if after.area == before.area or tools.brush is None:
                left.append(region)
            elif after.area:
                mask = np.zeros(size, dtype=np.uint8)
                after.paint(mask, 1)
                painted = brush_region(mask == 1, self._label_map.names[class_id], tools)
                left.append({**painted, "id": region.get("id", "")})
        return left
