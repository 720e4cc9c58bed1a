"""`/learning`: what the loop has learned, what it forgot, and what the gate refused."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse

from cloud.access.permissions import Permission, needs
from cloud.monitor.learning_facts import (
    Course,
    classes_now,
    course,
    released_reports,
    task_courses,
    verdicts,
)
from cloud.monitor.look import Look
from cloud.web.learning_charts import (
    MOST_POINTS,
    forgetting_chart,
    matrix_chart,
    releases_chart,
    rows_a_page,
    thinned,
    verdicts_chart,
)
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts

_ROUNDS = 200  # of the chart of verdicts, the newest


def add_learning(app: FastAPI, parts: Parts) -> None:
    """`/learning`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    @router.get("/learning", response_class=HTMLResponse)
    def learning_page(
        request: Request,
        page: PageNumber = 1,
        span: Literal["newest", "all"] = "newest",
        verdict_page: Annotated[PageNumber, Query(alias="verdicts")] = 1,
    ) -> HTMLResponse:
        look = parts.look()
        found, judged = look.fact(course), look.fact(verdicts)
        return parts.site.render(
            request,
            "learning.html",
            course=found,
            tasks=look.fact(task_courses),
            classes=look.fact(classes_now),
            verdicts=judged,
            judged=paged(judged.rounds[::-1], verdict_page),
            verdicts_chart=verdicts_chart(judged.rounds[-_ROUNDS:]),
            shown_rounds=min(_ROUNDS, len(judged.rounds)),
            span=span,
            **_matrix(found, span, page),
            **_curves(look, found),
        )

    app.include_router(router)


def _matrix(found: Course, span: str, page: int) -> dict[str, Any]:
    """The heat map of a page of rows, or of rows from the whole course."""
    if not found.rows:
        return {"matrix": None, "rows": None, "left_out": 0}
    size = rows_a_page(len(found.tasks))
    if span == "all":
        shown = thinned(len(found.rows), size)
        left_out = len(found.rows) - len(shown)
        return {"matrix": matrix_chart(found, shown), "rows": None, "left_out": left_out}
    newest_first = paged(range(len(found.rows) - 1, -1, -1), page, size)
    return {
        "matrix": matrix_chart(found, newest_first.rows[::-1]),
        "rows": newest_first,
        "left_out": 0,
    }


def _curves(look: Look, found: Course) -> dict[str, Any]:
    released = look.fact(released_reports)
    of_releases = thinned(len(released), MOST_POINTS)
    of_rounds = thinned(len(found.rows), MOST_POINTS)
    examined = any(report for _, report in released)
    return {
        "by_release": releases_chart([released[n] for n in of_releases]) if examined else None,
        "releases_shown": (len(of_releases), len(released)),
        "forgetting": forgetting_chart(found, of_rounds) if len(found.rows) > 1 else None,
        "rounds_shown": (len(of_rounds), len(found.rows)),
    }
