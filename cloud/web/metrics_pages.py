"""`/metrics` for Prometheus."""

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from cloud.access.permissions import Permission, needs
from cloud.metrics.page import MetricsPage
from cloud.web.parts import Parts


def add_metrics(app: FastAPI, parts: Parts) -> None:
    """`/metrics`, which wants a token."""
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

    app.include_router(router)
