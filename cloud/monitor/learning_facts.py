"""What the loop has learned and forgotten: the accuracy matrix, figures made of it, the gate.

Formulas are in `lifelong/forgetting.py`. A figure that cannot be computed is None, never a guess.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud.monitor.look import Look
from cloud.monitor.rollback_effect import newest_reports, previous_release, reports_of_both
from lifelong.forgetting import (
    accuracy_matrix,
    backward_transfer_by_row,
    forgetting_by_row,
)
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.model_versions import EvaluationReport, Release
from lifelong.records.rounds import Round, RoundState

_NEVER = -1  # row of a task that no deployed model has learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One row of R: a model that came to the fleet, and how it was examined."""

    round_number: RoundNumber | None  # None: it was there before the first examined round
    version_id: VersionId
    mious: Mapping[str, float]  # by learning task, 0 .. 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """R and what is made of it, row by row."""

    tasks: tuple[str, ...]  # columns, in the order in which they were met
    rows: tuple[Deployed, ...]  # oldest first
    matrix: NDArray[np.float64]  # (rows, tasks), NaN where nothing was measured
    learned: tuple[int, ...]  # by task: the row that had learned it first; -1: none
    accuracy: tuple[float | None, ...]  # mean over the tasks that the row was examined on
    backward: tuple[float | None, ...]  # BWT after each row
    forgetting: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCourse:
    """One learning task over all rows; mIoU 0 .. 1."""

    task: str
    learned_in: RoundNumber | None  # None: with the first model, or not yet; see `is_learned`
    is_learned: bool  # some deployed model has trained on it
    before: float | None  # of the row before it was learned: what FWT compares
    when_learned: float | None
    best: float | None
    best_in: RoundNumber | None
    now: float | None
    forgotten: float | None  # best of the rows before the last one, less now


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassNow:
    """One class of the model that everybody is to run; IoU 0 .. 1."""

    name: str
    mean: float | None  # over the hold-outs that show it
    change: float | None  # of that mean since the release before, where both show it
    by_task: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Per-class IoU of what runs, beside what ran before."""

    current: Release | None
    before: Release | None
    tasks: tuple[str, ...]
    classes: tuple[ClassNow, ...]  # the weakest first
    same_examination: bool  # both figures are of the same pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A round that came to a verdict, or to none."""

    round: Round
    change: float | None  # of mean mIoU against the incumbent, over the tasks both sat
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What the gate said, round by round and counted."""

    rounds: tuple[Judged, ...]  # oldest first
    accepted: int
    refused: int
    failed: int  # never came before the gate
    reasons: tuple[tuple[str, int, RoundNumber], ...]  # kind, rounds, the newest of them


def course(look: Look) -> Course:
    """R over everything that was deployed; a fact."""
    rows = _deployed(look)
    met = dict.fromkeys(task for row in rows for task in row.mious)
    learned = _learned_rows(look, rows, met)
    # Learned ones in their order, then those that were only measured.
    tasks = sorted(met, key=lambda task: (learned[task] == _NEVER, learned[task]))
    matrix = accuracy_matrix([row.mious for row in rows], tasks).reshape(len(rows), len(tasks))
    first = [learned[task] for task in tasks]
    return Course(
        tasks=tuple(tasks),
        rows=tuple(rows),
        matrix=matrix,
        learned=tuple(first),
        accuracy=tuple(_mean([*row.mious.values()]) for row in rows),
        backward=_told(backward_transfer_by_row(matrix, first)),
        forgetting=_told(forgetting_by_row(matrix, first)),
    )


def task_courses(look: Look) -> Sequence[TaskCourse]:
    """Each learning task from before it was learned until now; a fact."""
    found = look.fact(course)
    told = []
    for i, task in enumerate(found.tasks):
        column, row = found.matrix[:, i], found.learned[i]
        best = int(np.nanargmax(column))
        earlier = column[:-1][np.isfinite(column[:-1])]
        is_past = 0 <= row < len(column) - 1
        now = _number(column[-1])
        told.append(
            TaskCourse(
                task=task,
                learned_in=found.rows[row].round_number if row >= 0 else None,
                is_learned=row >= 0,
                before=_number(column[row - 1]) if row > 0 else None,
                when_learned=_number(column[row]) if row >= 0 else None,
                best=_number(column[best]),
                best_in=found.rows[best].round_number,
                now=now,
                forgotten=float(earlier.max()) - now
                if is_past and earlier.size and now is not None
                else None,
            )
        )
    return told


def released_reports(look: Look) -> Sequence[tuple[Release, EvaluationReport | None]]:
    """Every release with its model's own examination, oldest first; a fact."""
    seen_beside = look.fact(newest_reports)
    found: list[tuple[Release, EvaluationReport | None]] = []
    for release in look.releases:
        own = look.examinations.get(release.version_id)
        report = own.candidate if own else seen_beside.get(release.version_id)
        found.append((release, report))
    return found


def classes_now(look: Look) -> Classes:
    """IoU of each class, of what everybody is to run and of what ran before; a fact."""
    current, before = look.current, previous_release(look)
    now: EvaluationReport | None = None
    then: EvaluationReport | None = None
    is_same = False
    if current and before:
        pair = reports_of_both(look, current.version_id, before.version_id)
        now, then, is_same = pair
    elif current:
        now = look.fact(newest_reports).get(current.version_id)
    names = dict.fromkeys(name for r in (now.tasks.values() if now else ()) for name in r.iou)
    found = [_class_now(name, now, then) for name in names]
    return Classes(
        current=current,
        before=before,
        tasks=tuple(now.tasks) if now else (),
        classes=tuple(sorted(found, key=lambda one: (one.mean is None, one.mean or 0.0))),
        same_examination=is_same,
    )


def verdicts(look: Look) -> Verdicts:
    """What became of every round that is over or was judged; a fact."""
    judged = [_judged(look, round_) for round_ in look.rounds if round_.decision or round_.is_over]
    counted: dict[str, tuple[int, RoundNumber]] = {}
    for one in judged:
        for kind in dict.fromkeys(kind_of(reason) for reason in one.reasons):
            counted[kind] = (counted.get(kind, (0,))[0] + 1, one.round.number)
    decisions = [one.round.decision for one in judged if one.round.decision]
    return Verdicts(
        rounds=tuple(judged),
        accepted=sum(decision.accepted for decision in decisions),
        refused=sum(not decision.accepted for decision in decisions),
        failed=sum(one.round.state is RoundState.FAILED for one in judged),
        reasons=tuple(
            (kind, count, newest)
            for kind, (count, newest) in sorted(counted.items(), key=lambda item: -item[1][0])
        ),
    )


_BRACKETS = re.compile(r"\s*\([^()]*\)")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def kind_of(reason: str) -> str:
    """A reason of the gate without its learning task, numbers and names: what is counted.

    >>> kind_of("fog: forgot 9.0 points of mIoU (70.0 -> 61.0), 2.0 are allowed")
    'forgot … points of mIoU, … are allowed'
    >>> kind_of("no gain: mean mIoU over 2 learning tasks 50.0 -> 49.0, needs more than 50.5")
    'no gain'
    """
    head, colon, rest = reason.partition(": ")
    # "task: what happened: details" and "what happened: details" are both said.
    told = rest.partition(": ")[0] if colon and not head.startswith("no ") else head
    return _NUMBER.sub("…", _BRACKETS.sub("", told)).strip() or reason


def _deployed(look: Look) -> list[Deployed]:
    rows: list[Deployed] = []
    for round_ in look.rounds:
        examination = look.examinations.get(round_.candidate) if round_.candidate else None
        if examination is None:
            continue
        if not rows and examination.incumbent is not None:
            rows.append(_row(None, examination.incumbent))
        if round_.state is RoundState.RELEASED:
            rows.append(_row(round_.number, examination.candidate))
    return rows


def _row(number: RoundNumber | None, report: EvaluationReport) -> Deployed:
    mious = {task: result.miou for task, result in report.tasks.items()}
    return Deployed(round_number=number, version_id=report.version_id, mious=mious)


def _learned_rows(
    look: Look, rows: Sequence[Deployed], tasks: Mapping[str, None]
) -> dict[str, int]:
    """By learning task: the first row whose model trained on a sample of it."""
    found = dict.fromkeys(tasks, _NEVER)
    missing = set(tasks)
    for number, row in enumerate(rows):
        if not missing:
            break
        version = look.versions.get(row.version_id)
        for key in version.trained_on if version else ():
            sample = look.samples.get(key)
            if sample is not None and sample.learning_task in missing:
                missing.discard(sample.learning_task)
                found[sample.learning_task] = number
    return found


def _class_now(name: str, now: EvaluationReport | None, then: EvaluationReport | None) -> ClassNow:
    by_task = {t: r.iou[name] for t, r in now.tasks.items() if name in r.iou} if now else {}
    old = {t: r.iou[name] for t, r in then.tasks.items() if name in r.iou} if then else {}
    return ClassNow(
        name=name,
        mean=_mean([*by_task.values()]),
        change=_mean([by_task[task] - old[task] for task in by_task if task in old]),
        by_task=by_task,
    )


def _judged(look: Look, round_: Round) -> Judged:
    examination = look.examinations.get(round_.candidate) if round_.candidate else None
    before = examination.incumbent.tasks if examination and examination.incumbent else {}
    after = examination.candidate.tasks if examination else {}
    reasons = round_.decision.reasons if round_.decision else ()
    return Judged(
        round=round_,
        change=_mean([after[task].miou - before[task].miou for task in after if task in before]),
        reasons=reasons or ((round_.failure,) if round_.failure else ()),
    )


def _told(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(_number(value) for value in values)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
