"""`/healthz` and `/readyz` for probes; where clients show certificates, at a port of their own.

Kubernetes asks without a certificate, and uvicorn knows no address that wants none.
"""

import threading
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse

from cloud.access.permissions import Permission, caller_of, needs
from cloud.access.transport import careful, listening
from cloud.web.parts import Parts
from lifelong.config import Config


def add_probes(app: FastAPI, parts: Parts) -> None:
    """Two addresses that everybody may ask; the words beside the codes want a token."""
    router = APIRouter()

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


def open_probe_port(config: Config, parts: Parts) -> uvicorn.Server | None:
    """Answer probes, and nothing else, at `web.probe_port`, in a daemon thread; plain HTTP.

    Returns:
        What listens; None when no port is named.

    Raises:
        ConfigError: the port is taken, or not ours to listen at.
    """
    if config.web.probe_port is None:
        return None
    probes = FastAPI(openapi_url=None)
    add_probes(probes, parts)
    bound = listening(config.web.host, config.web.probe_port, named="web.probe_port")
    server = uvicorn.Server(careful(probes))
    threading.Thread(
        target=server.run, kwargs={"sockets": [bound]}, name="probes", daemon=True
    ).start()
    return server


def _may_see(request: Request) -> bool:
    caller = caller_of(request)
    return caller is not None and caller.may(Permission.SEE)
