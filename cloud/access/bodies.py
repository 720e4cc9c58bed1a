"""Bodies that are too large are refused before they are read whole, however they come, and so are
those that do not come: a thousand requests of a byte a minute would hold a thousand connections."""

import asyncio
import time
from collections.abc import Callable

from starlette.types import Message, Receive, Scope

MIB = 1 << 20
LARGEST = 16 * MIB  # a corrected mask of a large picture, and then some
# Interactive annotation bounds its own questions: Label Studio sends tasks with everything.
_OTHERS = {
    "/assist": 257 * MIB,
    # Everybody may send these, and they hold a token at most.
    "/enter": 64 * 1024,
}
PATIENCE_S = 30.0  # that a body may keep us waiting
SLOWEST = 4096  # bytes; as many earn a second of it again


class UnreadBodyError(Exception):
    """The body is not read to its end."""


class TooLargeError(UnreadBodyError):
    """It goes on beyond what is read."""


class TooSlowError(UnreadBodyError):
    """It does not come."""


def largest_for(path: str) -> int:
    """How many bytes a body may have that is sent to this path."""
    for prefix, size in _OTHERS.items():
        if path == prefix or path.startswith(prefix + "/"):
            return size
    return LARGEST


def told_length(scope: Scope) -> int | None:
    """The length that a request promises; None: it comes in pieces. Nonsense is too much."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else 1 << 62
    return None


def has_body(scope: Scope) -> bool:
    """Does anything come after the headers of a request?"""
    return told_length(scope) != 0 and any(
        name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"]
    )


class LimitedBody:
    """Hands a body on, and says when it was too much: frameworks swallow exceptions."""

    def __init__(
        self,
        receive: Receive,
        largest: int,
        *,
        is_over: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._left = largest
        self._patience_s = PATIENCE_S
        self._clock = clock
        self.trouble = 0  # the status that says why it was not read to its end: 408, 413
        self.is_over = is_over  # nothing more of it comes

    async def __call__(self) -> Message:
        """
        Raises:
            TooLargeError: more has come than may.
            TooSlowError: nothing has come for too long.
        """
        message = await (self._receive() if self.is_over else self._in_time())
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            earned = self._patience_s + len(message.get("body", b"")) / SLOWEST
            self._patience_s = min(earned, PATIENCE_S)
            if self._left < 0:
                self.trouble = 413
                raise TooLargeError
            self.is_over = self.is_over or not message.get("more_body", False)
        return message

    async def _in_time(self) -> Message:
        """Counts only how long we wait, not what is done between two pieces."""
        began = self._clock()
        try:
            return await asyncio.wait_for(self._receive(), self._patience_s)
        except TimeoutError as error:
            self.trouble = 408
            raise TooSlowError from error
        finally:
            self._patience_s -= self._clock() - began

    async def whole(self) -> bytes:
        """All of it; for forms, whose token must be known before anything is done.

        Raises:
            TooLargeError, TooSlowError: as reading it piece by piece.
        """
        pieces = []
        while True:
            message = await self()
            if message["type"] != "http.request":
                break
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        return b"".join(pieces)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body once more, for who comes after; then whatever else arrives."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
