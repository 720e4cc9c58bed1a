"""`/people`: what corrections cost, by round, class, model and annotator, and what drafts save.

Names of annotators are for operators. An annotator sees the line that bears the name of the
token, and everybody's together.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from annotation.review.cost_sums import CONFIDENCE, ClassKind, ClassSums, Compared
from cloud.access.permissions import Caller, Permission, caller_of, needs
from cloud.monitor.people_costs import PeopleCosts, by_class, why_not_measured
from cloud.web.charts import Chart, lines
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts

_CHART_ROUNDS = 60
_ROWS = 25


def add_people(app: FastAPI, parts: Parts) -> None:
    """`/people`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    @router.get("/people", response_class=HTMLResponse)
    def people_page(
        request: Request, page: PageNumber = 1, classes: PageNumber = 1, names: PageNumber = 1
    ) -> HTMLResponse:
        look = parts.look()
        costs = look.fact(parts.costs.of)
        caller = caller_of(request)
        people = annotators_for(caller, costs)
        return parts.site.render(
            request,
            "people.html",
            costs=costs,
            rounds=paged(costs.rounds, page, _ROWS),
            classes=paged(class_rows(costs), classes, _ROWS),
            people=paged(people, names, _ROWS),
            sees_all=caller is not None and caller.may(Permission.OPERATE),
            models=[(name, costs.total.of(drafted_by=name)) for name in costs.total.models],
            why=why_not_measured(costs.all, parts.config),
            confidence=CONFIDENCE,
            blank_share=parts.config.review.blank_share,
            time_chart=time_chart(costs),
            agreement_chart=agreement_chart(costs),
            begun=bool(look.rounds),
        )

    app.include_router(router)


def annotators_for(caller: Caller | None, costs: PeopleCosts) -> list[tuple[str, Compared]]:
    """Whose work the caller may see by name; the one with most annotations first."""
    names: Sequence[str] = costs.total.annotators
    if caller is None or not caller.may(Permission.OPERATE):
        own = caller.name.casefold() if caller else None
        names = [name for name in names if name.casefold() == own]
    found = [(name, costs.total.of(annotator=name)) for name in names]
    return sorted(found, key=lambda item: (-item[1].both.annotations, item[0]))


def class_rows(costs: PeopleCosts) -> list[tuple[ClassKind, ClassSums]]:
    """By class and model, the dearest first."""
    return by_class(costs.total)


def time_chart(costs: PeopleCosts) -> Chart | None:
    """Seconds a picture over rounds; None while nobody measured any."""
    newest = costs.rounds[:_CHART_ROUNDS][::-1]
    shown = {
        "with a draft": [one.all.with_draft.seconds.known_mean for one in newest],
        "without": [one.all.without_draft.seconds.known_mean for one in newest],
    }
    series = {name: values for name, values in shown.items() if any(v is not None for v in values)}
    if not series:
        return None
    return lines(
        "seconds-over-rounds",
        "Seconds a picture, by round",
        _said(series, "s a picture"),
        x=[one.number for one in newest],
        series=series,
        x_title="round",
        y_title="s a picture",
        from_zero=True,
    )


def agreement_chart(costs: PeopleCosts) -> Chart | None:
    """How far drafts were right, and how far people agree, over rounds."""
    newest = costs.rounds[:_CHART_ROUNDS][::-1]
    shown = {
        "draft and person": [one.agreement.known_mean for one in newest],
        "kept draft and person": [one.blank_agreement.known_mean for one in newest],
        "two people": [one.people_agreement.known_mean for one in newest],
    }
    series: dict[str, list[float | None]] = {
        name: [None if v is None else 100 * v for v in values]
        for name, values in shown.items()
        if any(v is not None for v in values)
    }
    if not series:
        return None
    return lines(
        "agreement-over-rounds",
        "Agreement in mIoU, by round",
        _said(series, "%"),
        x=[one.number for one in newest],
        series=series,
        x_title="round",
        y_title="mIoU, %",
        from_zero=True,
    )


def _said(series: dict[str, Any], unit: str) -> str:
    told = []
    for name, values in series.items():
        known = [value for value in values if value is not None]
        told.append(f"{name}: {known[0]:.1f} {unit} at first, {known[-1]:.1f} {unit} at last")
    return "; ".join(told)
