"""How `serve` listens: TLS, certificates of clients, proxies that are believed."""

import socket
import ssl
from collections.abc import Sequence
from typing import Any

import uvicorn

from cloud.access.renewal import RenewedCertificates, load
from cloud.access.slow_heads import PatientProtocol
from lifelong.config import Config
from lifelong.errors import ConfigError
from lifelong.sections.web import WebSection

_LOOK_EVERY = 50  # ticks of uvicorn, ten a second: certificates are looked at every 5 s


class _Server(uvicorn.Server):
    """Takes renewed certificates in between two ticks, in the thread that begins connections."""

    def __init__(self, config: uvicorn.Config, certificates: RenewedCertificates) -> None:
        super().__init__(config)
        self._certificates = certificates

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`."""
        if self.config.ssl is not None and counter % _LOOK_EVERY == 0:
            self._certificates.look(self.config.ssl)
        return await super().on_tick(counter)


def make_server(app: Any, config: Config) -> uvicorn.Server:
    """A server for the application, as the `web` section says.

    Raises:
        ConfigError: certificates that are missing or do not fit.
    """
    web = config.web
    _check_tls(web)
    return _Server(
        careful(
            app,
            web.trusted_proxies,
            host=web.host,
            port=web.port,
            ssl_certfile=web.tls_certificate,
            ssl_keyfile=web.tls_key,
            ssl_ca_certs=str(web.tls_client_ca) if web.tls_client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if web.tls_client_ca else ssl.CERT_NONE,
        ),
        RenewedCertificates(web),
    )


def careful(app: Any, trusted_proxies: Sequence[str] = (), **more: Any) -> uvicorn.Config:
    """How uvicorn is set up wherever we listen; `more` goes to it as it is."""
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",  # nothing of ours speaks it
        log_config=None,  # its lines go through our handler: cleaned, and JSON where ours are
        log_level="warning",
        access_log=False,  # our own log tells what was done, without addresses of people
        server_header=False,
        # Nobody is believed unasked; uvicorn alone would believe this machine.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        **more,
    )


def listening(host: str, port: int, *, named: str = "web.port") -> socket.socket:
    """A socket that is bound: the port is known, and a taken one is told at once.

    Args:
        named: the setting that says which port, for people.

    Raises:
        ConfigError: it is taken, or not ours to listen at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"{named}: cannot listen at {host}:{port} ({error.strerror}); stop what uses it, or "
            "name another one"
        ) from error


def _check_tls(web: WebSection) -> None:
    if (web.tls_certificate is None) != (web.tls_key is None):
        raise ConfigError("web.tls_certificate and web.tls_key belong together: name both or none")
    if web.tls_certificate is None and web.tls_client_ca is not None:
        raise ConfigError("web.tls_client_ca needs web.tls_certificate and web.tls_key")
    load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), web)
