"""The desk behind `/correct`: who gets which draft, and what becomes of what they hand in.

It decides nothing about annotations: `Work` hands them in where the loop looks for them, and the
loop reads them back as it reads everybody's. What is kept here is who has which task
(`leases.py`) and a list of what waits, some seconds old at most.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.assist.troubles import Troubles
from annotation.class_runs import mask_from_runs
from annotation.correcting.work import HandedIn, Opened, Outcome
from cloud.correcting.leases import Leases
from cloud.correcting.prompting import Answered, Answers, Asked
from cloud.correcting.stored_pictures import StoredPicture, StoredPictures
from lifelong.errors import LifelongError, ObjectNotFoundError, PromptError, ShapeError
from lifelong.labels.map_history import LabelMapHistory
from lifelong.links.journal import Journal
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask, PreAnnotation

logger = logging.getLogger(__name__)

TaskKey = NewType("TaskKey", str)  # "3-0123456789abcdef": round and sample

_LEASE_SECONDS = 120.0  # the page keeps it every 30 s while somebody looks at it
_LISTED_SECONDS = 10.0  # how old the list of what waits may be
_TRIES = 20  # tasks opened in vain before somebody is told
_REMEMBERED = 2000  # tasks, of one page or person
_PAGES = 1000  # pages or people


class Work(Protocol):
    """Tasks of one label map, where people find them."""

    def waiting(self, tasks: Sequence[AnnotationTask]) -> list[AnnotationTask]: ...

    def open(self, task: AnnotationTask, by: str) -> Opened | None: ...

    def accept(self, task: AnnotationTask, mask: NDArray[np.uint8], made: HandedIn) -> Outcome: ...

    def skip(self, task: AnnotationTask, reason: str, made: HandedIn) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the open round is."""

    round_number: int | None  # None: no round waits for people
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A task as a page gets it."""

    key: TaskKey
    draft: PreAnnotation
    opened: Opened
    label_map: LabelMap


@dataclass(frozen=True, slots=True)
class _Listed:
    at: float  # by the clock, seconds
    number: int
    waiting: tuple[TaskKey, ...]
    total: int


class _Sets:
    """Tasks by page or person; what is too much is forgotten, which costs nothing but a look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, frozenset[TaskKey]] = {}

    def add(self, whose: str, key: TaskKey) -> None:
        with self._lock:
            if len(self._known) >= _PAGES and whose not in self._known:
                self._known.clear()
            known = self._known.get(whose, frozenset())
            self._known[whose] = (known if len(known) < _REMEMBERED else frozenset()) | {key}

    def of(self, whose: str) -> frozenset[TaskKey]:
        with self._lock:
            return self._known.get(whose, frozenset())


class Desk:
    """Safe under threads; every call may be repeated."""

    def __init__(
        self,
        *,
        rounds: Callable[[], Sequence[Round]],
        work_of: Callable[[LabelMap], Work],
        history: LabelMapHistory,
        pictures: StoredPictures,
        answers: Answers | None,
        journal: Journal,
        troubles: Troubles,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            rounds: all of them as last seen, oldest first; must not wait for storage.
            answers: who answers prompts; None: nobody, regions can be renamed all the same.
            clock: seconds that never go back.
        """
        self._rounds = rounds
        self._work_of = work_of
        self._history = history
        self._pictures = pictures
        self.answers = answers
        self._journal = journal
        self.troubles = troubles
        self._clock = clock
        self._leases: Leases[TaskKey] = Leases(clock=clock, seconds=_LEASE_SECONDS)
        self._lock = threading.Lock()  # for what follows
        self._listing = threading.Lock()  # one listing at a time
        self._works: dict[str, Work] = {}
        self._listed: _Listed | None = None
        # Known before a listing says so: when that was, by the clock.
        self._finished: dict[TaskKey, float] = {}
        self._passed = _Sets()  # by page: not now
        self._theirs = _Sets()  # by person: they have done it, though others may have to as well
        self._handing: dict[TaskKey, threading.Lock] = {}

    def next(self, page: str, by: str, *, later: TaskKey | None = None) -> Given | None:
        """What this page has already, else the best that nobody has; None: nothing waits.

        Args:
            page: which window of which person.
            later: a task that this person does not want now.

        Raises:
            LifelongError: tasks cannot be listed, or none of the first can be opened.
        """
        if later is not None:
            self._passed.add(page, later)
        failure: LifelongError | None = None
        for _ in range(_TRIES):
            theirs = self._theirs.of(by)
            wanted = [key for key in self._waiting() if key not in theirs]
            key = self._leases.take(wanted, page, passed=self._passed.of(page))
            if key is None:
                break
            try:
                given = self._open(key, by)
            except LifelongError as error:
                if error.retryable:
                    raise
                # One task that cannot be opened must not keep people from the others.
                logger.warning("task %s cannot be opened for correction: %s", key, error)
                failure = error
            else:
                if given is not None:
                    self._expect(key)
                    return given
                self._theirs.add(by, key)
            self._note_finished(key)
            self._leases.release(page)
        if failure is not None:
            raise failure
        return None

    def progress(self) -> Progress:
        """How far the open round is, as last listed; never asks anybody."""
        round_ = self._open_round()
        listed = self._listed
        if round_ is None:
            return Progress(round_number=None, done=0, total=0)
        if listed is None or listed.number != round_.number:
            return Progress(round_number=round_.number, done=0, total=len(_asked(round_)))
        left = [key for key in listed.waiting if key not in self._finished]
        return Progress(
            round_number=round_.number, done=listed.total - len(left), total=listed.total
        )

    def keep(self, key: TaskKey, page: str) -> bool:
        """The person still looks at it; False: somebody else has it now."""
        return self._leases.keep(key, page)

    def leave(self, page: str) -> None:
        """The page was closed."""
        self._leases.release(page)

    def picture(self, key: TaskKey) -> StoredPicture:
        """The picture of a task.

        Raises:
            ObjectNotFoundError: no such task waits.
            StorageError: storage cannot be reached.
        """
        return self._pictures.get(self._draft(key)[1].image_key)

    def answer(self, key: TaskKey, asked: Asked) -> Answered:
        """What the model makes of a prompt.

        Raises:
            PromptError: no model is served here, or nothing was asked.
            LifelongError: what else `Answers` raises.
        """
        if self.answers is None:
            raise PromptError("no interactive model is served here; regions can be renamed")
        task, draft = self._draft(key)
        if not asked.label or asked.label not in self._label_map(task):
            raise PromptError(f"class {asked.label[:50]!r} is not in the label map")
        size = (draft.height, draft.width)
        return self.answers.answer(self._pictures.get(draft.image_key), size, asked)

    def accept(self, key: TaskKey, runs: bytes, made: HandedIn, page: str) -> Outcome:
        """Hand in a mask (`annotation/class_runs.py`).

        Raises:
            RecordError: it is not of the picture's size, has unknown classes, or none at all.
            LifelongError, OSError: it was not handed in; send it again.
        """
        task, draft = self._draft(key)
        mask = mask_from_runs(runs, draft.height, draft.width, f"task {key}")
        self._label_map(task).check(mask, f"task {key}")
        if (mask == IGNORE_INDEX).all():
            raise ShapeError(f"task {key}: no pixel has a class; skip it instead")
        with self._alone(key):
            outcome = self._work(task).accept(task, mask, made)
        self._ended(key, task, made, page, outcome, "task.corrected")
        return outcome

    def skip(self, key: TaskKey, reason: str, made: HandedIn, page: str) -> Outcome:
        """Say that a task shall not be annotated, and why.

        Raises:
            LifelongError, OSError: it was not said; send it again.
        """
        task, _ = self._draft(key)
        with self._alone(key):
            outcome = self._work(task).skip(task, reason, made)
        self._ended(key, task, made, page, outcome, "task.skipped", reason=reason)
        return outcome

    # -- what waits --------------------------------------------------------------------------

    def _open_round(self) -> Round | None:
        at_work = [one for one in self._rounds() if one.state is RoundState.ANNOTATING]
        return at_work[-1] if at_work else None

    def _waiting(self) -> list[TaskKey]:
        round_ = self._open_round()
        if round_ is None:
            return []
        with self._listing:
            listed = self._listed
            old = listed is None or self._clock() - listed.at >= _LISTED_SECONDS
            if listed is None or old or listed.number != round_.number:
                listed = self._listing_of(round_)
                with self._lock:
                    self._listed = listed
                    # What ended while others were listed may stand in that list as open.
                    self._finished = {
                        key: at for key, at in self._finished.items() if at >= listed.at
                    }
            return [key for key in listed.waiting if key not in self._finished]

    def _listing_of(self, round_: Round) -> _Listed:
        asked = _asked(round_)
        by_classes: dict[str, list[AnnotationTask]] = {}
        for task in asked:
            by_classes.setdefault(self._label_map(task).digest, []).append(task)
        began = self._clock()
        waiting = [
            key_of(task)
            for group in by_classes.values()
            for task in self._work(group[0]).waiting(group)
        ]
        return _Listed(began, round_.number, tuple(waiting), len(asked))

    def _note_finished(self, key: TaskKey) -> None:
        with self._lock:
            self._finished[key] = self._clock()

    # -- one task ----------------------------------------------------------------------------

    def _open(self, key: TaskKey, by: str) -> Given | None:
        task, draft = self._draft(key)
        opened = self._work(task).open(task, by)
        if opened is None:
            return None
        if opened.mask.shape != (draft.height, draft.width):
            raise ShapeError(f"{task.draft_key}: not of the size that its record says")
        return Given(key=key, draft=draft, opened=opened, label_map=self._label_map(task))

    def _draft(self, key: TaskKey) -> tuple[AnnotationTask, PreAnnotation]:
        round_ = self._open_round()
        task = next((one for one in _asked(round_) if key_of(one) == key), None) if round_ else None
        if round_ is not None and task is not None:
            for draft in round_.drafts:
                if draft.sample_id == task.sample_id:
                    return task, draft
        raise ObjectNotFoundError(f"no task {key[:60]!r} waits for people any more")

    def _label_map(self, task: AnnotationTask) -> LabelMap:
        return self._history.map_of(task.label_map_digest, f"task {key_of(task)}")

    def _work(self, task: AnnotationTask) -> Work:
        label_map = self._label_map(task)
        found = self._works.get(label_map.digest)
        if found is None:  # without the lock: who opens it may wait for Label Studio
            made = self._work_of(label_map)
            with self._lock:
                found = self._works.setdefault(label_map.digest, made)
        return found

    def _alone(self, key: TaskKey) -> threading.Lock:
        """The same work sent twice at once is handed in once after the other."""
        with self._lock:
            return self._handing.setdefault(key, threading.Lock())

    def _ended(
        self,
        key: TaskKey,
        task: AnnotationTask,
        made: HandedIn,
        page: str,
        outcome: Outcome,
        event: str,
        reason: str = "",
    ) -> None:
        self._note_finished(key)
        self._theirs.add(made.by, key)
        self._leases.release(page)
        if outcome is Outcome.TAKEN:
            self._journal.event(
                event,
                sample_id=task.sample_id,
                round_number=task.round_number,
                task_id=task.task_id,
                by=made.by,
                submission=made.submission,
                seconds=round(made.seconds, 3),
                reason=reason,
            )

    def _expect(self, key: TaskKey) -> None:
        """Have the model look at this picture before somebody clicks, and at the next one."""
        if self.answers is None:
            return
        listed = self._listed.waiting if self._listed else ()
        after = listed[listed.index(key) + 1 :][:1] if key in listed else ()
        self.answers.expect(self._readable((key, *after)))

    def _readable(self, keys: Sequence[TaskKey]) -> Iterator[StoredPicture]:
        """Pictures read one by one, when the model has time for them."""
        for key in keys:
            try:
                yield self.picture(key)
            except LifelongError as error:
                logger.info("the picture of task %s is not prepared: %s", key, error)


def key_of(task: AnnotationTask) -> TaskKey:
    """The name of a task in addresses."""
    return TaskKey(f"{task.round_number}-{task.sample_id}")


def _asked(round_: Round) -> list[AnnotationTask]:
    """The tasks that ask a person and have a draft."""
    return [task for task in round_.tasks if not task.asks_nobody and task.draft_key]
