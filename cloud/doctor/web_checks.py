"""The doctor's look at who may reach our own pages: tokens, their folder, TLS."""

import ssl
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from lifelong.sections.web import WebSection

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SOON = timedelta(days=21)  # a certificate that ends sooner should have been renewed


def look_at_web(patient: Patient) -> Iterable[Finding]:
    """Is nobody let in who should not be, and is the certificate good?"""
    web = patient.config.web
    found = [*_access(web), *_folder(web.access_path), *_tls(web, patient.now())]
    yield from found
    if not any(finding.to_do for finding in found):
        how = "tokens" if web.access == "tokens" else "everybody on this machine"
        yield well(f"{web.host}:{web.port}", f"open to {how}")


def _access(web: WebSection) -> Iterator[Finding]:
    if web.access == "off" and web.host not in LOOPBACK and web.tls_client_ca is None:
        yield broken(
            "web.access",
            f"off: everybody who reaches {web.host} may do everything, roll back the fleet too",
            "say `tokens` (`cornerloop tokens` makes them), or web.host: 127.0.0.1",
        )
    elif web.host not in LOOPBACK and web.tls_certificate is None and not web.trusted_proxies:
        yield warning(
            "web.tls_certificate",
            f"is not set, and pages are served at {web.host}: tokens cross the network readable",
            "name certificate and key, or put a proxy with TLS before it and name that in "
            "web.trusted_proxies",
        )


def _folder(path: Path) -> Iterator[Finding]:
    for one in (path, *(sorted(path.iterdir()) if path.is_dir() else ())):
        if not one.exists():
            continue
        mode = stat.S_IMODE(one.stat().st_mode)
        if mode & 0o077:
            kind = "700" if one.is_dir() else "600"
            yield broken(
                f"web.access_path {one}",
                f"can be read by others (mode {mode:o}), and holds hashes of tokens and sessions",
                f"chmod {kind} {one}",
            )


def _tls(web: WebSection, now: datetime) -> Iterator[Finding]:
    if (web.tls_certificate is None) != (web.tls_key is None):
        yield broken(
            "web.tls_certificate, web.tls_key", "one is set without the other", "name both or none"
        )
    if web.tls_certificate is None or web.tls_key is None:
        return
    if not (web.tls_certificate.exists() and web.tls_key.exists()):
        return  # `configuration` says so
    where = f"web.tls_certificate {web.tls_certificate}"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(web.tls_certificate, web.tls_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield broken(
                where,
                f"does not belong to web.tls_key {web.tls_key}",
                "name the key that the certificate was made for, or have a new one made",
            )
        else:
            yield broken(
                where, f"cannot be used with its key ({error.reason or error})",
                "both must be PEM, the key without a password",
            )  # fmt: skip
        return
    except (OSError, ValueError) as error:
        yield broken(where, f"cannot be read ({error})", "both must be PEM, readable by us")
        return
    yield from _validity(web.tls_certificate, where, now)


def _validity(certificate: Path, where: str, now: datetime) -> Iterator[Finding]:
    begins, ends = validity_of(certificate)
    renew = "renew it, and start `cornerloop serve` again"
    if ends <= now:
        yield broken(where, f"has run out on {ends:%Y-%m-%d}: browsers and nodes refuse it", renew)
    elif begins > now:
        yield broken(where, f"begins on {begins:%Y-%m-%d} only", "look at this machine's clock")
    elif ends - now < SOON:
        yield warning(where, f"runs out on {ends:%Y-%m-%d}", renew)
    else:
        yield well(where, f"fits its key, and is good until {ends:%Y-%m-%d}")


def validity_of(certificate: Path) -> tuple[datetime, datetime]:
    """From when until when the first certificate of a PEM file is good, UTC.

    Read by the machinery of Python's own `ssl`, which has no public reader of certificates that
    have run out: two ends of a connection in memory would refuse one.
    """
    decode: Any = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]
    told = decode(str(certificate))
    begins, ends = (ssl.cert_time_to_seconds(told[name]) for name in ("notBefore", "notAfter"))
    return datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC)


def _no_password() -> str:
    """An encrypted key must not make the doctor ask."""
    return ""
