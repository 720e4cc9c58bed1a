"""The gate put together for `serve`: who may enter, what is recorded, how it listens."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from cloud.access.addresses import own_addresses
from cloud.access.audit_watch import AuditWatch
from cloud.access.book import AccessBook
from cloud.access.entering import check_access, first_link, open_book
from cloud.access.gate import Gate
from cloud.access.slowing import Slowing
from cloud.access.transport import listening, make_server
from cloud.audit_log import AuditLog
from lifelong.config import Config
from lifelong.links.journal import utc_now

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Made before the application, which shows what is in it."""

    config: Config
    book: AccessBook | None  # None: access is off
    audit: AuditLog
    audits: AuditWatch
    slowing: Slowing  # of the gate, and of the page where people enter

    def server(
        self, app: FastAPI, around: Callable[[Gate], ASGIApp] = lambda gate: gate
    ) -> uvicorn.Server:
        """The application behind its gate, ready to listen.

        Args:
            around: what hears of the gate's refusals too, e.g. who gives requests their ids.

        Raises:
            ConfigError: addresses or certificates that do not fit.
        """
        gate = Gate(app, book=self.book, own=own_addresses(self.config), slowing=self.slowing)
        return make_server(around(gate), self.config)

    def listen(self, say: Callable[[str], None]) -> socket.socket:
        """Bind the port, and tell the person at the terminal how to come in the first time.

        Raises:
            ConfigError: the port is taken, or the book cannot be written.
        """
        bound = listening(self.config.web.host, self.config.web.port)
        link = first_link(self.config, port=bound.getsockname()[1], audit=self.audit)
        if link:
            say(f"open this once, within a day, to enter as operator: {link}")
        return bound

    def watch(self, stop: threading.Event) -> None:
        """Look at the audit log in a thread of its own until told to stop."""
        threading.Thread(
            target=self.audits.run, args=(stop,), name="audit log", daemon=True
        ).start()


def make_admission(config: Config, audit: AuditLog) -> Admission:
    """
    Raises:
        ConfigError: access is off where everybody on a network could use it, a damaged book, an
            address that is none.
    """
    check_access(config)
    own_addresses(config)
    if config.web.access == "off":
        logger.warning(
            "web.access is off: whoever reaches %s port %d may do everything, without a token",
            config.web.host,
            config.web.port,
        )
        book = None
    else:
        book = open_book(config)
        book.instance()  # a folder that cannot be written is told now
    audits = AuditWatch(audit, utc_now)
    slowing = Slowing(time.monotonic)
    return Admission(config=config, book=book, audit=audit, audits=audits, slowing=slowing)
