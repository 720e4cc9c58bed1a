"""Connections whose next request does not begin, or not come to its blank line, are closed.

Uvicorn waits for ever, but for the pause between two requests. A thousand connections that send a
letter now and then would leave nobody else one.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 30.0  # from the connection, or the first letter of a further request


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, with an end to waiting for a head."""

    patience_s = PATIENCE_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        if self._awaits_a_head():
            self._begin()
        else:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._end()
        super().connection_lost(exc)

    def _awaits_a_head(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _begin(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.patience_s, self._give_up)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._awaits_a_head():
            self.transport.abort()
