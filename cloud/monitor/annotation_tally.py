"""How far people are with the open round: of each task how it stands, and which come next.

Told from the loop's own note of its last look (`cloud/annotators/work.py`); before there is one,
from the round's record, which people's work enters when enough of it is done.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from annotation.review.standing import TaskState
from cloud.monitor.look import Look
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask

UNFINISHED = (TaskState.OPEN, TaskState.DRAFT, TaskState.REJECTED)
AT_REVIEW = (TaskState.SUBMITTED, TaskState.ADJUDICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """One task of the open round."""

    task: AnnotationTask
    state: TaskState
    counts: bool  # what was submitted is good enough to go on with
    place: int | None  # 1 = comes next; None: not waiting, or nobody has said


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The open round's tasks."""

    round_number: RoundNumber
    project_id: int  # of Label Studio; 0: files in a folder
    lines: tuple[TaskLine, ...]  # the next one first, finished ones last
    by_state: Mapping[TaskState, int]
    without_people: int  # drafts that were sure enough to count by themselves
    since: datetime | None  # UTC, when they were offered
    noted_at: datetime | None  # UTC, of the loop's last look; None: it has not looked yet

    @property
    def waiting(self) -> int:
        """Tasks that wait for an annotator."""
        return sum(self.by_state.get(state, 0) for state in UNFINISHED)

    @property
    def at_review(self) -> int:
        """Submitted tasks that do not count yet: a reviewer, or another annotator, is missing."""
        return sum(line.state in AT_REVIEW and not line.counts for line in self.lines)


def tally_of(look: Look) -> Tally | None:
    """The round people are at work on; None: there is none. A fact."""
    open_ = look.rounds[-1] if look.rounds else None
    if open_ is None or open_.state is not RoundState.ANNOTATING:
        return None
    asked = [task for task in open_.tasks if not task.asks_nobody]
    notes = [work for work in look.queues.work if work.round_number == open_.number]
    states = _of_record(open_)
    counted = {annotation.sample_id for annotation in open_.annotations}
    order: Sequence[SampleId] = ()
    for work in notes:
        states |= work.states
        counted.update(work.counted)
        order = work.order or order
    places = {sample: place for place, sample in enumerate(order)}
    lines = [
        TaskLine(
            task=task,
            state=states.get(task.sample_id, TaskState.OPEN),
            counts=task.sample_id in counted,
            place=None,
        )
        for task in asked
    ]
    return Tally(
        round_number=open_.number,
        project_id=max((task.project_id for task in asked), default=0),
        lines=_placed(lines, places),
        by_state=Counter(line.state for line in lines),
        without_people=len(open_.tasks) - len(asked),
        since=open_.entered.get(str(RoundState.ANNOTATING)),
        noted_at=max((work.at for work in notes), default=None),
    )


def _of_record(round_: Round) -> dict[SampleId, TaskState]:
    found = {one.sample_id: TaskState.SUBMITTED for one in round_.annotations}
    return found | {one.sample_id: TaskState.SKIPPED for one in round_.skips}


def _placed(lines: Sequence[TaskLine], places: Mapping[SampleId, int]) -> tuple[TaskLine, ...]:
    """In the order people see; those without a place behind those with one, finished ones last."""

    def key(line: TaskLine) -> tuple[bool, int, int]:
        place = places.get(line.task.sample_id, len(places))
        return (line.state not in UNFINISHED, place, line.task.task_id)

    told: list[TaskLine] = []
    for line in sorted(lines, key=key):
        waits = line.state in UNFINISHED and line.task.sample_id in places
        place = len(told) + 1 if waits else None
        told.append(TaskLine(task=line.task, state=line.state, counts=line.counts, place=place))
    return tuple(told)
