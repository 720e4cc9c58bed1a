"""What a course came to, in the figures of the field, as one JSON-ready object.

Formulas are in `lifelong/forgetting.py`, intervals in `lifelong/judging/confidence_intervals.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cloud.learning.course import Stage
from lifelong.forgetting import (
    accuracy_matrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    ianvs_compatible_bwt,
    ianvs_compatible_fwt,
    plasticity,
)
from lifelong.judging.confidence_intervals import (
    Bootstrap,
    Counts,
    Interval,
    drawn_mious,
    interval_of,
    mean_gain,
    miou_interval,
)
from lifelong.judging.picture_counts import paired_counts, unpacked_counts
from lifelong.records.model_versions import EvaluationReport

# Frames of one film resemble their neighbours, so runs of them are drawn together.
HOW = Bootstrap(block=0)


def figures_of(stages: Sequence[Stage], untrained: EvaluationReport) -> dict[str, Any]:
    """R, ACC, BWT, FWT, forgetting, plasticity, intervals, seconds and labels of a course.

    mIoU and what is made of it are shares, 0 .. 1; null where a figure does not exist (there is
    no transfer between fewer than two domains).

    Args:
        untrained: how a network that has learned nothing sits the same examination.
    """
    names = [stage.domain for stage in stages]
    matrix = accuracy_matrix([_mious(stage.report) for stage in stages], names)
    before = np.array([untrained.tasks[name].miou for name in names])
    with_first_row = np.vstack([before, matrix])
    last = stages[-1]
    return {
        "domains": names,
        "matrix": [[_told(value) for value in row] for row in matrix],
        "untrained": dict(zip(names, map(_told, before), strict=True)),
        "start": _rounded(_mious(stages[0].report)),
        "final": _rounded(_mious(last.report)),
        "acc": _told(average_accuracy(matrix)),
        "bwt": _told(backward_transfer(matrix)),
        "fwt": _told(forward_transfer(matrix, before)),
        "forgetting": _told(forgetting(matrix)),
        "plasticity": _told(plasticity(matrix)),
        "ianvs_compatible": {
            "bwt": _told(ianvs_compatible_bwt(with_first_row)),
            "fwt": _told(ianvs_compatible_fwt(with_first_row)),
        },
        "intervals": _intervals(stages),
        "seconds": round(sum(stage.seconds for stage in stages[1:]), 1),
        "seconds_first": round(stages[0].seconds, 1),
        "labels": {stage.domain: len(stage.chosen) for stage in stages},
        "memory_bytes": last.memory_bytes,
        "weights_sha256": last.weights_sha256,
    }


def _intervals(stages: Sequence[Stage]) -> dict[str, Any]:
    """Bootstrap over hold-out pictures; nothing is said of another seed or another day."""
    names = [stage.domain for stage in stages]
    last = {name: _counts(stages[-1].report, name) for name in names}
    draws = [drawn_mious([last[name]], HOW, n)[:, 0] for n, name in enumerate(names)]
    acc = float(np.mean([stages[-1].report.tasks[name].miou for name in names]))
    found: dict[str, Any] = {
        "confidence": HOW.confidence,
        "final": {name: _ends(miou_interval(last[name], HOW)) for name in names},
        "acc": _ends(interval_of(acc, np.mean(draws, axis=0), HOW)),
    }
    if len(stages) > 1:
        learned = [_pair(stage.report, stages[-1].report, stage.domain) for stage in stages[:-1]]
        found["bwt"] = _ends(mean_gain(learned, HOW))
    return found


def _counts(report: EvaluationReport, name: str) -> Counts:
    kept = report.tasks[name].counts
    assert kept is not None  # `evaluate` always counts
    return unpacked_counts(kept)


def _pair(before: EvaluationReport, after: EvaluationReport, name: str) -> tuple[Counts, Counts]:
    """Counts of two models; each report names only the classes that were there or answered."""
    kept = before.tasks[name].counts, after.tasks[name].counts
    assert kept[0] is not None and kept[1] is not None
    paired = paired_counts(kept[0], kept[1])
    assert paired is not None  # one course examines on the same pictures always
    return paired[1], paired[2]


def _mious(report: EvaluationReport) -> dict[str, float]:
    return {name: result.miou for name, result in report.tasks.items()}


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _told(value) for name, value in values.items()}


def _ends(interval: Interval) -> list[float | None]:
    return [_told(interval.low), _told(interval.high)]


def _told(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
