"""What chance allows between two reports on the same pictures: intervals where counts are kept."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lifelong.errors import CorruptRecordError
from lifelong.judging.confidence_intervals import (
    Bootstrap,
    Counts,
    Interval,
    class_gains,
    mean_gain,
)
from lifelong.judging.picture_counts import paired_counts
from lifelong.records.model_versions import EvaluationReport, TaskResult
from lifelong.sections.gate import GateSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Intervals of what changed on one hold-out; empty where `why_none` says why."""

    gain: Interval | None = None  # of mIoU
    classes: Mapping[str, Interval] = field(default_factory=dict)  # of IoU, by class name
    why_none: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Intervals of everything that changed between two models."""

    mean_gain: Interval | None  # of the mean mIoU; None when a hold-out has no interval
    tasks: Mapping[str, Evidence]  # by learning task


def compare(before: EvaluationReport, after: EvaluationReport, rules: GateSection) -> Comparison:
    """Intervals of the gains on the hold-outs that both models were examined on."""
    how = Bootstrap(confidence=rules.confidence, block=rules.block_pictures)
    evidence: dict[str, Evidence] = {}
    pairs: list[tuple[Counts, Counts]] = []
    for task in sorted(after.tasks):  # in an order that hangs on no report
        if task in before.tasks:
            evidence[task], pair = _evidence(before.tasks[task], after.tasks[task], how)
            pairs += [pair] if pair else []
    complete = bool(pairs) and len(pairs) == len(evidence)
    return Comparison(mean_gain=mean_gain(pairs, how) if complete else None, tasks=evidence)


def _evidence(
    before: TaskResult, after: TaskResult, how: Bootstrap
) -> tuple[Evidence, tuple[Counts, Counts] | None]:
    """Intervals of one hold-out, and the counts they come from."""
    if before.counts is None or after.counts is None:
        return Evidence(why_none="a report has no counts by picture"), None
    try:
        paired = paired_counts(before.counts, after.counts)
    except CorruptRecordError as error:
        return Evidence(why_none=str(error)), None
    if paired is None:
        return Evidence(why_none="the two were not examined on the same pictures"), None
    names, one, other = paired
    if len(one) < 2:
        return Evidence(why_none="one picture has no scatter"), None
    gain = mean_gain([(one, other)], how)
    if not math.isclose(gain.value, after.miou - before.miou, abs_tol=1e-6):
        return Evidence(why_none="the counts do not add up to the reported mIoU"), None
    classes = class_gains(one, other, how)
    known = {name: found for name, found in zip(names, classes, strict=True) if found}
    return Evidence(gain=gain, classes=known), (one, other)
