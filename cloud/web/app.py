"""`cornerloop serve` over HTTP: pages, numbers, health, and hints from Label Studio.

It reads looks that a thread of its own took (`cloud/monitor/watch.py`) and never advances a round.
A hint sets an event and is answered at once: Label Studio waits for the answer while a person
waits for Label Studio.
"""

import hmac
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from annotation.webhooks import HINT_PATH, SECRET_HEADER
from cloud.access.permissions import Permission, needs
from cloud.web.access_pages import add_access
from cloud.web.correct_pages import add_correct
from cloud.web.edges_pages import add_edges
from cloud.web.learning_pages import add_learning
from cloud.web.metrics_pages import add_metrics
from cloud.web.operator_pages import add_operator_pages
from cloud.web.overview_pages import add_overview
from cloud.web.parts import Parts
from cloud.web.people_pages import add_people
from cloud.web.probes import add_probes
from cloud.web.queues_pages import add_queues
from cloud.web.release_pages import add_releases
from cloud.web.request_log import RequestLog
from cloud.web.rounds_pages import add_rounds
from cloud.web.site import add_static
from cloud.web.unreachable import add_unreachable
from cloud.web.unreadable import add_unreadable

_MAX_BODY = 64 * 1024  # bytes; Label Studio is asked to send the name of the action only


def make_app(parts: Parts) -> FastAPI:
    """Build the application; each `add_…` brings the pages of its module."""
    # No interactive API page: it would load its scripts from a foreign host.
    app = FastAPI(title="Cornerloop", docs_url=None, redoc_url=None, openapi_url=None)
    add_static(app)
    add_unreachable(app, parts.site)
    add_unreadable(app)
    add_access(app, parts)
    add_metrics(app, parts)
    add_probes(app, parts)
    add_correct(app, parts)
    _add_hints(app, parts)
    add_overview(app, parts)
    add_people(app, parts)
    add_queues(app, parts)
    add_rounds(app, parts)
    add_learning(app, parts)
    add_edges(app, parts)
    add_releases(app, parts)
    add_operator_pages(app, parts)
    app.add_middleware(RequestLog, measures=parts.measures)
    return app


def _add_hints(app: FastAPI, parts: Parts) -> None:
    if parts.secret:

        @app.post(HINT_PATH, dependencies=[needs(Permission.OPEN)])  # has a secret of its own
        async def label_studio_hint(request: Request) -> Response:
            return Response(status_code=await _hinted(request, parts.hint, parts.secret))


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
