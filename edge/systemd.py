"""Word to systemd: ready, alive, stopping; datagrams to the socket that `Type=notify` names.

The protocol is that of sd_notify(3): lines of `NAME=value` in one datagram to `NOTIFY_SOCKET`, a
path or, with a leading `@`, a name of the abstract namespace. With `WatchdogSec=` systemd sets
`WATCHDOG_USEC` and restarts the service when no `WATCHDOG=1` came for that long.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

_BEATS = 4  # in the time after which systemd gives a service up


class SystemdNotices:
    """Tells the service manager how things stand; without one, nothing happens."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._every_s = _watchdog_s(environment) / _BEATS
        self._next_beat = clock()

    def ready(self) -> None:
        """The node is at work, with a model or waiting for the first."""
        self._send("READY=1")

    def beat(self, status: str = "") -> None:
        """The main loop is alive; sent as often as the watchdog wants, and not more often.

        Called between two frames by the thread that segments: a hung model or source must let
        the watchdog bark.
        """
        if self._every_s > 0 and self._clock() >= self._next_beat:
            self._next_beat = self._clock() + self._every_s
            self._send(f"WATCHDOG=1\nSTATUS={status}" if status else "WATCHDOG=1")

    def stopping(self) -> None:
        """The node was asked to end and delivers what it can."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        place = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), place)
        except OSError as error:
            logger.warning("systemd was not told %s: %s", text.splitlines()[0], error)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds after which systemd gives this process up; 0: never, or it means another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
