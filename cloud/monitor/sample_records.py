"""One picture in one round: all records about it, how far it has come, and where it stands.

Keys of storage come from these records alone, never from what somebody asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from annotation.review.standing import TaskState
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.rounds import Round
from lifelong.records.samples import Annotation, AnnotationTask, HardExample, PreAnnotation, Skip

Stage = Literal["corrected", "accepted unseen", "skipped", "open", "drafted", "arrived"]
# What changed most first, then what still waits, then what nobody will do.
_ORDER: Mapping[Stage, int] = {
    "corrected": 0,
    "accepted unseen": 1,
    "open": 2,
    "drafted": 3,
    "arrived": 4,
    "skipped": 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecords:
    """What a round knows of one picture."""

    round_number: RoundNumber
    example: HardExample
    draft: PreAnnotation | None = None
    task: AnnotationTask | None = None
    annotation: Annotation | None = None
    skip: Skip | None = None
    state: TaskState | None = None  # of its task, when the loop last asked; None: it need not

    @property
    def sample_id(self) -> SampleId:
        """Of the picture."""
        return self.example.sample_id

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if self.annotation is not None:
            is_unseen = self.task is not None and self.task.asks_nobody
            return "accepted unseen" if is_unseen else "corrected"
        if self.skip is not None:
            return "skipped"
        if self.task is not None:
            return "open"
        return "arrived" if self.draft is None else "drafted"

    @property
    def shows_peoples_work(self) -> bool:
        """Does its draft beside its correction show what people did? Not if they never saw it."""
        is_blank = self.task is not None and self.task.is_blank
        return self.draft is not None and self.stage == "corrected" and not is_blank

    @property
    def changed_share(self) -> float | None:
        """Of the picture's pixels, that people changed; None before they did."""
        if self.annotation is None:
            return None
        return self.annotation.changed_pixels / max(1, self.example.height * self.example.width)

    @property
    def seconds(self) -> float | None:
        """That people spent on it, all of them together; None when nobody measured."""
        if self.annotation is None:
            return None
        spent = [cost.seconds for cost in self.annotation.costs if cost.seconds is not None]
        return sum(spent) if spent else self.annotation.seconds


def samples_of(
    round_: Round, states: Mapping[SampleId, TaskState] | None = None
) -> tuple[SampleRecords, ...]:
    """A round's pictures: first those that people changed most."""
    states = states or {}
    drafts = {draft.sample_id: draft for draft in round_.drafts}
    tasks = {task.sample_id: task for task in round_.tasks}
    annotations = {annotation.sample_id: annotation for annotation in round_.annotations}
    skips = {skip.sample_id: skip for skip in round_.skips}
    found = [
        SampleRecords(
            round_number=round_.number,
            example=example,
            draft=drafts.get(example.sample_id),
            task=tasks.get(example.sample_id),
            annotation=annotations.get(example.sample_id),
            skip=skips.get(example.sample_id),
            state=states.get(example.sample_id),
        )
        for example in round_.examples
    ]
    # Sorting is stable: what is equal stays in the order in which people were to take it.
    return tuple(sorted(found, key=lambda one: (_ORDER[one.stage], -(one.changed_share or 0.0))))
