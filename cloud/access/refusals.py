"""How a refusal is told: to browsers a page or the way to enter, to programs JSON."""

from html import escape
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from cloud.access.addresses import is_local
from cloud.access.permissions import GRANTS, Caller, Permission

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{status} · Cornerloop</title>
<link rel="icon" href="{root}/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}/static/style.css"></head>
<body><main id="main"><h1>{title}</h1><p>{why}</p>
<p><a href="{root}/">To the overview</a></p></main></body></html>"""
_TITLES = {
    400: "That is no request of ours",
    401: "Enter first",
    403: "Not with this role",
    408: "Too slow",
    413: "Too large",
    421: "Not under this name",
    429: "Too many wrong guesses",
    503: "Nobody can enter at present",
}


def is_browser(headers: Headers) -> bool:
    """Does somebody look at the answer?"""
    return "text/html" in headers.get("accept", "")


def refusal(scope: Scope, status: int, why: str) -> Response:
    """An answer that says no."""
    if not is_browser(Headers(scope=scope)):
        return JSONResponse({"detail": why}, status_code=status)
    page = _PAGE.format(
        status=status,
        title=escape(_TITLES.get(status, "Refused")),
        why=escape(why),
        root=escape(scope.get("root_path", "")),
    )
    return HTMLResponse(page, status_code=status)


def unknown(scope: Scope, *, is_wrong: bool) -> Response:
    """To somebody whom nobody knows: a browser is shown the door, a program hears 401.

    Args:
        is_wrong: a token was sent that is good for nothing.
    """
    root = scope.get("root_path", "")
    if is_browser(Headers(scope=scope)) and not is_wrong:
        return RedirectResponse(f"{root}/enter{_next(scope, root)}", status_code=303)
    why = (
        "this token is not known, or it has ended; `cornerloop tokens list` shows all"
        if is_wrong
        else "enter first: send `Authorization: Bearer clp_…`; `cornerloop tokens new` makes one"
    )
    challenge = 'Bearer realm="Cornerloop"' + (', error="invalid_token"' if is_wrong else "")
    return JSONResponse({"detail": why}, status_code=401, headers={"WWW-Authenticate": challenge})


def forbidden(scope: Scope, caller: Caller, permission: Permission | None) -> Response:
    """To somebody who is known, and may not."""
    if permission is None:
        return refusal(scope, 403, "this address is closed: it does not say who may use it")
    roles = ", ".join(role for role, granted in GRANTS.items() if permission in granted)
    why = f"a token of role {caller.role} may not do this; it needs one of: {roles}"
    return refusal(scope, 403, why)


def _next(scope: Scope, root: str) -> str:
    if scope["method"] not in {"GET", "HEAD"}:
        return ""
    path = str(scope["path"]).removeprefix(root) or "/"
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    wanted = quote(path) + (f"?{query}" if query else "")
    return f"?next={quote(wanted, safe='')}" if wanted != "/" and is_local(wanted) else ""
