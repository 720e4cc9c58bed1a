"""The id of the request that is being answered: in the log, in the journal and in the answer.

Whoever asks may bring one (`X-Request-ID`), so that a proxy's log and ours speak of the same; it
is believed only in form. Threads that answer a request inherit it; others have none.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

HEADER = "x-request-id"
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_CURRENT: ContextVar[str] = ContextVar("request", default="")


def current_request() -> str:
    """The id of the request that is being answered here; "" outside of one."""
    return _CURRENT.get()


def request_id(given: str) -> str:
    """The id that a request brings, if it has the form of one; else a new one.

    >>> request_id("gateway-42")
    'gateway-42'
    >>> len(request_id("<script>"))
    16
    """
    return given if _FORM.fullmatch(given) else uuid4().hex[:16]


@contextmanager
def in_request(name: str) -> Iterator[None]:
    """Everything within is done for the request of this id."""
    token = _CURRENT.set(name)
    try:
        yield
    finally:
        _CURRENT.reset(token)
