"""`cornerloop serve` over HTTP: rounds, edge nodes, health, and hints from Label Studio.

It only reads; it never advances a round. A hint sets an event and is answered at once: Label
Studio waits for the answer while a person waits for Label Studio.
"""

import hmac
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader

from annotation.webhooks import HINT_PATH, SECRET_HEADER
from cloud.web.fleet import add_fleet

_MAX_BODY = 64 * 1024  # bytes; Label Studio is asked to send the name of the action only


def make_app(
    overview: Callable[[], dict[str, Any]],
    trouble: Callable[[], str],
    title: str,
    *,
    hint: Callable[[], None],
    secret: str,
    fleet: Callable[[], dict[str, Any]] | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        overview: what `cornerloop rounds --json` prints.
        trouble: why the loop does not move at present, in words; empty when it does.
        hint: called when Label Studio says that something happened; must return at once.
        secret: what its hints must carry; empty: hints are not taken, the address is unknown.
        fleet: what `cornerloop edges --json` prints; None: there is no page of edge nodes.
    """
    # No interactive API page: it would load its scripts from a foreign host.
    app = FastAPI(title="Cornerloop", docs_url=None, redoc_url=None)
    page = Environment(
        loader=PackageLoader("cloud.web", "templates"), autoescape=True
    ).get_template("rounds.html")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        reason = trouble()
        body = {"status": "degraded", "reason": reason} if reason else {"status": "ready"}
        return JSONResponse(body, status_code=503 if reason else 200)

    @app.get("/rounds.json")
    def rounds_json() -> dict[str, Any]:
        return overview()

    @app.get("/", response_class=HTMLResponse)
    def rounds_page() -> str:
        return page.render(
            title=title, trouble=trouble(), has_fleet=fleet is not None, **overview()
        )

    if fleet is not None:
        add_fleet(app, fleet, overview, title)

    if secret:

        @app.post(HINT_PATH)
        async def label_studio_hint(request: Request) -> Response:
            return Response(status_code=await _hinted(request, hint, secret))

    return app


async def _hinted(request: Request, hint: Callable[[], None], secret: str) -> int:
    """The status to answer with: 204, 401 for another secret, 413 for too much to read.

    What the body says is not used: a hint is no record, and whoever could forge one would gain
    nothing but a look.
    """
    given = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(given.encode(), secret.encode()):
        return 401
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _MAX_BODY:
        return 413
    read = 0
    async for piece in request.stream():
        read += len(piece)
        if read > _MAX_BODY:
            return 413
    hint()
    return 204
