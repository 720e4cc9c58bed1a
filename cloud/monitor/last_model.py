"""Did the last model help? Before and after on every learning task, what got worse, and why.

The last model is the newest candidate that was examined, released or refused. A refused one runs
nowhere: what its figures are worth is told together with what still runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloud.monitor.learning_facts import course
from cloud.monitor.look import Look
from cloud.monitor.rounds_facts import TaskMiou, examination_of, task_mious
from lifelong.forgetting import accuracy_matrix, backward_transfer_by_row
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.model_versions import EvaluationReport, Release
from lifelong.records.rounds import Round, RoundState

SHOWN_ROUNDS = 40  # of the small chart


@dataclass(frozen=True, slots=True, kw_only=True)
class LastModel:
    """The newest examined candidate beside the model that ran before it."""

    round_number: RoundNumber
    candidate: VersionId
    accepted: bool | None  # None: examined, and its round has not taken note yet
    tasks: tuple[TaskMiou, ...]
    mean: TaskMiou | None  # over the tasks that both were examined on
    backward: float | None  # BWT, -1 .. 1; None: fewer than two tasks, or one was not measured
    reasons: tuple[str, ...]  # of the verdict; empty when accepted
    notes: tuple[str, ...]  # what was gained and lost, in words
    running: Release | None  # what everybody is to run now

    @property
    def worse(self) -> tuple[TaskMiou, ...]:
        """Learning tasks that it does worse on, the worst first."""
        found = [one for one in self.tasks if one.change is not None and one.change < 0]
        return tuple(sorted(found, key=lambda one: one.change or 0.0))

    @property
    def better(self) -> tuple[TaskMiou, ...]:
        """Learning tasks that it does better on, the best first."""
        found = [one for one in self.tasks if one.change is not None and one.change > 0]
        return tuple(sorted(found, key=lambda one: -(one.change or 0.0)))

    @property
    def is_running(self) -> bool:
        """Is it what everybody is to run?"""
        return self.running is not None and self.running.version_id == self.candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRound:
    """A round whose candidate was examined, for a chart."""

    number: RoundNumber
    released: bool
    mious: Mapping[str, float]  # of what ran after it, by learning task

    @property
    def mean(self) -> float | None:
        """Over all learning tasks; None: nothing was measured."""
        return sum(self.mious.values()) / len(self.mious) if self.mious else None


def last_model(look: Look) -> LastModel | None:
    """None: no candidate was examined yet. A fact."""
    for round_ in reversed(look.rounds):
        examination = examination_of(round_, look)
        if examination is None:
            continue
        tasks = task_mious(examination)
        return LastModel(
            round_number=round_.number,
            candidate=examination.candidate.version_id,
            accepted=round_.decision.accepted if round_.decision else None,
            tasks=tasks,
            mean=mean_of(tasks),
            backward=backward_of(look, examination.candidate),
            reasons=examination.decision.reasons,
            notes=examination.decision.notes,
            running=look.current,
        )
    return None


def mean_of(tasks: Sequence[TaskMiou]) -> TaskMiou | None:
    """Over the learning tasks that both were examined on; None without any."""
    both = [(one.before, one.after) for one in tasks if one.before is not None]
    if not both:
        return None
    before, after = zip(*both, strict=True)
    count = len(both)
    name = "mean of all" if count == len(tasks) else f"mean of {count}"
    return TaskMiou(task=name, before=sum(before) / count, after=sum(after) / count)


def last_failure(look: Look) -> Round | None:
    """The newest round, when it failed after the last examined candidate; a fact."""
    for round_ in reversed(look.rounds):
        if round_.state is RoundState.FAILED:
            return round_
        if examination_of(round_, look) is not None:
            return None
    return None


def backward_of(look: Look, report: EvaluationReport) -> float | None:
    """BWT of the model that `report` is about, over what was deployed, as `/learning` tells it.

    A candidate that was not deployed is judged as if it were the next row of R.
    """
    found = look.fact(course)
    if found.rows and found.rows[-1].version_id == report.version_id:
        return found.backward[-1]
    if not found.tasks:
        return None
    row = accuracy_matrix([_mious(report)], found.tasks)
    value = float(backward_transfer_by_row(np.vstack([found.matrix, row]), found.learned)[-1])
    return None if math.isnan(value) else value


def judged_rounds(look: Look) -> Sequence[JudgedRound]:
    """The newest SHOWN_ROUNDS rounds whose candidates were examined, oldest first; a fact."""
    found: list[JudgedRound] = []
    for round_ in reversed(look.rounds):
        examination = examination_of(round_, look)
        if examination is None:
            continue
        released = round_.state is RoundState.RELEASED
        runs = examination.candidate if released else examination.incumbent
        found.append(JudgedRound(number=round_.number, released=released, mious=_mious(runs)))
        if len(found) == SHOWN_ROUNDS:
            break
    return found[::-1]


def _mious(report: EvaluationReport | None) -> dict[str, float]:
    return {task: result.miou for task, result in report.tasks.items()} if report else {}
