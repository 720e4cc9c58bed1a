"""A course as a picture: what each hold-out said after each stage, and the loss on the way."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cloud.learning.course import Stage
from cloud.learning.course_figures import HOW
from lifelong.judging.confidence_intervals import miou_interval
from lifelong.judging.picture_counts import unpacked_counts

_DPI = 110


def draw_course(stages: Sequence[Stage], path: Path) -> None:
    """Write a PNG: mIoU of every domain after every stage with 95 % intervals; loss by step."""
    figure = Figure(figsize=(10, 4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    mious, losses = figure.subplots(1, 2)
    places = range(len(stages))
    for name in (stage.domain for stage in stages):
        values = [100 * stage.report.tasks[name].miou for stage in stages]
        ends = [_ends(stage, name) for stage in stages]
        low = [max(0.0, value - 100 * end[0]) for value, end in zip(values, ends, strict=True)]
        high = [max(0.0, 100 * end[1] - value) for value, end in zip(values, ends, strict=True)]
        mious.errorbar(places, values, yerr=[low, high], marker="o", capsize=3, label=name)
    mious.set_xticks(list(places), [f"after {stage.domain}" for stage in stages])
    mious.set_ylabel("mIoU on the hold-out, points")
    mious.set_ylim(bottom=0)
    mious.legend()
    done = 0
    for stage in stages:
        if stage.losses:
            steps = [done + step for step, _ in stage.losses]
            losses.plot(steps, [loss for _, loss in stage.losses], label=stage.domain)
            done = steps[-1]
    losses.set_xlabel("steps")
    losses.set_ylabel("training loss")
    if done:
        losses.legend()
    figure.savefig(path)


def _ends(stage: Stage, name: str) -> tuple[float, float]:
    kept = stage.report.tasks[name].counts
    assert kept is not None  # `evaluate` always counts
    interval = miou_interval(unpacked_counts(kept), HOW)
    return interval.low, interval.high
