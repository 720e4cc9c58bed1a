"""Bodies that are too large are refused before they are read whole, however they come."""

from starlette.types import Message, Receive, Scope

MIB = 1 << 20
LARGEST = 16 * MIB  # a corrected mask of a large picture, and then some
# Interactive annotation bounds its own questions: Label Studio sends tasks with everything.
_LARGER = {"/assist": 257 * MIB}


class TooLargeError(Exception):
    """The body goes on beyond what is read."""


def largest_for(path: str) -> int:
    """How many bytes a body may have that is sent to this path."""
    for prefix, size in _LARGER.items():
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

    def __init__(self, receive: Receive, largest: int, *, is_over: bool = False) -> None:
        self._receive = receive
        self._left = largest
        self.is_too_large = False
        self.is_over = is_over  # nothing more of it comes

    async def __call__(self) -> Message:
        """
        Raises:
            TooLargeError: more has come than may.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.is_too_large = True
                raise TooLargeError
            self.is_over = self.is_over or not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        """All of it; for forms, whose token must be known before anything is done.

        Raises:
            TooLargeError: more has come than may.
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
