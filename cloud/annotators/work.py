"""How far people are with a round, written down so that pages need not ask Label Studio.

This stands between the loop and the annotators, as one of them. At each look of the loop it notes
how every task stands and who comes next, in `work/{label map}.json`; it is written again when that
changed, and else once a minute, so that its age says when anybody last looked. Nothing else rests
on it: a record that is missing or cannot be written costs a page its numbers and no round a step.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from annotation.pulling import Pulled
from annotation.review.standing import TaskState
from lifelong.errors import LinkError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import AnnotationTask, PreAnnotation
from lifelong.records.wire import to_json

logger = logging.getLogger(__name__)

WORK = "work"  # folder: one object for each label map that tasks were offered with
_AT_LEAST_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationWork:
    """How the tasks of one round stood at the loop's last look."""

    round_number: RoundNumber
    at: datetime  # UTC, of the look
    states: Mapping[SampleId, TaskState]
    counted: tuple[SampleId, ...] = ()  # whose annotation counts already; sorted
    order: tuple[SampleId, ...] = ()  # of what is open, the next one first; () when nobody said


class Workplace(Protocol):
    """The way to people: Label Studio or a folder."""

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]: ...

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled: ...

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None: ...


@dataclass(slots=True)
class NotedWork:
    """Annotators whose work is noted; implements the loop's `Annotators`."""

    people: Workplace
    storage: Storage
    name: str  # of the record: the digest of the label map
    now: Callable[[], datetime]
    _order: tuple[RoundNumber, tuple[SampleId, ...]] | None = None
    _written: AnnotationWork | None = field(default=None)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people."""
        return self.people.push(drafts)

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished; how all of it stands is noted."""
        pulled = self.people.pull(tasks)
        if tasks:
            self._note(tasks, pulled)
        return pulled

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """Show the open tasks in this order, which stands in the next note."""
        self.people.sort(tasks, order)
        if tasks:
            self._order = (tasks[0].round_number, tuple(order))

    def _note(self, tasks: Sequence[AnnotationTask], pulled: Pulled) -> None:
        number = max(task.round_number for task in tasks)
        states = {task.sample_id: TaskState.OPEN for task in tasks}
        states |= {one.sample_id: TaskState.SUBMITTED for one in pulled.annotations}
        states |= {one.sample_id: TaskState.SKIPPED for one in pulled.skips}
        states |= pulled.states
        order = self._order[1] if self._order and self._order[0] == number else ()
        work = AnnotationWork(
            round_number=number,
            at=self.now(),
            states=dict(sorted(states.items())),
            counted=tuple(sorted(one.sample_id for one in pulled.annotations)),
            order=order,
        )
        before = self._written
        if before is not None:
            is_same = replace(work, at=before.at) == before
            if is_same and timedelta() <= work.at - before.at < _AT_LEAST_EVERY:
                return
        try:
            self.storage.put(work_key(self.name), to_json(work))
            self._written = work
        except LinkError as error:  # the round itself will meet it, and say so
            logger.warning("how far people are could not be noted: %s", error)


def noted(
    make: Callable[[LabelMap], Workplace], storage: Storage, now: Callable[[], datetime]
) -> Callable[[LabelMap], NotedWork]:
    """What `make` opens for a label map, with its work noted."""

    def made(label_map: LabelMap) -> NotedWork:
        return NotedWork(people=make(label_map), storage=storage, name=label_map.digest, now=now)

    return made


def work_key(label_map_digest: str) -> str:
    """Where the work on tasks of a label map is noted."""
    return f"{WORK}/{label_map_digest[:16] or 'first'}.json"
