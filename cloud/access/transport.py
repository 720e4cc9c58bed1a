"""How `serve` listens: TLS, certificates of clients, proxies that are believed."""

import socket
import ssl
from typing import Any

import uvicorn

from lifelong.config import Config
from lifelong.errors import ConfigError


def make_server(app: Any, config: Config) -> uvicorn.Server:
    """A server for the application, as the `web` section says.

    Raises:
        ConfigError: certificates that are missing or do not fit.
    """
    web = config.web
    _check_tls(config)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=web.host,
            port=web.port,
            log_level="warning",
            access_log=False,  # our own log tells what was done, without addresses of people
            server_header=False,
            # Nobody is believed unasked; uvicorn alone would believe this machine.
            proxy_headers=bool(web.trusted_proxies),
            forwarded_allow_ips=list(web.trusted_proxies),
            ssl_certfile=web.tls_certificate,
            ssl_keyfile=web.tls_key,
            ssl_ca_certs=str(web.tls_client_ca) if web.tls_client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if web.tls_client_ca else ssl.CERT_NONE,
        )
    )


def listening(config: Config) -> socket.socket:
    """A socket that is bound: the port is known, and a taken one is told at once.

    Raises:
        ConfigError: it is taken, or not ours to listen at.
    """
    host, port = config.web.host, config.web.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"web.port: cannot listen at {host}:{port} ({error.strerror}); stop what uses it, or "
            "name another one"
        ) from error


def _check_tls(config: Config) -> None:
    web = config.web
    if (web.tls_certificate is None) != (web.tls_key is None):
        raise ConfigError("web.tls_certificate and web.tls_key belong together: name both or none")
    if web.tls_certificate is None:
        if web.tls_client_ca is not None:
            raise ConfigError("web.tls_client_ca needs web.tls_certificate and web.tls_key")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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


def _no_password() -> str:
    raise ValueError("the key has a password")
