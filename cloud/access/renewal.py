"""`RenewedCertificates`: what was renewed on the disk is shown to whoever connects next.

cert-manager, certbot and their like replace files and tell nobody. What is there is checked by
itself first, so that a certificate that came before its key is never shown: until both fit, the
pair before stays.
"""

import logging
import ssl
from pathlib import Path

from lifelong.errors import ConfigError
from lifelong.sections.web import WebSection

logger = logging.getLogger(__name__)


class RenewedCertificates:
    """Looks at the files again and again; one object a server."""

    def __init__(self, web: WebSection) -> None:
        self._web = web
        self._shown = self._contents()
        self._refused: tuple[bytes, ...] | None = None

    def look(self, context: ssl.SSLContext) -> bool:
        """Load what has changed; says whether anything was.

        To be called in the thread that begins connections: a context must not change under one.

        Args:
            context: that of a server which listens; connections that stand keep what they have.
        """
        found = self._contents()
        if found is None or found in (self._shown, self._refused):
            return False
        try:
            load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._web)
            load(context, self._web)
        except ConfigError as error:
            self._refused = found
            logger.warning("renewed, and not taken: %s; the ones before are shown on", error)
            return False
        # Replaced once more while they were read: what was loaded may be of both.
        self._shown = found if found == self._contents() else None
        logger.info("web.tls_certificate %s was renewed", self._web.tls_certificate)
        return True

    def _contents(self) -> tuple[bytes, ...] | None:
        """What the files hold; None while one of them is not there."""
        try:
            return tuple(path.read_bytes() for path in _files(self._web))
        except OSError:
            return None


def load(context: ssl.SSLContext, web: WebSection) -> None:
    """Load certificate, key and the clients' authority into a context.

    An authority is added to those that the context believes; none is taken away.

    Raises:
        ConfigError: one is missing, is no PEM, or they do not fit.
    """
    if web.tls_certificate is None:
        return
    try:
        # An encrypted key would make the start wait at a terminal that nobody sees.
        context.load_cert_chain(web.tls_certificate, web.tls_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"web.tls_certificate {web.tls_certificate}, web.tls_key {web.tls_key}: {error}; both "
            "in PEM, the key without a password"
        ) from error
    try:
        if web.tls_client_ca is not None:
            context.load_verify_locations(web.tls_client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"web.tls_client_ca {web.tls_client_ca}: {error}; PEM") from error


def _files(web: WebSection) -> list[Path]:
    named = (web.tls_certificate, web.tls_key, web.tls_client_ca)
    return [path for path in named if path is not None]


def _no_password() -> str:
    raise ValueError("the key has a password")
