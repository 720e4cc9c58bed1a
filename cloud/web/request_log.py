"""Each request gets an id, a time and, when it fails, a line in the log that carries the id.

`X-Request-ID` of the asker is kept if it has the form of an id, and comes back in the answer. What
nobody caught becomes a 500 that tells the id and nothing else: the traceback is in the log.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from cloud.access.bodies import UnreadBodyError
from cloud.metrics.measures import Measures
from lifelong.links.request_ids import HEADER, current_request, in_request, request_id

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# First part of a path -> what is told of it; everything else is a page.
_AREAS = {
    "assist": "assist",
    "static": "static",
    "metrics": "probes",
    "healthz": "probes",
    "readyz": "probes",
}
PAGES = "pages"


class RequestLog:
    """Middleware of ASGI; the outermost one counts, also where another one lies within."""

    def __init__(
        self,
        app: Application,
        measures: Measures | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._measures = measures
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if current_request():  # within another one of these, which counts
            await self._answered(scope, receive, send)
            return
        name = request_id(Headers(scope=scope).get(HEADER, ""))
        began, status = self._clock(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        with in_request(name):
            try:
                await self._answered(scope, receive, told)
            finally:
                seconds = self._clock() - began
                self._noted(scope, status, seconds)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer; what nobody caught is told before Starlette tells it."""
        is_begun = False

        async def seen(message: Message) -> None:
            nonlocal is_begun
            is_begun = is_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except UnreadBodyError:
            raise  # for the gate, which answers it
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if is_begun:
                raise  # half of the answer is out: only the server can cut it off
            await _told_failure(seen, current_request())

    def _noted(self, scope: Scope, status: int, seconds: float) -> None:
        if self._measures is not None:
            self._measures.request(area_of(scope["path"]), status or 500, seconds)
        logger.debug(
            "%s %s: %s in %.3f s", scope["method"], scope["path"], status or "cut off", seconds
        )


def area_of(path: str) -> str:
    """To which area of the service a path belongs.

    >>> [area_of(path) for path in ("/rounds/3", "/assist/predict", "/metrics")]
    ['pages', 'assist', 'probes']
    """
    return _AREAS.get(path.split("/", 2)[1] if "/" in path else "", PAGES)


async def _told_failure(send: Send, name: str) -> None:
    text = f"Something went wrong here. The log of the service says what, under {name}.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
