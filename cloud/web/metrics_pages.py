"""`/metrics` for Prometheus, `/healthz` and `/readyz` for probes."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from cloud.access.permissions import Permission, caller_of, needs
from cloud.metrics.page import MetricsPage
from cloud.web.parts import Parts


def add_metrics(app: FastAPI, parts: Parts) -> None:
    """The three addresses; only numbers want a token."""
    router = APIRouter()
    page = MetricsPage(
        look=parts.site.look,
        trouble=parts.site.trouble,
        vitals=parts.vitals,
        measures=parts.measures,
        gauges=parts.gauges,
        now=parts.site.now,
    )

    @router.get("/metrics", dependencies=[needs(Permission.MEASURE)])
    def metrics() -> Response:
        return Response(page.text(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/healthz", dependencies=[needs(Permission.OPEN)])
    def healthz(request: Request) -> JSONResponse:
        complaints = parts.vitals.hearts.complaints()
        body: dict[str, Any] = {"status": "stuck" if complaints else "up"}
        if complaints and _may_see(request):
            body["reasons"] = list(complaints.values())
        return JSONResponse(body, status_code=503 if complaints else 200)

    @router.get("/readyz", dependencies=[needs(Permission.OPEN)])
    def readyz(request: Request) -> JSONResponse:
        standing = parts.vitals.standing(parts.site.look, parts.site.trouble(), parts.site.now())
        body: dict[str, Any] = {"status": str(standing.state)}
        if standing.faults:
            body["codes"] = list(dict.fromkeys(str(fault.code) for fault in standing.faults))
        if standing.faults and _may_see(request):
            body["reasons"] = [fault.words for fault in standing.faults]
        return JSONResponse(body, status_code=200 if standing.is_ready else 503)

    app.include_router(router)


def _may_see(request: Request) -> bool:
    caller = caller_of(request)
    return caller is not None and caller.may(Permission.SEE)
