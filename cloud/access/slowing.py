"""Wrong guesses are answered slowly; right ones never are, so nobody can be locked out."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

_FREE = 3  # wrong guesses in a while that cost nothing: a person pastes the wrong thing
_LONGEST = 5.0  # seconds
_FORGIVEN = 60.0  # seconds; then one wrong guess is forgotten
_ADDRESSES = 10_000  # remembered; then the one that was quiet for longest is forgotten
_WAITING = 64  # wrong guesses that are held back at a time; others hear 429 at once


@dataclass(slots=True)
class _Guesses:
    count: float
    at: float  # seconds of the clock


class Slowing:
    """Counts wrong guesses by address; belongs to one event loop."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            clock: seconds, never going back.
        """
        self._clock = clock
        self._sleep = sleep
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()
        self._waiting = 0

    async def wrong(self, address: str) -> int:
        """Note a wrong guess, and hold its answer back.

        Returns:
            0, or after how many seconds to try again: too many are held back already.
        """
        pause = self._noted(_network(address))
        if not pause:
            return 0
        if self._waiting >= _WAITING:
            return int(_LONGEST)
        self._waiting += 1
        try:
            await self._sleep(pause)
        finally:
            self._waiting -= 1
        return 0

    def _noted(self, network: str) -> float:
        """How long the answer is held back, in seconds."""
        now = self._clock()
        known = self._guesses.pop(network, _Guesses(0.0, now))
        count = max(0.0, known.count - (now - known.at) / _FORGIVEN) + 1.0
        self._guesses[network] = _Guesses(count, now)
        while len(self._guesses) > _ADDRESSES:
            self._guesses.popitem(last=False)
        over = min(count - _FREE, 10.0)
        return min(_LONGEST, 0.25 * 2.0**over) if over > 0 else 0.0


def _network(address: str) -> str:
    """An address of the old kind, or the /64 that one household has of the new kind."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:100]
    return str(found) if found.version == 4 else found.exploded[:19]
