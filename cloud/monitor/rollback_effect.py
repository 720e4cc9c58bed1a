"""What rolling back would lose and gain: figures, samples, rounds and the nodes that would change.

Everything is counted from records: the reports that examined both models, and which samples each
line of versions has learned. Where a model was never examined on a learning task, it says None.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cloud.monitor.look import Look
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import EvaluationReport, ModelVersion, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEffect:
    """mIoU on one learning task's hold-out, 0 .. 1; None: never examined on it."""

    task: str
    now: float | None  # of what everybody is to run
    then: float | None  # of the version that would come back

    @property
    def change(self) -> float | None:
        """What rolling back would add; negative: lose. None: not both are known."""
        return None if self.now is None or self.then is None else self.then - self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackEffect:
    """What would follow if a version came back."""

    current: VersionId
    target: VersionId
    tasks: tuple[TaskEffect, ...]  # by name
    # Both reports are of one examination, of the same pictures. Else hold-outs may have grown.
    same_examination: bool
    undone_rounds: tuple[RoundNumber, ...]  # whose learning would not run any more
    undone_samples: int  # learned by them, unknown to the version that would come back
    regained_samples: int  # the other way round: known to it and not to what runs
    edges: tuple[EdgeId, ...]  # nodes that run something else than the version
    edges_unknown: int  # nodes that have not said what they run

    @property
    def mean_change(self) -> float | None:
        """Of mIoU over the learning tasks where both are known; None: nowhere."""
        known = [task.change for task in self.tasks if task.change is not None]
        return sum(known) / len(known) if known else None

    @property
    def lost(self) -> tuple[TaskEffect, ...]:
        """Learning tasks that would do worse, the worst first."""
        worse = [task for task in self.tasks if task.change is not None and task.change < 0]
        return tuple(sorted(worse, key=lambda task: task.change or 0.0))

    @property
    def gained(self) -> tuple[TaskEffect, ...]:
        """Learning tasks that would do better, the best first."""
        better = [task for task in self.tasks if task.change is not None and task.change > 0]
        return tuple(sorted(better, key=lambda task: -(task.change or 0.0)))


def previous_release(look: Look) -> Release | None:
    """What everybody ran before what they are to run now first came out; None: nothing.

    After a roll-back this is what came before the version that is back, not what was undone.
    """
    if look.current is None:
        return None
    before: Release | None = None
    for release in look.releases:
        if release.version_id == look.current.version_id:
            break
        if release.share >= 1.0:
            before = release
    return before


def rollback_effect(look: Look, version_id: VersionId) -> RollbackEffect | None:
    """What would change if `version_id` were released again; None: nothing runs that could go.

    Cheap: it walks two lines of versions up to where they meet.
    """
    if look.current is None:
        return None
    current = look.current.version_id
    now, then, is_same = reports_of_both(look, current, version_id)
    undone, regained = _apart(look.versions, current, version_id)
    lost, won = _learned(undone), _learned(regained)
    told = [standing.seen for standing in look.fleet]
    return RollbackEffect(
        current=current,
        target=version_id,
        tasks=tuple(
            TaskEffect(task=task, now=_miou(now, task), then=_miou(then, task))
            for task in sorted({*_tasks(now), *_tasks(then)})
        ),
        same_examination=is_same,
        undone_rounds=tuple(sorted({v.round_number for v in undone if v.round_number})),
        undone_samples=len(lost - won),
        regained_samples=len(won - lost),
        edges=tuple(
            seen.edge_id
            for seen in told
            if seen.health is not None and seen.health.version_id not in {None, version_id}
        ),
        edges_unknown=sum(seen.health is None or seen.health.version_id is None for seen in told),
    )


def previous_rollback(look: Look) -> RollbackEffect | None:
    """`rollback_effect` of the previous release; a fact to ask a look for."""
    release = previous_release(look)
    return rollback_effect(look, release.version_id) if release else None


def newest_reports(look: Look) -> Mapping[VersionId, EvaluationReport]:
    """The last report of each version, as candidate or as the incumbent beside one; a fact."""
    found: dict[VersionId, EvaluationReport] = {}
    for examination in look.examinations.values():
        for report in (examination.candidate, examination.incumbent):
            if report is not None:
                found[report.version_id] = report
    return MappingProxyType(found)


def reports_of_both(
    look: Look, current: VersionId, target: VersionId
) -> tuple[EvaluationReport | None, EvaluationReport | None, bool]:
    """Of both versions, from one examination if there is one."""
    for candidate, other in ((current, target), (target, current)):
        found = look.examinations.get(candidate)
        if found and found.incumbent and found.incumbent.version_id == other:
            pair = (found.candidate, found.incumbent)
            return (*(pair if candidate == current else pair[::-1]), True)
    known = look.fact(newest_reports)
    return known.get(current), known.get(target), current == target


def _apart(
    versions: Mapping[VersionId, ModelVersion], one: VersionId, other: VersionId
) -> tuple[list[ModelVersion], list[ModelVersion]]:
    """The versions of each line that are not of the other one."""
    theirs = _line(versions, other)
    ours = _line(versions, one)
    return (
        [version for key, version in ours.items() if key not in theirs],
        [version for key, version in theirs.items() if key not in ours],
    )


def _line(
    versions: Mapping[VersionId, ModelVersion], version_id: VersionId | None
) -> dict[VersionId, ModelVersion]:
    line: dict[VersionId, ModelVersion] = {}
    while version_id is not None and version_id in versions and version_id not in line:
        line[version_id] = versions[version_id]
        version_id = line[version_id].parent
    return line


def _learned(versions: Iterable[ModelVersion]) -> set[SampleId]:
    return {sample for version in versions for sample in version.trained_on}


def _tasks(report: EvaluationReport | None) -> Iterable[str]:
    return report.tasks if report else ()


def _miou(report: EvaluationReport | None, task: str) -> float | None:
    result = report.tasks.get(task) if report else None
    return result.miou if result else None
