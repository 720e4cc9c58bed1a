"""`/enter` and `/leave` for everybody; `/access` for admins: tokens, sessions, the audit log."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloud.access.addresses import cookies_of, is_local
from cloud.access.book import AccessBook
from cloud.access.book_file import Page
from cloud.access.entering import record_if_possible
from cloud.access.gate import cookie_name
from cloud.access.permissions import Permission, caller_of, needs
from cloud.access.slowing import Slowing
from cloud.access.tokens import secret_in
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts
from lifelong.errors import LifelongError

_OVER = "That token or code is not known, has ended, or was used before."
_NONE = "That is no token and no code of ours: they begin with clp_ or clpl_."
_TOLD = {
    "revoked": "It has ended, with all sessions that were opened by it.",
    "checked": "The whole chain of the audit log was read.",
}
Secret = Annotated[str, Form(max_length=4096)]
Next = Annotated[str, Form(max_length=2000)]
Which = Annotated[str, Form(min_length=1, max_length=200)]
Hours = Annotated[float, Form(ge=0, le=24 * 365)]


def add_access(app: FastAPI, parts: Parts) -> None:
    """The pages; where access is off there is nothing to enter or to leave."""
    router = APIRouter(dependencies=[needs(Permission.ADMINISTER)])
    _add_overview(router, parts, parts.book)
    if parts.book is not None:
        _add_enter(app, parts, parts.book)
        _add_leave(app, parts, parts.book)
        _add_changes(router, parts, parts.book)
    app.include_router(router)


def _add_enter(app: FastAPI, parts: Parts, book: AccessBook) -> None:
    slowing = parts.slowing or Slowing(time.monotonic)

    @app.get("/enter", response_class=HTMLResponse, dependencies=[needs(Permission.OPEN)])
    def enter_page(request: Request, next: str = "") -> HTMLResponse:  # noqa: A002 - its name there
        wanted = next if is_local(next) else ""
        return parts.site.render(request, "enter.html", why="", next=wanted)

    @app.post("/enter", dependencies=[needs(Permission.OPEN)])
    async def enter(request: Request, secret: Secret = "", next: Next = "") -> Response:  # noqa: A002
        given = secret_in(secret)
        found = await run_in_threadpool(book.enter, given) if given else None
        wanted = next if is_local(next) else ""
        if found is None:
            wait = await slowing.wrong(request.client.host if request.client else "")
            page = parts.site.render(
                request, "enter.html", why=_OVER if given else _NONE, next=wanted
            )
            page.status_code = 429 if wait else 401
            if wait:
                page.headers["Retry-After"] = str(wait)
            return page
        caller, cookie = found
        await run_in_threadpool(
            record_if_possible, parts.audit, caller.name, "session.opened", by=caller.token_id
        )
        root = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}{wanted or '/'}", status_code=303)
        answer.set_cookie(
            cookie_name(book),
            cookie,
            path=root or "/",
            httponly=True,
            samesite="lax",
            secure=request.scope["scheme"] == "https",
            max_age=400 * 86400,  # the book ends it long before
        )
        return answer


def _add_leave(app: FastAPI, parts: Parts, book: AccessBook) -> None:
    @app.post("/leave", dependencies=[needs(Permission.SEE)])
    def leave(request: Request) -> Response:
        name, caller = cookie_name(book), caller_of(request)
        cookie = cookies_of(request.headers.raw).get(name, "")
        if cookie and caller is not None:
            book.leave(cookie)
            record_if_possible(parts.audit, caller.name, "session.closed", by=caller.token_id)
        root = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/enter", status_code=303)
        answer.delete_cookie(name, path=root or "/")
        return answer


def _add_overview(router: APIRouter, parts: Parts, book: AccessBook | None) -> None:
    @router.get("/access", response_class=HTMLResponse)
    def access_page(
        request: Request, page: PageNumber = 1, tokens: PageNumber = 1, done: str = ""
    ) -> HTMLResponse:
        return _overview(request, parts, book, page=page, tokens=tokens, done=done)

    @router.post("/access/check")
    def check(request: Request) -> Response:
        try:
            if parts.audits is not None:
                parts.audits.check()
        except LifelongError as error:
            return _refused(request, parts, error)
        return _back(request, "checked")


def _add_changes(router: APIRouter, parts: Parts, book: AccessBook) -> None:
    @router.post("/access/revoke")
    def revoke(request: Request, which: Which) -> Response:
        try:
            ended = book.revoke(which)
        except LifelongError as error:
            return _refused(request, parts, error)
        record_if_possible(
            parts.audit, _who(request), "token.revoked", which=which, ended=" ".join(ended)
        )
        return _back(request, "revoked")

    @router.post("/access/rotate")
    def rotate(request: Request, which: Which, grace_hours: Hours = 0.0) -> Response:
        try:
            book.check_rotation(which, grace_hours)
            if parts.audit is not None:  # a new way in is not made unrecorded
                parts.audit.record(
                    _who(request), "token.rotated", which=which, grace_hours=grace_hours
                )
            token, secret = book.rotate(which, grace_hours=grace_hours)
        except LifelongError as error:
            return _refused(request, parts, error)
        # An answer and no redirect: it is told this once and kept nowhere.
        return parts.site.render(
            request, "token_made.html", token=token, secret=secret, grace_hours=grace_hours
        )


def _overview(
    request: Request, parts: Parts, book: AccessBook | None, *, page: int, tokens: int, done: str
) -> HTMLResponse:
    found, now = book.page() if book is not None else Page(instance=""), parts.site.now()
    good = sorted(found.tokens, key=lambda one: (not one.is_good(now), -one.created.timestamp()))
    seen = parts.audits.seen() if parts.audits is not None else None
    facts: dict[str, Any] = {
        "tokens": paged(good, tokens),
        "links": [one for one in reversed(found.links) if one.is_good(now)],
        "sessions": paged(sorted(found.sessions, key=lambda one: one.seen, reverse=True), 1, 50),
        "now": now,
        "is_off": book is None,
        "audit": seen,
        "entries": paged(seen.entries, page) if seen is not None else None,
        "told": _TOLD.get(done, ""),
    }
    return parts.site.render(request, "access.html", **facts)


def _who(request: Request) -> str:
    caller = caller_of(request)
    return caller.name if caller is not None else "nobody"


def _back(request: Request, done: str) -> Response:
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/access?done={done}", status_code=303)


def _refused(request: Request, parts: Parts, error: LifelongError) -> Response:
    page = parts.site.render(
        request, "refused.html", why=str(error), back="/access", retryable=error.retryable
    )
    page.status_code = 503 if error.retryable else 409
    return page
