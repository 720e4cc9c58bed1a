"""Charts of `/learning`; where there are too many points for a screen, some are left out and said.

All values are points, 100 x mIoU.
"""

from collections.abc import Sequence
from dataclasses import replace

from cloud.monitor.learning_facts import Course, Deployed, Judged
from cloud.web.charts import FEW, SERIES_COLOURS, Chart, heat_map, lines
from lifelong.records.model_versions import EvaluationReport, Release

MOST_POINTS = 200  # of a line; more cannot be told apart on a screen
CELLS = 150  # of a heat map: so many still have room for their numbers
_ROW_PX = 24


def thinned(count: int, most: int) -> list[int]:
    """Indices of at most about `most` of `count`: every n-th, counted from the last, and the first.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    if count <= most:
        return list(range(count))
    step = -(-count // (most - 1)) if most > 1 else count
    return sorted({0, *range(count - 1, -1, -step)})


def rows_a_page(tasks: int) -> int:
    """How many rows of R fit on a page with their numbers."""
    return min(40, max(10, CELLS // max(tasks, 1)))


def matrix_chart(course: Course, rows: Sequence[int]) -> Chart:
    """R[t, i] for these rows, the oldest on top."""
    names = [_name(course.rows[t]) for t in rows]
    values = [[_points(value) for value in course.matrix[t]] for t in rows]
    known = [value for row in values for value in row if value is not None]
    chart = heat_map(
        "matrix",
        "Accuracy matrix R: mIoU of each deployed model on each learning task, in points",
        f"Heat map of {len(rows)} deployed models and {len(course.tasks)} learning tasks; the "
        "numbers are in the table below it",
        x=list(course.tasks),
        y=names,
        values=values,
        unit="points",
        x_title="learning task",
        y_title="deployed after round",
        limits=(min(known, default=0.0), max(known, default=100.0)),
    )
    return replace(chart, layout={**chart.layout, "height": 130 + _ROW_PX * max(len(rows), 6)})


def releases_chart(found: Sequence[tuple[Release, EvaluationReport | None]]) -> Chart:
    """mIoU of each learning task over these releases; None is a gap."""
    tasks = dict.fromkeys(task for _, report in found if report for task in report.tasks)
    return lines(
        "by-release",
        "mIoU of each learning task over releases, in points",
        f"Lines of {len(tasks)} learning tasks over {len(found)} releases",
        x=[release.number for release, _ in found],
        series={
            task: [
                100 * report.tasks[task].miou if report and task in report.tasks else None
                for _, report in found
            ]
            for task in tasks
        },
        x_title="release",
        y_title="mIoU, points",
    )


def forgetting_chart(course: Course, rows: Sequence[int]) -> Chart:
    """BWT and forgetting after these rows."""
    return lines(
        "forgetting",
        "Forgetting and backward transfer over rounds, in points",
        "Two lines: forgetting (above 0: something was lost) and BWT (below 0: something was lost)",
        x=[course.rows[t].round_number or 0 for t in rows],
        series={
            "forgetting": [_times_100(course.forgetting[t]) for t in rows],
            "BWT": [_times_100(course.backward[t]) for t in rows],
        },
        x_title="round",
        y_title="points of mIoU",
    )


def verdicts_chart(judged: Sequence[Judged]) -> Chart:
    """By round: what the candidate would have changed, and whether the gate let it."""
    shown = [one for one in judged if one.change is not None and one.round.decision is not None]
    kinds = (("accepted", True, "circle", 0), ("refused", False, "x", 1))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [one.round.number for one in shown if _accepted(one) is wanted],
            "y": [_times_100(one.change) for one in shown if _accepted(one) is wanted],
            "marker": {"symbol": symbol, "size": 9, "color": SERIES_COLOURS[colour]},
        }
        for name, wanted, symbol, colour in kinds
    ]
    return Chart(
        chart_id="verdicts",
        title="What each candidate changed in mean mIoU, and what the gate said, in points",
        said=f"Points for {len(shown)} rounds: circles were accepted, crosses refused",
        data=data,
        layout={
            # Not of categories: two series would bring them in the wrong order.
            "xaxis": {"title": {"text": "round"}, **({"dtick": 1} if len(shown) <= FEW else {})},
            "yaxis": {"title": {"text": "points"}},
        },
        columns=("round", "verdict", "change"),
        rows=[
            (
                str(one.round.number),
                "accepted" if _accepted(one) else "refused",
                f"{100 * (one.change or 0.0):+.1f}",
            )
            for one in reversed(shown)
        ],
    )


def _accepted(one: Judged) -> bool:
    return one.round.decision is not None and one.round.decision.accepted


def _name(row: Deployed) -> str:
    return "before" if row.round_number is None else str(row.round_number)


def _points(value: float) -> float | None:
    return 100 * float(value) if value == value else None


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value
