"""What a request hears that cannot be read: which field is wrong, and how.

What was sent is not sent back: it may hold a secret, and numbers and letters (NaN, half a
surrogate pair) that no JSON can carry.
"""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

_LONGEST = 100  # letters of a field's name; a foreign one may have thousands
_MOST = 20  # faults that are told


def add_unreadable(app: FastAPI) -> None:
    """Answers 422 with the faults, `{"detail": [{"type": …, "loc": […], "msg": …}]}`."""

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [
            {
                "type": fault["type"],
                "loc": [one if isinstance(one, int) else _plain(one) for one in fault["loc"]],
                "msg": _plain(fault["msg"]),
            }
            for fault in error.errors()[:_MOST]
        ]
        return JSONResponse({"detail": faults}, status_code=422)

    app.add_exception_handler(RequestValidationError, told)


def _plain(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode()[:_LONGEST]
