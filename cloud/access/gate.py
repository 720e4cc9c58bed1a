"""The gate: who asks, may he, and is it he who wants it? Asked before anything else is done.

A plain ASGI application around the whole one, so answers may be streamed and nothing passes by.
`needs(…)` of each route asks again behind it.
"""

import logging
import time
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.access.addresses import OwnAddresses, cookies_of, rooted
from cloud.access.bodies import (
    LimitedBody,
    UnreadBodyError,
    has_body,
    largest_for,
    replayed,
    told_length,
)
from cloud.access.book import AccessBook, Known
from cloud.access.doors import Door, Doors
from cloud.access.headers import add_headers
from cloud.access.permissions import Caller, Permission, Role
from cloud.access.refusals import forbidden, refusal, unknown
from cloud.access.slowing import Slowing
from cloud.access.tokens import SESSION, same
from lifelong.errors import ConfigError

logger = logging.getLogger(__name__)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
# Asked by machines that know us by no name, and told nothing that anybody could use.
_ANY_NAME = frozenset({"/healthz", "/readyz"})
_ANYBODY = Caller(name="anybody", role=Role.ADMIN, token_id="")  # where access is off


@dataclass(frozen=True, slots=True)
class _Visitor:
    """What a request says of who asks."""

    caller: Caller | None
    by_token: bool = False  # of itself in each request, which no foreign page can make a browser do
    is_wrong: bool = False  # something was shown that is good for nothing


class Gate:
    """Lets through whom the book knows and the route wants."""

    def __init__(
        self,
        app: FastAPI,
        *,
        book: AccessBook | None,
        own: OwnAddresses,
        slowing: Slowing | None = None,
    ) -> None:
        """
        Args:
            book: None where access is off: everybody may do everything.
        """
        self._app: ASGIApp = app
        self._doors = Doors(app)
        self._book = book
        self._own = own
        self._slowing = slowing or Slowing(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; see ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._visit(self._at_root(scope), receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _at_root(self, scope: Scope) -> Scope:
        """With the root path of `web.address`, and a state of its own."""
        root = self._own.root or scope.get("root_path", "")
        return {
            **scope,
            "root_path": root,
            "path": rooted(scope["path"], root),
            "state": dict(scope.get("state", {})),
        }

    async def _visit(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope["root_path"])
        body = LimitedBody(receive, largest_for(path), is_over=not has_body(scope))
        answer = _Answer(scope, path, send, body)
        try:
            refused, inner = await self._admitted(scope, path, body)
            if refused is not None:
                await refused(scope, receive, answer)
            else:
                await self._app(scope, inner, answer)
        except UnreadBodyError:
            if not answer.is_begun:
                why = _too_slow(scope) if body.trouble == 408 else _too_large(scope, path)
                await why(scope, receive, answer)

    async def _admitted(
        self, scope: Scope, path: str, body: LimitedBody
    ) -> tuple[Response | None, Receive]:
        """Why not, as an answer; or None, and the body for who answers."""
        headers = Headers(scope=scope)
        if any(letter < " " or letter == "\x7f" for letter in scope["path"]):
            return refusal(scope, 400, "an address has no control characters"), body
        length = told_length(scope)
        if length is not None and length > largest_for(path):
            return _too_large(scope, path), body
        door = self._doors.of(scope)
        permission = door.permission if door else None
        try:
            visitor = await self._visitor(scope, headers)
        except ConfigError as error:
            logger.error("nobody can be let in: %s", error)
            if permission is not Permission.OPEN:
                return refusal(scope, 503, "who may enter cannot be read; the log says why"), body
            visitor = _Visitor(None)
        refused = self._name_refused(scope, path, headers, visitor) or await self._refused(
            scope, door, visitor
        )
        if refused is not None:
            return refused, body
        scope["state"]["caller"] = visitor.caller
        if scope["method"] in _SAFE or visitor.by_token:
            return None, body
        return await self._meant(scope, headers, visitor.caller, permission, body)

    async def _visitor(self, scope: Scope, headers: Headers) -> _Visitor:
        if self._book is None:
            return _Visitor(_ANYBODY)
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            known = self._book.by_token(secret.strip())
            return await self._noted(known, by_token=True)
        cookie = cookies_of(scope["headers"]).get(cookie_name(self._book), "")
        if not cookie.startswith(SESSION):
            return _Visitor(None)
        return await self._noted(self._book.by_cookie(cookie), by_token=False)

    async def _noted(self, known: Known | None, *, by_token: bool) -> _Visitor:
        if known is None:
            return _Visitor(None, by_token=by_token, is_wrong=True)
        if known.is_stale and self._book is not None:
            await run_in_threadpool(self._book.note_use, known)
        return _Visitor(known.caller, by_token=by_token)

    def _name_refused(
        self, scope: Scope, path: str, headers: Headers, visitor: _Visitor
    ) -> Response | None:
        """Who comes with a token knows whom he asks; a browser may have been led astray."""
        host = headers.get("host", "")
        is_known = self._own.knows(host) or path in _ANY_NAME
        if is_known or (visitor.by_token and visitor.caller is not None):
            return None
        why = "we are not called so; set web.address to the address by which people reach this"
        return refusal(scope, 421, why)

    async def _refused(self, scope: Scope, door: Door | None, visitor: _Visitor) -> Response | None:
        permission = door.permission if door else None
        if permission is Permission.OPEN:
            return None
        if visitor.caller is None:
            return await self._shown_out(scope, visitor)
        if door is not None and (permission is None or not visitor.caller.may(permission)):
            return forbidden(scope, visitor.caller, permission)
        return None  # an address that there is not is told to who is in

    async def _shown_out(self, scope: Scope, visitor: _Visitor) -> Response:
        if visitor.is_wrong:
            wait = await self._slowing.wrong((scope.get("client") or ("", 0))[0])
            if wait:
                refused = refusal(scope, 429, "too many wrong guesses at a time")
                refused.headers["Retry-After"] = str(wait)
                return refused
        answer = unknown(scope, is_wrong=visitor.is_wrong and visitor.by_token)
        if visitor.is_wrong and not visitor.by_token and self._book is not None:
            answer.delete_cookie(cookie_name(self._book), path=scope["root_path"] or "/")
        return answer

    async def _meant(
        self,
        scope: Scope,
        headers: Headers,
        caller: Caller | None,
        permission: Permission | None,
        body: LimitedBody,
    ) -> tuple[Response | None, Receive]:
        """Does the person want this, or a foreign page that he looks at?"""
        if not self._is_own_page(scope, headers):
            why = "this came from a page of somebody else; nothing was done"
            return refusal(scope, 403, why), body
        if permission is Permission.OPEN or caller is None or not caller.csrf:
            return None, body
        if same(headers.get(CSRF_HEADER, ""), caller.csrf):
            return None, body
        if not headers.get("content-type", "").startswith(_FORMS):
            return _not_meant(scope), body
        whole = await body.whole()
        if not same(await _told_in_form(scope, whole, body), caller.csrf):
            return _not_meant(scope), body
        return None, replayed(whole, body)

    def _is_own_page(self, scope: Scope, headers: Headers) -> bool:
        """As the browser tells; programs tell nothing, and have no cookie that could be misused."""
        site, origin = headers.get("sec-fetch-site", ""), headers.get("origin", "")
        if site not in {"", "same-origin", "none"}:
            return False
        if not origin or (origin == "null" and site == "same-origin"):
            return True
        return self._own.is_own_origin(origin, scope["scheme"], headers.get("host", ""))


class _Answer:
    """Sends an answer on with our headers; another one where the body was too large."""

    def __init__(self, scope: Scope, path: str, send: Send, body: LimitedBody) -> None:
        self._scope, self._path, self._send, self._body = scope, path, send, body
        self.is_begun = False

    async def __call__(self, message: Message) -> None:
        """
        Raises:
            UnreadBodyError: the application answers a body that it could not read.
        """
        if message["type"] == "http.response.start" and not self.is_begun:
            if self._body.trouble not in {0, message["status"]}:
                raise UnreadBodyError
            self.is_begun = True
            message.setdefault("headers", [])
            is_tls = self._scope["scheme"] == "https"
            headers = MutableHeaders(raw=message["headers"])
            add_headers(headers, self._path, is_tls=is_tls)
            if not self._body.is_over:  # else the server would go on taking what nobody reads
                headers["Connection"] = "close"
        await self._send(message)


def cookie_name(book: AccessBook) -> str:
    """Cookies know no ports: Label Studio's and other Cornerloops' on this host come along."""
    return f"cornerloop_{book.instance()}"


async def _told_in_form(scope: Scope, whole: bytes, receive: Receive) -> str:
    """The CSRF token in a form; "" for none, or a form that is none."""
    try:
        form = await Request(scope, replayed(whole, receive)).form(max_files=20, max_fields=2000)
    except (HTTPException, MultiPartException, ValueError):
        return ""
    given = form.get(CSRF_FIELD)
    await form.close()
    return given if isinstance(given, str) else ""


def _too_large(scope: Scope, path: str) -> Response:
    return refusal(scope, 413, f"more than {largest_for(path)} bytes")


def _too_slow(scope: Scope) -> Response:
    return refusal(scope, 408, "the rest of this request did not come")


def _not_meant(scope: Scope) -> Response:
    why = "this form is not of your present session: go back, load the page anew, and try again"
    return refusal(scope, 403, why)
