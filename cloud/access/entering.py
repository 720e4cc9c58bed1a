"""The first way in, and how it is told: a link that opens one session, once.

Its code stands behind the `#` of the address. Browsers keep that part to themselves: it is in no
log of a server or proxy and in no Referer. A script of ours moves it into the form; whoever has
no scripts pastes it. It is used up by a button and not by the page, so previews of links in chats
do no harm.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from cloud.access.book import AccessBook
from cloud.access.permissions import Role
from cloud.audit_log import Recorder
from lifelong.config import Config
from lifelong.errors import ConfigError, LifelongError
from lifelong.links.journal import utc_now

logger = logging.getLogger(__name__)

FIRST_NAME = "first operator"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY = frozenset({"0.0.0.0", "::", ""})


def open_book(config: Config, now: Callable[[], datetime] = utc_now) -> AccessBook:
    """The book that a configuration names."""
    return AccessBook(config.web.access_path, now, config.web.session_hours)


def base_address(config: Config, port: int = 0) -> str:
    """Under which people reach the pages, without a "/" at the end.

    Args:
        port: that we really listen at; 0: the configured one.
    """
    if config.web.address:
        return config.web.address.rstrip("/")
    host = "127.0.0.1" if config.web.host in _ANY else config.web.host
    scheme = "https" if config.web.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or config.web.port}"


def new_link(
    config: Config, role: Role, name: str, *, port: int = 0, is_first: bool = False
) -> str:
    """The address that lets one person in, once, within a day.

    Raises:
        ConfigError: a name that is none, the role of machines, or a book that cannot be written.
    """
    _, code = open_book(config).make_link(role, name, is_first=is_first)
    return f"{base_address(config, port)}/enter#code={code}"


def first_link(config: Config, *, port: int = 0, audit: Recorder | None = None) -> str:
    """A link for the first operator; "" where somebody has had a way in, or access is off.

    One that was made before and not used ends: only its hash is known, it cannot be told again.
    """
    if config.web.access == "off" or not open_book(config).is_untouched():
        return ""
    link = new_link(config, Role.OPERATOR, FIRST_NAME, port=port, is_first=True)
    record_if_possible(audit, "serve", "link.made", role=str(Role.OPERATOR), name=FIRST_NAME)
    return link


def record_if_possible(audit: Recorder | None, who: str, what: str, **facts: str) -> None:
    """Write into the audit log what changes no fleet: a storage that is away must keep nobody
    from coming in to see why, nor a stolen token from being revoked."""
    if audit is None:
        return
    try:
        audit.record(who, what, **facts)
    except LifelongError as error:
        logger.warning("not in the audit log: %s %s %s: %s", who, what, facts, error)


def check_access(config: Config) -> None:
    """
    Raises:
        ConfigError: everybody on a network could do everything.
    """
    web = config.web
    is_bounded = web.host in _LOOPBACK or web.tls_client_ca is not None
    if web.access == "off" and not is_bounded:
        raise ConfigError(
            f"web.access: off lets everybody who reaches {web.host} do everything; it is for "
            "web.host 127.0.0.1, or with web.tls_client_ca; else say `tokens`"
        )
