"""What all pages share: templates, navigation, who looks, how old what they see is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.staticfiles import StaticFiles

from cloud.access.permissions import Permission, caller_of, needs
from cloud.monitor.look import Look
from cloud.web.charts import Chart
from lifelong.errors import LifelongError

STATIC = Path(__file__).parent / "static"
_PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_DAY_S = 86400

# Address, name, who needs what to see it. The order people ask in.
PAGES: tuple[tuple[str, str, Permission], ...] = (
    ("/", "Overview", Permission.SEE),
    ("/rounds", "Rounds", Permission.SEE),
    ("/learning", "Learning", Permission.SEE),
    ("/queues", "Queues", Permission.SEE),
    ("/people", "People", Permission.SEE),
    ("/edges", "Edges", Permission.SEE),
    ("/releases", "Releases", Permission.SEE),
    ("/correct", "Correct", Permission.LABEL),
    ("/access", "Access", Permission.ADMINISTER),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Renders pages; one for an application."""

    title: str
    look: Callable[[], Look]
    trouble: Callable[[], str]  # why the loop does not move at present; "" when it does
    now: Callable[[], datetime]
    shown: frozenset[str] = frozenset(address for address, _, _ in PAGES)  # which pages there are

    def render(self, request: Request, template: str, /, **facts: Any) -> HTMLResponse:
        """A page from a template of `cloud/web/templates`.

        Every template has: title, page (its address), nav, caller (`Caller` or None), csrf,
        may (permission by name -> bool), trouble, stale (words, "" when fresh), at (UTC).
        `facts` comes on top. Addresses in templates begin with `root`, for proxies with a path.
        """
        caller = caller_of(request)
        look = self._look()
        return HTMLResponse(
            _templates()
            .get_template(template)
            .render(
                title=self.title,
                root=request.scope.get("root_path", ""),
                page=request.url.path.removeprefix(request.scope.get("root_path", "")),
                nav=[
                    (address, name)
                    for address, name, wanted in PAGES
                    if address in self.shown and caller is not None and caller.may(wanted)
                ],
                caller=caller,
                csrf=caller.csrf if caller else "",
                may={str(p): caller is not None and caller.may(p) for p in Permission},
                trouble=self.trouble(),
                stale=look.trouble if look else "storage has not been seen yet",
                at=look.at if look else None,
                **facts,
            )
        )

    def _look(self) -> Look | None:
        try:
            return self.look()
        except LifelongError:
            return None


def add_static(app: FastAPI) -> None:
    """`/static/…`: style sheet, scripts, and Plotly as its package brings it; open to everybody."""
    router = APIRouter(dependencies=[needs(Permission.OPEN)])

    @router.get("/static/plotly.min.js", include_in_schema=False)
    def plotly_script() -> FileResponse:
        return FileResponse(
            _PLOTLY,
            media_type="text/javascript",
            headers={"Cache-Control": f"public, max-age={_DAY_S}"},
        )

    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _percent(value: float | None, digits: int = 1) -> str:
    """0.123 as "12.3"; a dash for what nobody knows."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _moment(value: datetime | None) -> str:
    """In UTC; `site.js` writes it by the reader's clock.

    >>> str(_moment(datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)))
    '<time data-moment datetime="2026-05-04T03:02:01+00:00">2026-05-04 03:02:01 UTC</time>'
    """
    if value is None:
        return "–"
    at = value.astimezone(UTC)
    told = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time data-moment datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), told
    )


def _span(seconds: float | None) -> str:
    """A time span for people.

    >>> [_span(s) for s in (None, 0.4, 75, 539.7, 4000, 200000)]
    ['–', '0.4 s', '1 min 15 s', '9 min 0 s', '1 h 06 min', '2 d 7 h']
    """
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 2 * _DAY_S:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    return f"{seconds // _DAY_S:.0f} d {seconds % _DAY_S // 3600:.0f} h"


def _size(value: float | None) -> str:
    """Bytes for people: binary units.

    >>> [_size(b) for b in (None, 512, 1536, 3 * 2**30)]
    ['–', '512 B', '1.5 KiB', '3.0 GiB']
    """
    if value is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


FILTERS: Mapping[str, Callable[..., str]] = {
    "percent": _percent,
    "moment": _moment,
    "span": _span,
    "bytes": _size,
}

_ENVIRONMENT: list[Environment] = []


def _templates() -> Environment:
    """Made at the first page; an unknown name in a template is an error, not a blank."""
    if not _ENVIRONMENT:
        made = Environment(
            loader=PackageLoader("cloud.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters.update(FILTERS)
        made.tests["chart"] = lambda value: isinstance(value, Chart)
        _ENVIRONMENT.append(made)
    return _ENVIRONMENT[0]
