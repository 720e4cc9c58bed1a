"""One round in full: its steps with times, and what was measured of its candidate by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cloud.monitor.rounds_facts import TONES, Tone
from lifelong.records.model_versions import Examination, TaskResult
from lifelong.records.rounds import Round, RoundState

# The way that a round takes when nothing goes wrong.
_WAY = tuple(state for state in RoundState if state not in {RoundState.REFUSED, RoundState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A state of a round that it was in, is in, or may come to."""

    state: RoundState
    tone: Tone
    entered_at: datetime | None  # UTC; None: not yet
    seconds: float | None  # that it lasted, or has lasted until now; None: not yet, or an end
    is_now: bool


def steps_of(round_: Round, now: datetime) -> tuple[Step, ...]:
    """In order of time, and then what is still to come."""
    entered = sorted(round_.entered.items(), key=lambda item: item[1])
    been = [RoundState(name) for name, _ in entered]
    found = []
    for place, (state, (_, at)) in enumerate(zip(been, entered, strict=True)):
        is_now = state is round_.state and not round_.is_over
        left = entered[place + 1][1] if place + 1 < len(entered) else now if is_now else None
        found.append(
            Step(
                state=state,
                tone="busy" if is_now else "bad" if TONES.get(state) == "bad" else "good",
                entered_at=at,
                seconds=max(0.0, (left - at).total_seconds()) if left else None,
                is_now=is_now,
            )
        )
    if round_.is_over:
        return tuple(found)
    if round_.state not in been:  # an old record, from before moments were kept
        been.append(round_.state)
    return (
        *found,
        *(
            Step(state=state, tone="calm", entered_at=None, seconds=None, is_now=False)
            for state in _WAY[_WAY.index(round_.state) + 1 :]
            if state not in been
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """What was measured on one learning task; shares, 0 .. 1."""

    task: str
    images: int  # of its hold-out
    before: TaskResult | None  # None: there was no incumbent, or it was not examined on this
    after: TaskResult

    @property
    def change(self) -> float | None:
        """Of mIoU, -1 .. 1."""
        return None if self.before is None else self.after.miou - self.before.miou

    def classes(self) -> tuple["ClassLine", ...]:
        """By class, the greatest loss first."""
        before: Mapping[str, float] = self.before.iou if self.before else {}
        found = [
            ClassLine(
                name=name,
                before=before.get(name),
                after=self.after.iou.get(name),
                images=self.after.class_images.get(name),
                taken_for=self.after.taken_for.get(name, ""),
            )
            for name in dict.fromkeys((*self.after.iou, *before))
        ]
        return tuple(
            sorted(found, key=lambda one: (one.change is None, one.change or 0.0, one.name))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLine:
    """A class's IoU before and after, 0 .. 1; None: it was not measured."""

    name: str
    before: float | None
    after: float | None
    images: int | None  # in which it occurs
    taken_for: str  # as which class most of it is answered; "" when none

    @property
    def change(self) -> float | None:
        """Of IoU, -1 .. 1."""
        return None if self.before is None or self.after is None else self.after - self.before


def task_lines(examination: Examination | None) -> tuple[TaskLine, ...]:
    """By learning task, the greatest loss first."""
    if examination is None:
        return ()
    before = examination.incumbent.tasks if examination.incumbent else {}
    found = [
        TaskLine(task=task, images=after.images, before=before.get(task), after=after)
        for task, after in examination.candidate.tasks.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.change is None, one.change or 0.0, one.task)))
