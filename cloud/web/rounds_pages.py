"""`/rounds`, one round, one of its samples, and the training that runs now."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from cloud.access.permissions import Permission, needs
from cloud.monitor.candidate_answers import CandidateAnswers, OnnxCandidate
from cloud.monitor.difference_maps import HEAT, HOTTEST
from cloud.monitor.look import Look
from cloud.monitor.round_facts import TaskLine, steps_of, task_lines
from cloud.monitor.rounds_facts import (
    examination_of,
    newest_first,
    round_line,
    rounds_by_number,
    rounds_page,
    states_of,
)
from cloud.monitor.sample_pictures import SamplePictures
from cloud.monitor.sample_records import SampleRecords, samples_of
from cloud.monitor.training_facts import TrainingView, training_view
from cloud.monitor.who_waits import of_open_round
from cloud.web.charts import Chart, bars
from cloud.web.figures import OF_MODELS, OF_PEOPLE, class_legend, figures
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts
from cloud.web.picture_pages import (
    Number,
    SampleName,
    add_pictures,
    answer_of,
    found,
    found_round,
)
from cloud.web.studio_links import task_address
from lifelong.records.colours import css_colour
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState

_SMALL, _LARGE = 240, 960  # pixels, in a list and alone
_ROUNDS_AS_JSON = 100  # a page
TaskName = Annotated[str, Query(max_length=200)]


def add_rounds(app: FastAPI, parts: Parts) -> None:
    """Everything of this module, and the pictures that its pages show."""
    pictures = SamplePictures(parts.storage, parts.label_map, parts.look)
    answers = CandidateAnswers(pictures, lambda version: OnnxCandidate(parts.storage, version))
    router = APIRouter(dependencies=[needs(Permission.SEE)])
    _add_lists(router, parts)
    _add_round(router, parts, answers)
    _add_sample(router, parts, answers)
    app.include_router(router)
    add_pictures(app, parts, pictures, answers)


def _add_lists(router: APIRouter, parts: Parts) -> None:
    @router.get("/rounds.json")
    def rounds_json(page: PageNumber = 1) -> dict[str, Any]:
        """What `cornerloop rounds --json` prints, a hundred rounds a page, the newest first."""
        return rounds_page(parts.look(), page, _ROUNDS_AS_JSON)

    @router.get("/rounds", response_class=HTMLResponse)
    def rounds(request: Request, page: PageNumber = 1, asked: PageNumber = 0) -> HTMLResponse:
        look = parts.look()
        newest = look.rounds[-1] if look.rounds else None
        shown = paged(look.fact(newest_first), page)
        return parts.site.render(
            request,
            "rounds.html",
            lines=[round_line(round_, look) for round_ in shown.rows],
            shown=shown,
            waits=of_open_round(look, parts.config.rounds),
            newest=newest,
            training=training_view(look),
            asked=asked,
            can_act=parts.actions is not None,
        )

    @router.get("/live/training", response_class=HTMLResponse)
    def live_training(request: Request) -> HTMLResponse:
        """A piece of a page, for `data-live`."""
        view = training_view(parts.look())
        return parts.site.render(request, "live_training.html", training=view)


def _add_round(router: APIRouter, parts: Parts, answers: CandidateAnswers) -> None:
    @router.get("/rounds/{number}", response_class=HTMLResponse)
    def round_page(
        request: Request, number: Number, page: PageNumber = 1, task: TaskName = ""
    ) -> HTMLResponse:
        look = parts.look()
        round_ = found_round(parts, number)
        line = round_line(round_, look)
        measured = task_lines(examination_of(round_, look))
        chosen = _chosen(measured, task, line.condition)
        shown = paged(samples_of(round_, states_of(round_, look)), page)
        return parts.site.render(
            request,
            "round.html",
            round=round_,
            line=line,
            steps=steps_of(round_, look.at),
            waits=[] if round_.is_over else of_open_round(look, parts.config.rounds),
            training=_training(round_, look),
            measured=measured,
            chosen=chosen,
            chart=_chart(chosen, round_) if chosen else None,
            samples=shown,
            rows=[_row(round_, records, answers, parts) for records in shown.rows],
            heat=_heat(shown.rows, round_),
            legend=class_legend(parts.label_map),
            neighbours=_neighbours(number, look),
        )


def _add_sample(router: APIRouter, parts: Parts, answers: CandidateAnswers) -> None:
    @router.get("/rounds/{number}/samples/{sample}", response_class=HTMLResponse)
    def sample_page(request: Request, number: Number, sample: SampleName) -> HTMLResponse:
        look = parts.look()
        round_, _ = found(parts, number, sample)
        ordered = samples_of(round_, states_of(round_, look))
        place = [records.sample_id for records in ordered].index(sample)  # type: ignore[arg-type]
        records = ordered[place]
        answer = answer_of(round_, records, answers)
        return parts.site.render(
            request,
            "sample.html",
            round=round_,
            records=records,
            place=place,
            count=len(ordered),
            before=ordered[place - 1].sample_id if place else None,
            next=ordered[place + 1].sample_id if place + 1 < len(ordered) else None,
            known=look.samples.get(records.sample_id),
            people=figures(OF_PEOPLE, round_, records, answer, _LARGE),
            models=figures(OF_MODELS, round_, records, answer, _LARGE),
            is_computing=answer is not None and answer.standing == "waiting",
            link=studio_link(parts, records),
            legend=class_legend(parts.label_map),
            width=_LARGE,
        )

    @router.get("/live/rounds/{number}/samples/{sample}", response_class=HTMLResponse)
    def live_sample(
        request: Request,
        response: Response,
        number: Number,
        sample: SampleName,
        width: Annotated[int, Query(ge=1, le=10_000)] = _SMALL,
    ) -> HTMLResponse:
        """The figures of a candidate's answer, for `data-live`, until they are there."""
        round_, records = found(parts, number, sample)
        answer = answer_of(round_, records, answers)
        width = _LARGE if width > _SMALL else _SMALL
        page = parts.site.render(
            request,
            "live_figures.html",
            figures=figures(OF_MODELS, round_, records, answer, width),
            width=width,
        )
        if answer is None or answer.standing != "waiting":
            page.headers["Cornerloop-Live"] = "last"
        return page


def studio_link(parts: Parts, records: SampleRecords) -> str:
    """Where its task is in Label Studio; "" when there is none, or people use a folder."""
    task = records.task
    if task is None or task.asks_nobody:
        return ""
    return task_address(parts.config, task.project_id, task.task_id)


def _row(
    round_: Round, records: SampleRecords, answers: CandidateAnswers, parts: Parts
) -> dict[str, Any]:
    answer = answer_of(round_, records, answers)
    return {
        "records": records,
        "people": figures(OF_PEOPLE, round_, records, answer, _SMALL),
        "models": figures(OF_MODELS, round_, records, answer, _SMALL),
        "is_computing": answer is not None and answer.standing == "waiting",
        "link": studio_link(parts, records),
    }


def _heat(rows: Sequence[SampleRecords], round_: Round) -> dict[str, Any] | None:
    """The map of a whole round; None before anybody has corrected a draft."""
    if not any(one.shows_peoples_work for one in rows):
        return None
    example = rows[0].example
    stops = ", ".join(css_colour(colour) for colour in HEAT)
    return {
        "address": f"/pictures/heat/{round_.number}",
        "width": 480,
        "height": max(1, round(480 * example.height / max(1, example.width))),
        "gradient": f"linear-gradient(to right, {stops})",
        "hottest": HOTTEST,
    }


def _training(round_: Round, look: Look) -> TrainingView | None:
    """Of this round; None when it is not its turn."""
    return training_view(look) if round_.state is RoundState.TRAINING else None


def _chosen(measured: tuple[TaskLine, ...], asked: str, condition: str) -> TaskLine | None:
    """The learning task that was asked for, that the round is about, or that lost most.

    Raises:
        HTTPException: 404, it was not measured.
    """
    by_name = {line.task: line for line in measured}
    if asked:
        if asked not in by_name:
            raise HTTPException(404, "this round was not examined on that learning task")
        return by_name[asked]
    return by_name.get(condition) or (measured[0] if measured else None)


def _chart(line: TaskLine, round_: Round) -> Chart:
    classes = line.classes()

    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return bars(
        "iou-by-class",
        f"IoU by class on {line.task}, {line.images} pictures",
        f"Bars of {len(classes)} classes' IoU on {line.task}, before and after round "
        f"{round_.number}; the same numbers stand in the table below",
        x=[one.name for one in classes],
        series={
            "before": [percent(one.before) for one in classes],
            "candidate": [percent(one.after) for one in classes],
        },
        x_title="class",
        y_title="IoU, %",
    )


def _neighbours(number: int, look: Look) -> tuple[int | None, int | None]:
    """The round before and the one after."""
    known = look.fact(rounds_by_number)
    before, after = RoundNumber(number - 1), RoundNumber(number + 1)
    return before if before in known else None, after if after in known else None
