"""What pages say while storage cannot be reached and was never seen: why, and that nothing is lost.

Once there was a look, pages go on showing it and say how old it is; this is for the time before.
"""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cloud.access.permissions import Permission, caller_of
from cloud.web.site import Site
from lifelong.errors import StorageError


def add_unreachable(app: FastAPI, site: Site) -> None:
    """Answers 503 in the place of what a page could not see."""

    async def told(request: Request, error: Exception) -> Response:
        caller = caller_of(request)
        reason = str(error) if caller is not None and caller.may(Permission.SEE) else ""
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"detail": reason or "storage cannot be reached"}, status_code=503)
        page = site.render(request, "unreachable.html", reason=reason)
        page.status_code = 503
        return page

    app.add_exception_handler(StorageError, told)
