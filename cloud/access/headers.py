"""What every answer tells browsers to keep to; a route may say otherwise for itself."""

from starlette.datastructures import MutableHeaders

# Nothing is loaded from, sent to, or framed by anybody else. Style attributes are our own.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers call the origin of our own forms "null", and it could
    # not be checked. Foreign hosts are told nothing either way.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_YEAR = 365 * 86400  # seconds


def add_headers(headers: MutableHeaders, path: str, *, is_tls: bool) -> None:
    """Add what an answer has not said itself.

    Args:
        path: within the application; what is under /static is no secret and may be kept.
    """
    for name, value in _ALWAYS.items():
        if name == "Cache-Control" and path.startswith("/static/"):
            headers.setdefault(name, "public, max-age=3600")
        else:
            headers.setdefault(name, value)
    if is_tls:
        headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR}")
