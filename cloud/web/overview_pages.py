"""`/`: is the loop healthy, what waits for whom, did the last model help, what would rolling
back lose. The answers refresh themselves; without JavaScript a reload does."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from cloud.access.permissions import Permission, needs
from cloud.monitor.last_model import JudgedRound, judged_rounds, last_model
from cloud.monitor.look import Look
from cloud.monitor.notable_events import newest_events
from cloud.monitor.training_facts import training_view
from cloud.web.charts import Chart, lines
from cloud.web.overview_cards import cards
from cloud.web.parts import Parts

_EVENTS = 5
_TASK_LINES = 5  # with more learning tasks only their mean is drawn


def add_overview(app: FastAPI, parts: Parts) -> None:
    """`/`, and `/live/overview`, which brings its answers again and again."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    def facts(look: Look) -> dict[str, Any]:
        return {
            "cards": cards(parts, look),
            "events": look.fact(newest_events)[:_EVENTS],
            "now": look.at,
        }

    @router.get("/", response_class=HTMLResponse)
    def overview_page(request: Request) -> HTMLResponse:
        look = parts.look()
        view = training_view(look)
        return parts.site.render(
            request,
            "overview.html",
            **facts(look),
            training=None if view.standing == "none" else view,
            model=look.fact(last_model),
            chart=look.fact(miou_chart),
            rounds=len(look.rounds),
            released=look.current,
        )

    @router.get("/live/overview", response_class=HTMLResponse, include_in_schema=False)
    def live_overview(request: Request) -> HTMLResponse:
        return parts.site.render(request, "_overview.html", **facts(parts.look()))

    app.include_router(router)


def miou_chart(look: Look) -> Chart | None:
    """mIoU of what ran after each of the newest rounds; None before the first measured. A fact."""
    judged = look.fact(judged_rounds)
    if not any(one.mious for one in judged):
        return None
    tasks = sorted({task for one in judged for task in one.mious})
    shown = tasks if len(tasks) <= _TASK_LINES else []
    series = {"mean": [_percent(one.mean) for one in judged]}
    series |= {task: [_percent(one.mious.get(task)) for one in judged] for task in shown}
    last = f"each of the last {len(judged)} examined rounds" if len(judged) > 1 else "one round"
    return lines(
        "miou-over-rounds",
        f"mIoU of what runs, after {last}",
        _said(judged),
        x=[one.number for one in judged],
        series=series,
        x_title="round",
        y_title="mIoU, %",
    )


def _said(judged: Sequence[JudgedRound]) -> str:
    first, last = judged[0], judged[-1]
    if first.mean is None or last.mean is None:
        return "mIoU over rounds"
    return (
        f"mean mIoU {100 * first.mean:.1f} % after round {first.number}, "
        f"{100 * last.mean:.1f} % after round {last.number}"
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
