"""`cornerloop serve` over HTTP: rounds and health; it only reads, it never advances a round."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader


def make_app(
    overview: Callable[[], dict[str, Any]], trouble: Callable[[], str], title: str
) -> FastAPI:
    """Build the application.

    Args:
        overview: what `cornerloop rounds --json` prints.
        trouble: why the loop does not move at present, in words; empty when it does.
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
        return page.render(title=title, trouble=trouble(), **overview())

    return app
