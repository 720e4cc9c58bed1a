"""The gate: may this candidate replace the incumbent, and if not, why not?"""

import math
from collections.abc import Iterable, Iterator, Sequence

from lifelong.config import GateSection
from lifelong.records.model_versions import EvaluationReport, GateDecision, TaskResult

# A model that answers at random has an mIoU of about 1/(2C - 1) when the C classes are equally
# common, and less when they are not: half of what a first model must show.
_TIMES_CHANCE = 2.0


def decide(
    candidate: EvaluationReport,
    incumbent: EvaluationReport | None,
    rules: GateSection,
    *,
    earlier: Sequence[str],
) -> GateDecision:
    """Accept a candidate that is whole, forgets nothing that matters, and gains; else refuse.

    Args:
        incumbent: the deployed model on the same hold-outs; None when nothing is deployed yet.
        earlier: learning tasks known before this round; each must have been examined.
    """
    reasons = [*_unexamined(candidate, incumbent, earlier), *_not_numbers(candidate, "candidate")]
    if incumbent is not None:
        reasons += _not_numbers(incumbent, "incumbent")  # NaN would make every comparison pass
    if not reasons:
        if incumbent is None:
            reasons = [*_no_better_than_chance(candidate)]
        else:
            reasons = [
                *_forgotten(candidate, incumbent, rules, earlier),
                *_dropped_classes(candidate, incumbent, rules),
                *_too_little_gain(candidate, incumbent, rules),
            ]
    return GateDecision(
        version_id=candidate.version_id,
        incumbent=incumbent.version_id if incumbent is not None else None,
        accepted=not reasons,
        reasons=tuple(reasons),
        notes=tuple(_notes(candidate, incumbent)),
    )


def _unexamined(
    candidate: EvaluationReport, incumbent: EvaluationReport | None, earlier: Sequence[str]
) -> Iterator[str]:
    if not candidate.tasks:
        yield "there is no hold-out to examine the candidate on"
    expected = [*earlier, *(incumbent.tasks if incumbent is not None else ())]
    for task in dict.fromkeys(expected):
        if task not in candidate.tasks:
            yield f"{task}: known before, but the candidate was not examined on it"
    for task in candidate.tasks:
        if incumbent is not None and task not in incumbent.tasks:
            yield f"{task}: the incumbent was not examined on it, so nothing can be compared"
    for task, result in candidate.tasks.items():
        if result.images < 1:
            yield f"{task}: its hold-out has no images"


def _not_numbers(report: EvaluationReport, whose: str) -> Iterator[str]:
    for task, result in report.tasks.items():
        values = {"mIoU": result.miou, "pixel accuracy": result.pixel_accuracy, **result.iou}
        broken = [name for name, value in values.items() if not 0.0 <= value <= 1.0]
        if broken:
            yield f"{task}: the {whose}'s {', '.join(broken)} is not a number from 0 to 1"


def _no_better_than_chance(candidate: EvaluationReport) -> Iterator[str]:
    for task, result in candidate.tasks.items():
        needed = min(0.5, _TIMES_CHANCE * chance_miou(max(1, len(result.iou))))
        if result.miou < needed:
            yield (
                f"{task}: mIoU {_points(result.miou)} is hardly better than guessing; a first "
                f"model needs {_points(needed)}"
            )


def chance_miou(classes: int) -> float:
    """mIoU of guessing among C equally common classes: 1/(2C - 1).

    A share 1/C² of the pixels is a hit, 2/C - 1/C² the union of a class and its guesses.

    >>> round(chance_miou(2), 4)
    0.3333
    """
    return 1.0 / (2 * classes - 1)


def _forgotten(
    candidate: EvaluationReport,
    incumbent: EvaluationReport,
    rules: GateSection,
    earlier: Sequence[str],
) -> Iterator[str]:
    for task in earlier:
        lost = incumbent.tasks[task].miou - candidate.tasks[task].miou
        if _exceeds(lost, rules.max_forgetting):
            yield (
                f"{task}: forgot {_points(lost)} points of mIoU "
                f"({_points(incumbent.tasks[task].miou)} -> {_points(candidate.tasks[task].miou)}),"
                f" {_points(rules.max_forgetting)} are allowed"
            )


def _dropped_classes(
    candidate: EvaluationReport, incumbent: EvaluationReport, rules: GateSection
) -> Iterator[str]:
    """One reason a learning task and rule, with all its classes, the worst first."""
    for task, before in incumbent.tasks.items():
        after = candidate.tasks[task].iou
        drops: dict[float, list[tuple[float, str]]] = {}
        for name, iou in before.iou.items():
            allowed = _allowed(name, before, rules)
            if _exceeds(iou - after.get(name, 0.0), allowed):
                drops.setdefault(allowed, []).append((iou - after.get(name, 0.0), name))
        for allowed, classes in sorted(drops.items()):
            protected = any(name in rules.protected_classes for _, name in classes)
            kind = "protected class" if protected else "class"
            count = f"a {kind} drops" if len(classes) == 1 else f"{len(classes)} {kind}es drop"
            told = ", ".join(
                f"{name} {_points(before.iou[name])} -> {_points(after.get(name, 0.0))}"
                for _, name in sorted(classes, reverse=True)
            )
            yield f"{task}: {count} by more than {_points(allowed)} points of IoU: {told}"


def _allowed(name: str, before: TaskResult, rules: GateSection) -> float:
    if name in rules.protected_classes:
        return rules.max_protected_drop
    # A report that does not say in how many images a class occurs is taken at its word.
    seen = before.class_images.get(name, before.images) if before.class_images else None
    if seen is not None and seen < rules.min_class_images:
        return 1.0
    return rules.max_class_drop


def _too_little_gain(
    candidate: EvaluationReport, incumbent: EvaluationReport, rules: GateSection
) -> Iterator[str]:
    before, after = _mean_miou(incumbent.tasks.values()), _mean_miou(candidate.tasks.values())
    # A gain of exactly `min_gain` is enough, but a model that changes nothing is not worth one;
    # who sets a loss as the least gain wants it nevertheless.
    if after - before < rules.min_gain or (rules.min_gain >= 0 and after <= before):
        yield (
            f"no gain: mean mIoU over {len(candidate.tasks)} learning tasks "
            f"{_points(before)} -> {_points(after)}, needs more than "
            f"{_points(before + rules.min_gain)}"
        )


def _notes(candidate: EvaluationReport, incumbent: EvaluationReport | None) -> Iterator[str]:
    for task, after in candidate.tasks.items():
        before = incumbent.tasks.get(task) if incumbent is not None else None
        if before is None:
            yield f"{task}: mIoU {_points(after.miou)} on {after.images} images"
        else:
            change = after.miou - before.miou
            yield (
                f"{task}: mIoU {_points(before.miou)} -> {_points(after.miou)} "
                f"({100 * change:+.1f} points) on {after.images} images"
            )


def _mean_miou(results: Iterable[TaskResult]) -> float:
    values = [result.miou for result in results]
    return sum(values) / len(values) if values else math.nan


def _exceeds(lost: float, allowed: float) -> bool:
    # 0.61 - 0.60 is 0.010000000000000009: what is exactly allowed must pass.
    return lost > allowed + 1e-9


def _points(share: float) -> str:
    """0.613 as 61.3: IoU in the points people speak of."""
    return f"{100 * share:.1f}"
