"""The protocol of Label Studio's ML backends (1.23) over HTTP, and a page for people.

| address | who may | what |
|---|---|---|
| GET /health | anybody | that the process is up; Label Studio waits one second for it |
| GET /ready | anybody | 200 when every model can answer, else 503 |
| POST /setup, /predict, GET /versions | with the password | Label Studio's questions |
| POST /webhook | anybody | a hint that work was done; Label Studio sends it without a password |
| GET /, /state, DELETE /work/{id} | with the password | models, queue and troubles, in words |
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader

from annotation.assist.segmenter import Readiness
from lifelong.errors import LifelongError

_MIB = 1 << 20
# The largest body that Label Studio itself takes, and then some: it sends a task with everything.
_MAX_PREDICT = 256 * _MIB
_MAX_SETUP = 8 * _MIB
_MAX_HINT = 32 * _MIB  # it carries a whole annotation, which is not looked at


class Assistant(Protocol):
    """Who answers; see `annotation/assist/backend.py`."""

    def version(self) -> str: ...

    def readiness(self) -> Mapping[str, Readiness]: ...

    def state(self) -> dict[str, Any]: ...

    def setup(self, body: bytes) -> str: ...

    def predict(self, body: bytes) -> list[dict[str, Any]]: ...

    def hint(self, body: bytes, *, trusted: bool) -> None: ...

    def cancel(self, work_id: str) -> bool: ...


class Gate(Protocol):
    """Who may ask; see `annotation/assist/credentials.py`."""

    def allows(self, authorization: str | None) -> bool: ...


def assist_router(assistant: Assistant, gate: Gate, *, title: str) -> APIRouter:
    """The routes above, to be put under any prefix."""
    router = APIRouter()
    page = Environment(
        loader=PackageLoader("annotation.assist", "templates"), autoescape=True
    ).get_template("assist.html")

    @router.get("/health")
    def health() -> Response:
        states = {name: str(value) for name, value in assistant.readiness().items()}
        return _json({"status": "UP", "model_class": "Cornerloop", "models": states})

    @router.get("/ready")
    def ready() -> Response:
        states = assistant.readiness()
        worst = _worst(states)
        answers = worst in {Readiness.READY, Readiness.DEGRADED}
        body = {"status": str(worst), "models": {name: str(one) for name, one in states.items()}}
        return _json(body, 200 if answers else 503)

    @router.post("/setup")
    async def setup(request: Request) -> Response:
        return await _answered(request, gate, _MAX_SETUP, "model_version", assistant.setup)

    @router.post("/predict")
    async def predict(request: Request) -> Response:
        return await _answered(request, gate, _MAX_PREDICT, "results", assistant.predict)

    @router.get("/versions")
    def versions(request: Request) -> Response:
        return _refused(request, gate) or _json({"versions": [assistant.version()]})

    @router.post("/webhook")
    async def webhook(request: Request) -> Response:
        body = await _body(request, _MAX_HINT)
        if body is None:
            return _too_much(_MAX_HINT)
        trusted = gate.allows(request.headers.get("authorization"))
        await run_in_threadpool(assistant.hint, body, trusted=trusted)
        return _json({"status": "ok"})

    @router.get("/state")
    def state(request: Request) -> Response:
        return _refused(request, gate) or _json(assistant.state())

    @router.delete("/work/{work_id}")
    def cancel(request: Request, work_id: str) -> Response:
        refused = _refused(request, gate)
        if refused is not None:
            return refused
        found = assistant.cancel(work_id)
        return _json({"cancelled": found}, 200 if found else 404)

    @router.get("/")
    def people(request: Request) -> Response:
        return _refused(request, gate) or HTMLResponse(
            page.render(title=title, **assistant.state())
        )

    return router


async def _answered(
    request: Request, gate: Gate, most: int, key: str, ask: Callable[[bytes], object]
) -> Response:
    """What `ask` says of the body, under `key`; its errors in words."""
    refused = _refused(request, gate)
    if refused is not None:
        return refused
    body = await _body(request, most)
    if body is None:
        return _too_much(most)
    try:
        return _json({key: await run_in_threadpool(ask, body)})
    except LifelongError as error:
        return _told(error)


def _worst(states: Mapping[str, Readiness]) -> Readiness:
    order = (Readiness.FAILED, Readiness.LOADING, Readiness.DEGRADED, Readiness.READY)
    return next(one for one in order if one in states.values() or one is Readiness.READY)


def _refused(request: Request, gate: Gate) -> Response | None:
    """401 without the password; 403 for a form on somebody else's page, which a browser would
    send with it."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return _json({"error": "requests from other sites' pages are refused"}, 403)
    if gate.allows(request.headers.get("authorization")):
        return None
    told = "wrong user or password; see `cornerloop assist --help` for where it is kept"
    return _json(
        {"error": told}, 401, {"WWW-Authenticate": 'Basic realm="Cornerloop", charset="UTF-8"'}
    )


async def _body(request: Request, most: int) -> bytes | None:
    """The body; None where it is longer than `most` bytes, whatever its head says."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > most:
        return None
    pieces, read = [], 0
    async for piece in request.stream():
        read += len(piece)
        if read > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _told(error: LifelongError) -> Response:
    status = 503 if error.retryable else 400
    return _json({"error": str(error), "kind": type(error).__name__}, status)


def _too_much(most: int) -> Response:
    return _json({"error": f"a body of more than {most // _MIB} MiB is not read"}, 413)
