"""The gate: may this candidate replace the incumbent, and if not, why not?

Both models sit the same examination, so what is judged is a difference with an interval
(`judging/paired_evidence.py`). A loss counts when chance does not explain it; a gain counts when
chance cannot turn it into a loss that matters. Where reports have no counts by picture, plain
values are judged, and the notes say so.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from lifelong.judging.confidence_intervals import Interval
from lifelong.judging.gate_faults import chance_miou, faults
from lifelong.judging.paired_evidence import Comparison, Evidence, compare
from lifelong.records.ids import VersionId
from lifelong.records.model_versions import EvaluationReport, GateDecision, TaskResult
from lifelong.sections.gate import GateSection

# A model that answers at random has an mIoU of about 1/(2C - 1) when the C classes are equally
# common, and less when they are not: half of what a first model must show.
_TIMES_CHANCE = 2.0

# Chance excuses a loss up to so many times what is allowed: a hold-out of four pictures, whose
# interval holds everything, must not let a model pass that has lost a class.
_EXCUSED = 2.0


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
    found = Comparison(mean_gain=None, tasks={})
    if not reasons:
        if incumbent is None:
            reasons = [*_no_better_than_chance(candidate)]
        else:
            found = compare(incumbent, candidate, rules)
            reasons = [
                *_forgotten(candidate, incumbent, rules, earlier, found),
                *_dropped_classes(candidate, incumbent, rules, found),
                *_too_little_gain(candidate, incumbent, rules, found),
            ]
        if reasons:  # what went wrong comes before what it did
            reasons = [*faults(candidate, incumbent), *reasons]
    return GateDecision(
        version_id=candidate.version_id,
        incumbent=incumbent.version_id if incumbent is not None else None,
        accepted=not reasons,
        reasons=tuple(reasons),
        notes=tuple(_notes(candidate, incumbent, rules, found)),
    )


def refuse(
    version_id: VersionId, incumbent: VersionId | None, reasons: Sequence[str]
) -> GateDecision:
    """The decision on a candidate that could not be examined at all."""
    return GateDecision(
        version_id=version_id, incumbent=incumbent, accepted=False, reasons=tuple(reasons)
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


def _forgotten(
    candidate: EvaluationReport,
    incumbent: EvaluationReport,
    rules: GateSection,
    earlier: Sequence[str],
    found: Comparison,
) -> Iterator[str]:
    for task in earlier:
        before, after = incumbent.tasks[task].miou, candidate.tasks[task].miou
        gain = found.tasks[task].gain
        if _is_loss(before - after, gain, rules.max_forgetting):
            yield (
                f"{task}: forgot {_points(before - after)} points of mIoU "
                f"({_points(before)} -> {_points(after)}{_range(_turned(gain), rules)}), "
                f"{_points(rules.max_forgetting)} are allowed"
                f"{_excuse(before - after, gain, rules.max_forgetting)}"
            )


def _dropped_classes(
    candidate: EvaluationReport,
    incumbent: EvaluationReport,
    rules: GateSection,
    found: Comparison,
) -> Iterator[str]:
    """One reason a learning task and rule, with all its classes, the worst first."""
    for task, before in incumbent.tasks.items():
        after, evidence = candidate.tasks[task].iou, found.tasks[task]
        drops: dict[float, list[tuple[float, str]]] = {}
        for name, iou in before.iou.items():
            allowed, lost = _allowed(name, before, rules), iou - after.get(name, 0.0)
            if _is_loss(lost, _of_class(name, before, evidence, rules), allowed):
                drops.setdefault(allowed, []).append((lost, name))
        for allowed, classes in sorted(drops.items()):
            protected = any(name in rules.protected_classes for _, name in classes)
            kind = "protected class" if protected else "class"
            count = f"a {kind} drops" if len(classes) == 1 else f"{len(classes)} {kind}es drop"
            told = ", ".join(
                f"{name} {_points(before.iou[name])} -> {_points(after.get(name, 0.0))}"
                + _loss_of(_of_class(name, before, evidence, rules))
                for _, name in sorted(classes, reverse=True)
            )
            yield f"{task}: {count} by more than {_points(allowed)} points of IoU: {told}"


def _allowed(name: str, before: TaskResult, rules: GateSection) -> float:
    if name in rules.protected_classes:
        return rules.max_protected_drop
    seen = _seen(name, before)
    return 1.0 if seen is not None and seen < rules.min_class_images else rules.max_class_drop


def _seen(name: str, before: TaskResult) -> int | None:
    """In how many images a class occurs; None when the report does not say."""
    return before.class_images.get(name, before.images) if before.class_images else None


def _of_class(
    name: str, before: TaskResult, evidence: Evidence, rules: GateSection
) -> Interval | None:
    """A class's interval, when enough images show the class to give it one worth believing."""
    seen = _seen(name, before)
    if seen is not None and seen < rules.min_class_images:
        return None
    return evidence.classes.get(name)


def _too_little_gain(
    candidate: EvaluationReport,
    incumbent: EvaluationReport,
    rules: GateSection,
    found: Comparison,
) -> Iterator[str]:
    before, after = _mean_miou(incumbent.tasks.values()), _mean_miou(candidate.tasks.values())
    told = f"mean mIoU over {len(candidate.tasks)} learning tasks {_points(before)} -> "
    told += _points(after)
    # A gain of exactly `min_gain` is enough, but a model that changes nothing is not worth one;
    # who sets a loss as the least gain wants it nevertheless.
    if after - before < rules.min_gain or (rules.min_gain >= 0 and after <= before):
        yield (
            f"no gain: {told}{_range(found.mean_gain, rules, signed=True)}, needs more than "
            f"{_points(before + rules.min_gain)}"
        )
        return
    least = min(rules.min_gain, 0.0) - rules.max_doubtful_loss
    if found.mean_gain is not None and _exceeds(least, found.mean_gain.low):
        yield (
            f"no sure gain: {told}{_range(found.mean_gain, rules, signed=True)}; it may be a loss "
            f"of more than {_points(-least)} points, and more hold-out pictures would tell"
        )


def _notes(
    candidate: EvaluationReport,
    incumbent: EvaluationReport | None,
    rules: GateSection,
    found: Comparison,
) -> Iterator[str]:
    for task, after in candidate.tasks.items():
        before = incumbent.tasks.get(task) if incumbent is not None else None
        if before is None:
            yield f"{task}: mIoU {_points(after.miou)} on {after.images} images"
            continue
        evidence = found.tasks.get(task, Evidence())
        change = after.miou - before.miou
        yield (
            f"{task}: mIoU {_points(before.miou)} -> {_points(after.miou)} ({100 * change:+.1f} "
            f"points{_range(evidence.gain, rules, signed=True)}) on {after.images} images"
        )
        if evidence.why_none:
            yield f"{task}: judged by plain values, without an interval: {evidence.why_none}"
        yield from _excused(task, before, after, rules, evidence)
    if found.mean_gain is not None and len(found.tasks) > 1:
        yield (
            f"mean over {len(found.tasks)} learning tasks: {100 * found.mean_gain.value:+.1f} "
            f"points{_range(found.mean_gain, rules, signed=True)}"
        )


def _excused(
    task: str, before: TaskResult, after: TaskResult, rules: GateSection, evidence: Evidence
) -> Iterator[str]:
    """Classes that lost more than is allowed, and that chance excuses."""
    waver = []
    for name, iou in before.iou.items():
        lost, allowed = iou - after.iou.get(name, 0.0), _allowed(name, before, rules)
        interval = _of_class(name, before, evidence, rules)
        if _exceeds(lost, allowed) and not _is_loss(lost, interval, allowed):
            waver.append(f"{name} {_points(lost)}{_loss_of(interval)}")
    if waver:
        yield f"{task}: losses over the limit that chance may explain: {', '.join(waver)}"


def _is_loss(lost: float, gain: Interval | None, allowed: float) -> bool:
    """Is more lost than is allowed? With an interval: surely, or twice as much."""
    if gain is None:
        return _exceeds(lost, allowed)
    return _exceeds(-gain.high, allowed) or _exceeds(lost, _EXCUSED * allowed)


def _excuse(lost: float, gain: Interval | None, allowed: float) -> str:
    if gain is None or _exceeds(-gain.high, allowed):
        return ""
    return f", and chance excuses no more than {_points(_EXCUSED * allowed)}"


def _turned(gain: Interval | None) -> Interval | None:
    return Interval(-gain.value, -gain.high, -gain.low) if gain is not None else None


def _range(interval: Interval | None, rules: GateSection, *, signed: bool = False) -> str:
    """` , 1.0 to 3.0 with 95 % confidence`; nothing without an interval."""
    if interval is None:
        return ""
    form = "+.1f" if signed else ".1f"
    return (
        f", {100 * interval.low:{form}} to {100 * interval.high:{form}} with "
        f"{100 * rules.confidence:g} % confidence"
    )


def _loss_of(gain: Interval | None) -> str:
    """` (-3.1 to +0.2)`: the interval of a class's change."""
    return f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})" if gain is not None else ""


def _mean_miou(results: Iterable[TaskResult]) -> float:
    values = [result.miou for result in results]
    return sum(values) / len(values) if values else math.nan


def _exceeds(lost: float, allowed: float) -> bool:
    # 0.61 - 0.60 is 0.010000000000000009: what is exactly allowed must pass.
    return lost > allowed + 1e-9


def _points(share: float) -> str:
    """0.613 as 61.3: IoU in the points people speak of."""
    return f"{100 * share:.1f}"
