"""`/correct`: drafts corrected with the keyboard alone, and the addresses its script asks.

| address | what |
|---|---|
| GET /correct | the page |
| POST /correct/next | a task for this window with its draft, and how far the round is |
| POST /correct/keep, /correct/leave | somebody still looks at it; the window was closed |
| GET /correct/{task}/picture | its picture |
| POST /correct/{task}/prompt | clicks, a box or words -> a mask |
| POST /correct/{task}/accept | a mask in runs (`annotation/class_runs.py`) -> an annotation |
| POST /correct/{task}/skip | a reason -> a skip |
"""

import base64
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from annotation.assist.troubles import Troubles
from annotation.class_runs import runs_from_mask
from annotation.correcting.work import HandedIn
from cloud.access.permissions import Permission, caller_of, needs
from cloud.correcting.desk import Desk, Given, TaskKey
from cloud.correcting.prompting import Asked
from cloud.web.parts import Parts
from lifelong.errors import LifelongError, ObjectNotFoundError, StorageUnavailableError
from lifelong.records.prompts import Box, Point, Prompt

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DAY_S = 86400.0
_LARGEST = 16 << 20  # bytes of a mask; one of noise alone, 3840 x 2160, does not fit

PageId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Submission = Annotated[str, Field(pattern=f"^{_UUID}$")]
Spent = Annotated[float, Field(ge=0, le=_DAY_S, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NextBody(_Body):
    """Which window wants a task, and which task it does not want now."""

    page: PageId
    later: Annotated[str, Field(max_length=100)] | None = None


class KeepBody(_Body):
    """Which window still looks at which task."""

    page: PageId
    task: Annotated[str, Field(max_length=100)] = ""


class PointBody(_Body):
    """A click, pixels."""

    x: Pixel
    y: Pixel
    positive: bool = True


class PromptBody(_Body):
    """One object, pointed at or written."""

    label: Annotated[str, Field(max_length=500)]
    points: Annotated[list[PointBody], Field(max_length=200)] = []
    box: Annotated[list[Pixel], Field(min_length=4, max_length=4)] | None = None
    words: Annotated[str, Field(max_length=500)] = ""


class SkipBody(_Body):
    """Why nobody shall annotate a task."""

    page: PageId
    submission: Submission
    seconds: Spent
    reason: Annotated[str, Field(min_length=1, max_length=500)]


def add_correct(app: FastAPI, parts: Parts) -> None:
    """The page, and what it asks, for those who may label."""
    router = APIRouter(dependencies=[needs(Permission.LABEL)])
    desk = parts.correction_desk

    @router.get("/correct", response_class=HTMLResponse)
    def page(request: Request) -> HTMLResponse:
        return parts.site.render(
            request,
            "correct.html",
            is_open=desk is not None,
            has_model=desk is not None and desk.answers is not None,
        )

    if desk is not None:
        _add_tasks(router, desk)
        _add_work(router, desk, desk.troubles)
    app.include_router(router)


def _add_tasks(router: APIRouter, desk: Desk) -> None:
    @router.post("/correct/next")
    def following(request: Request, body: NextBody) -> Response:
        later = TaskKey(body.later) if body.later else None
        return _told(lambda: _next(desk, request, body.page, later), None)

    @router.post("/correct/keep")
    def keep(request: Request, body: KeepBody) -> Response:
        kept = desk.keep(TaskKey(body.task), _window(request, body.page))
        return JSONResponse({"kept": kept})

    @router.post("/correct/leave")
    def leave(request: Request, body: KeepBody) -> Response:
        desk.leave(_window(request, body.page))
        return Response(status_code=204)

    @router.get("/correct/{task}/picture")
    def picture(task: str) -> Response:
        def shown() -> Response:
            data, kind = desk.picture(TaskKey(task)).for_browser()
            # A task's picture never changes; the next one is fetched while this one is looked at.
            return Response(
                data, media_type=kind, headers={"Cache-Control": "private, max-age=3600"}
            )

        return _told(shown, None)


def _add_work(router: APIRouter, desk: Desk, troubles: Troubles) -> None:
    @router.post("/correct/{task}/prompt")
    def prompt(task: str, body: PromptBody) -> Response:
        return _told(lambda: _prompted(desk, TaskKey(task), body), troubles)

    @router.post("/correct/{task}/accept")
    async def accept(
        request: Request,
        task: str,
        page: Annotated[str, Query(pattern=r"^[0-9a-f]{32}$")],
        submission: Annotated[str, Query(pattern=f"^{_UUID}$")],
        seconds: Annotated[float, Query(ge=0, le=_DAY_S, allow_inf_nan=False)],
    ) -> Response:
        runs = await _body(request)
        if runs is None:
            told = f"a mask of more than {_LARGEST >> 20} MiB is not read; correct it elsewhere"
            return JSONResponse({"error": told, "retry": False}, status_code=413)
        made = _made(request, submission, seconds)
        window = _window(request, page)

        def hand_in() -> Response:
            return JSONResponse({"outcome": str(desk.accept(TaskKey(task), runs, made, window))})

        return await run_in_threadpool(_told, hand_in, troubles)

    @router.post("/correct/{task}/skip")
    def skip(request: Request, task: str, body: SkipBody) -> Response:
        made = _made(request, body.submission, body.seconds)
        window = _window(request, body.page)
        reason = " ".join(body.reason.split()) or "no reason given"
        return _told(
            lambda: JSONResponse({"outcome": str(desk.skip(TaskKey(task), reason, made, window))}),
            troubles,
        )


def _next(desk: Desk, request: Request, page: str, later: TaskKey | None) -> Response:
    given = desk.next(_window(request, page), _name(request), later=later)
    progress = desk.progress()
    told = {"round": progress.round_number, "done": progress.done, "total": progress.total}
    model = None
    if desk.answers is not None:
        state = desk.answers.state()
        model = {"name": state.name, "state": str(state.readiness), "words": state.words}
    return JSONResponse(
        {"task": _described(given) if given else None, "progress": told, "model": model}
    )


def _described(given: Given) -> dict[str, Any]:
    label_map, draft = given.label_map, given.draft
    height, width = given.opened.mask.shape
    return {
        "key": given.key,
        "width": width,
        "height": height,
        "draft": base64.b64encode(runs_from_mask(given.opened.mask)).decode(),
        "classes": [
            {"id": number, "name": name, "colour": list(colour)}
            for number, (name, colour) in enumerate(
                zip(label_map.names, label_map.colours, strict=True)
            )
        ],
        "regions": [
            {"id": one.class_id, "area": one.area, "box": list(one.box), "score": one.score}
            for one in draft.regions
        ],
        "note": given.opened.note,
        "words": given.opened.words,
        "link": given.opened.link,
        "erased": list(draft.erased_classes),
        "attributes": dict(draft.attributes),
    }


def _prompted(desk: Desk, key: TaskKey, body: PromptBody) -> Response:
    boxes: list[Box] = []
    if body.box is not None:
        x0, y0, x1, y1 = body.box
        boxes.append(Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    points = tuple(Point(one.x, one.y, one.positive) for one in body.points)
    asked = Asked(
        prompt=Prompt(points=points, boxes=tuple(boxes)), words=body.words.strip(), label=body.label
    )
    answer = desk.answer(key, asked)
    runs = runs_from_mask(answer.mask.astype(np.uint8))
    return JSONResponse(
        {
            "mask": base64.b64encode(runs).decode(),
            "objects": answer.objects,
            "score": round(answer.score, 4),
        }
    )


def _told(answer: Callable[[], Response], troubles: Troubles | None) -> Response:
    """The answer, or what went wrong in words, with an id where it is remembered."""
    try:
        return answer()
    except LifelongError as error:
        failure: LifelongError = error
    except OSError as error:
        failure = StorageUnavailableError(f"it could not be written: {error.strerror}")
    gone = isinstance(failure, ObjectNotFoundError)
    told: dict[str, object] = {
        "error": str(failure),
        "kind": type(failure).__name__,
        "retry": failure.retryable,
    }
    if troubles is not None and not gone:
        told["id"] = troubles.note(failure, project=None, task=None).trouble_id
    return JSONResponse(told, status_code=503 if failure.retryable else 404 if gone else 400)


def _name(request: Request) -> str:
    """Who corrects; `needs` lets nobody through whom the gate does not know."""
    caller = caller_of(request)
    return caller.name if caller is not None else "somebody"


def _window(request: Request, page: str) -> str:
    """One window of one person: nobody lets go of another's task by guessing its window."""
    return f"{_name(request)}/{page}"


def _made(request: Request, submission: str, seconds: float) -> HandedIn:
    return HandedIn(by=_name(request), submission=submission, seconds=seconds)


async def _body(request: Request) -> bytes | None:
    """The body; None where it is too long."""
    pieces, read = [], 0
    async for piece in request.stream():
        read += len(piece)
        if read > _LARGEST:
            return None
        pieces.append(piece)
    return b"".join(pieces)
