"""Requests to forget: planned, written down, carried out by whoever holds the lease.

A request lies in `forgetting/` from before the first removal until after the last one, so that a
crash at any point is finished by the next `finish`: the service looks at every turn, and
`cornerloop kb forget` does so itself when no service runs. Only the holder of the lease carries
requests out; rounds, index and log have no other writer then that could bring something back.

The order: log (nothing is offered any more), tombstones (nothing comes in again), rounds, Label
Studio, Dataset, storage, names, request.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cloud.admissions import tell_forgotten
from cloud.knowledge.forget_names import blot_journals, blot_storage, blotted_round
from cloud.knowledge.forget_scope import samples_of, tasks_of
from cloud.knowledge.forget_sweep import sweep_dataset, sweep_rounds, sweep_storage
from cloud.rounds import Rounds
from lifelong.config import JobSection
from lifelong.errors import LabelStudioUnavailableError, StorageUnavailableError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.forget_requests import ForgetRequest, Scope, StudioTaskOf, Tombstone
from lifelong.records.ids import SampleId
from lifelong.records.keys import FORGETTING, forgotten_key
from lifelong.records.wire import from_json, to_json

logger = logging.getLogger(__name__)


class Removal(Protocol):
    """Where people work: `annotation/task_removal.py`."""

    def remove(self, tasks: Sequence[StudioTaskOf]) -> list[StudioTaskOf]:
        """Remove tasks; returns those that stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What carrying out a request removed."""

    request_id: str
    scope: Scope
    samples: tuple[SampleId, ...]
    removed: dict[str, int] = field(default_factory=dict)  # what -> how many
    tasks_left: tuple[StudioTaskOf, ...] = ()  # to be deleted by hand
    is_finished: bool = True  # False: Label Studio is away; the rest is done
    note: str = ""


class Forgetting:
    """Plans requests and carries them out; every call may be repeated."""

    def __init__(
        self,
        *,
        storage: Storage,
        kb: KnowledgeBase,
        rounds: Rounds,
        job: JobSection,
        journal: Journal,
        journal_path: Path,
        removal: Callable[[], Removal | None],
        now: Callable[[], datetime],
        request_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """
        Args:
            removal: opens the place where people work; None: there is none to be reached, ever.
        """
        self._storage = storage
        self._kb = kb
        self._rounds = rounds
        self._job = job
        self._journal = journal
        self._journal_path = journal_path
        self._removal = removal
        self._now = now
        self._request_id = request_id

    def plan(self, scope: Scope, name: str, value: str = "") -> ForgetRequest:
        """What would be forgotten; nothing is written."""
        self._kb.refresh()
        rounds = self._rounds.all()
        samples = samples_of(scope, name, value, kb=self._kb, storage=self._storage, rounds=rounds)
        return ForgetRequest(
            request_id=self._request_id(),
            scope=scope,
            name=name,
            value=value,
            samples=samples,
            tasks=tasks_of(samples, rounds),
            asked_at=self._now(),
        )

    def ask(self, request: ForgetRequest) -> None:
        """Write a request down; from here on it will be carried out."""
        self._storage.put(_key(request.request_id), to_json(request))

    def open_requests(self) -> list[ForgetRequest]:
        """Requests that are not carried out yet."""
        keys = list(self._storage.keys(FORGETTING))
        return [from_json(ForgetRequest, self._storage.get(key), key) for key in keys]

    def finish(self) -> list[Done]:
        """Carry out every open request; one listing when there is none.

        Only for the holder of the lease.

        Raises:
            StorageError: something could not be removed; call again.
        """
        try:
            return [self._carried_out(self._grown(request)) for request in self.open_requests()]
        except OSError as error:
            raise StorageUnavailableError(
                f"a request to forget is not finished: {error}; it is tried again"
            ) from error

    def _grown(self, request: ForgetRequest) -> ForgetRequest:
        """The request with what has come in since it was asked for."""
        now = self.plan(request.scope, request.name, request.value)
        samples = tuple(sorted({*request.samples, *now.samples}))
        known = {(task.project_id, task.task_id) for task in request.tasks}
        more = tuple(
            task
            for task in tasks_of(samples, self._rounds.all())
            if (task.project_id, task.task_id) not in known
        )
        grown = replace(request, samples=samples, tasks=(*request.tasks, *more))
        if grown != request:
            self.ask(grown)
        return grown

    def _carried_out(self, request: ForgetRequest) -> Done:
        samples, removed = request.samples, dict[str, int]()
        if samples:
            removed["log entries"] = self._kb.forget(request, self._now())
            for sample_id in samples:
                stone = Tombstone(sample_id=sample_id, at=self._now())
                self._storage.put(forgotten_key(sample_id), to_json(stone))
            tell_forgotten(self._storage, samples)
            removed["rounds"] = sweep_rounds(self._rounds, samples)
        left, note, is_away = self._tasks_removed(request)
        removed["tasks"] = len(request.tasks) - len(left)
        folder = self._job.dataset_path
        removed["dataset files"] = sweep_dataset(folder, self._job.index, samples)
        edge = request.name if request.scope == "device" else ""
        removed["objects"] = sweep_storage(self._storage, samples, edge)
        if request.scope == "annotator":
            removed["names"] = self._names_blotted(request.name)
        if not is_away:
            self._storage.delete(_key(request.request_id))
        # Who asked, and about whom, is not written down: only how much went.
        self._journal.event(
            "samples.forgotten", scope=request.scope, samples=len(samples), removed=dict(removed)
        )
        return Done(
            request_id=request.request_id,
            scope=request.scope,
            samples=samples,
            removed=removed,
            tasks_left=tuple(left),
            is_finished=not is_away,
            note=note,
        )

    def _tasks_removed(self, request: ForgetRequest) -> tuple[Sequence[StudioTaskOf], str, bool]:
        """What is left, why, and whether to try again."""
        if not request.tasks:
            return (), "", False
        removal = self._removal()
        if removal is None:
            note = "no Label Studio is configured here: delete its tasks by hand"
            return request.tasks, note, False
        try:
            left = removal.remove(request.tasks)
        except LabelStudioUnavailableError as error:
            return request.tasks, f"{error}; the request stays open and is tried again", True
        return left, "Label Studio refused to delete some tasks" if left else "", False

    def _names_blotted(self, name: str) -> int:
        changed = blot_storage(self._storage, name)
        for round_ in self._rounds.all():
            left = blotted_round(round_, name)
            if left is not round_:
                self._rounds.save(left)
                changed += 1
        return changed + blot_journals(self._journal_path, name)


def _key(request_id: str) -> str:
    return f"{FORGETTING}/{request_id}.json"
