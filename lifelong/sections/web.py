"""The `web` section: where `cornerloop serve` answers, and who may ask."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Section


class WebSection(Section):
    """`cornerloop serve`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000  # 0: a free one
    # As people reach it, https://loop.example.org/cornerloop, for links; "": host and port.
    address: str = ""
    # `tokens`: nobody sees or does anything without one. `off`: everybody may do everything.
    access: Literal["tokens", "off"] = "tokens"
    access_path: Path = Path("access")  # hashes of tokens and sessions; on this machine only
    session_hours: Annotated[float, Field(gt=0)] = 168.0  # then a browser must enter again
    # Files in PEM; both or none. None: plain HTTP, for loopback or behind a proxy that has TLS.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None  # then only clients with a certificate of it are heard
    # Plain HTTP for `/healthz` and `/readyz` alone; probes show no certificate.
    probe_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    # Addresses of proxies whose X-Forwarded-For and -Proto are believed.
    trusted_proxies: tuple[str, ...] = ()
    refresh_seconds: Annotated[float, Field(gt=0)] = 2.0  # between two looks into storage
