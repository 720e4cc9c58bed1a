"""Charts: drawn by Plotly in the browser from JSON in the page, and always a table as well.

Colours come from the style sheet, so that light and dark are one page; the series' own are Okabe
and Ito's, which colour-blind people tell apart, and each has a dash and a marker of its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Okabe & Ito 2008, "Color Universal Design", without black and yellow: both vanish on one ground.
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
FEW = 12  # rounds or releases; an axis of its own making would show some between two of them
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure in Plotly's words, with a name, what it says, and its numbers as a table."""

    chart_id: str  # letters, digits, "-"; unique on the page
    title: str
    said: str  # what it shows, for people who do not see it
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def json(self) -> str:
        """For a `<script type="application/json">`: nothing in it can end the element."""
        told = json.dumps({"data": list(self.data), "layout": dict(self.layout)}, allow_nan=False)
        return told.replace("<", "\\u003c").replace("&", "\\u0026")


def lines(
    chart_id: str,
    title: str,
    said: str,
    *,
    x: Sequence[Any],
    series: Mapping[str, Sequence[float | None]],
    x_title: str,
    y_title: str,
    digits: int = 1,
    from_zero: bool = False,
) -> Chart:
    """One line a series over common x values; None is a gap.

    Args:
        from_zero: show values from 0 on, where the size of a change is read off them.
    """
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(x) <= 60 else "lines",
            "name": name,
            "x": list(x),
            "y": list(values),
            "connectgaps": False,
            "line": {
                "color": SERIES_COLOURS[i % len(SERIES_COLOURS)],
                "dash": _DASHES[(i + i // len(_DASHES)) % len(_DASHES)],
                "width": 2,
            },
            "marker": {"symbol": _MARKERS[i % len(_MARKERS)], "size": 7},
        }
        for i, (name, values) in enumerate(series.items())
    ]
    rows = [
        [str(at), *("–" if v[i] is None else f"{v[i]:.{digits}f}" for v in series.values())]
        for i, at in enumerate(x)
    ]
    return Chart(
        chart_id=chart_id,
        title=title,
        said=said,
        data=data,
        layout={
            "xaxis": {
                "title": {"text": x_title},
                **({"type": "category"} if len(x) <= FEW else {}),
            },
            "yaxis": {
                "title": {"text": y_title},
                "hoverformat": f".{digits}f",
                **({"rangemode": "tozero"} if from_zero else {}),
            },
            "showlegend": True,  # also with one series: its name says what it is
        },
        columns=[x_title, *series],
        rows=rows,
    )


def bars(
    chart_id: str,
    title: str,
    said: str,
    *,
    x: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    x_title: str,
    y_title: str,
    digits: int = 1,
) -> Chart:
    """Bars side by side over names; every second series is hatched. None is a gap."""
    drawn = lines(
        chart_id, title, said, x=x, series=series, x_title=x_title, y_title=y_title, digits=digits
    )
    data = [
        {
            "type": "bar",
            "name": name,
            "x": list(x),
            "y": list(values),
            "marker": {
                "color": SERIES_COLOURS[i % len(SERIES_COLOURS)],
                "pattern": {"shape": "" if i % 2 else "/"},
            },
        }
        for i, (name, values) in enumerate(series.items())
    ]
    # Names that look like numbers are names.
    xaxis = {**drawn.layout["xaxis"], "type": "category"}
    return replace(drawn, data=data, layout={**drawn.layout, "xaxis": xaxis, "barmode": "group"})


def heat_map(
    chart_id: str,
    title: str,
    said: str,
    *,
    x: Sequence[str],
    y: Sequence[str],
    values: Sequence[Sequence[float | None]],
    unit: str,
    x_title: str,
    y_title: str,
    limits: tuple[float, float],
) -> Chart:
    """Rows of `values` are y, columns x; None is left blank. Cividis: even in lightness."""
    few = len(x) * len(y) <= 150
    data = [
        {
            "type": "heatmap",
            "x": list(x),
            "y": list(y),
            "z": [list(row) for row in values],
            "zmin": limits[0],
            "zmax": limits[1],
            "colorscale": "Cividis",
            "xgap": 1,
            "ygap": 1,
            "hoverongaps": False,
            "zhoverformat": ".1f",
            "colorbar": {"title": {"text": unit}},
            **({"texttemplate": "%{z:.1f}"} if few else {}),
        }
    ]
    rows = [
        [name, *("–" if value is None else f"{value:.1f}" for value in row)]
        for name, row in zip(y, values, strict=True)
    ]
    return Chart(
        chart_id=chart_id,
        title=title,
        said=said,
        data=data,
        layout={
            "xaxis": {"title": {"text": x_title}, "type": "category"},
            "yaxis": {"title": {"text": y_title}, "type": "category", "autorange": "reversed"},
        },
        columns=[y_title, *x],
        rows=rows,
    )
