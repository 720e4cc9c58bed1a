"""Under which names we are reached, and which addresses are ours.

A browser can be led to us under a foreign name (DNS rebinding), and then takes our answers for
that name's. A foreign name is refused; an address in digits cannot be anybody's name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from lifelong.config import Config
from lifelong.errors import ConfigError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# What follows a path's first "/" must not make it another host's: "//host", "/\host".
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
_LONGEST = 2000
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Whom we are reached as."""

    names: frozenset[str]  # hosts, lower case, without port
    public: str  # `web.address` without a path, "" when it is not set
    root: str  # its path, "/cornerloop"; "" for none

    def knows(self, host: str) -> bool:
        """Is a Host header one of our names, or an address in digits?"""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        return name in self.names or _is_digits(name)

    def is_own_origin(self, origin: str, scheme: str, host: str) -> bool:
        """Does an Origin header name the page's own origin?

        Args:
            scheme: as the browser used it, by us or by a trusted proxy.
            host: the Host header.
        """
        return bool(origin) and origin.lower() in {
            _origin(f"{scheme}://{host}"),
            self.public,
        }


def own_addresses(config: Config) -> OwnAddresses:
    """All names of ours that the configuration knows.

    Raises:
        ConfigError: web.address is no http(s) address, or its path has odd letters.
    """
    told = [config.web.address, config.label_studio.ml_backend, config.label_studio.webhook_url]
    names = {(urlsplit(url).hostname or "").lower() for url in told if url}
    names |= {config.web.host.lower()} | _LOOPBACK
    public, root = "", ""
    if config.web.address:
        parts = urlsplit(config.web.address)
        root = parts.path.rstrip("/")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                f"web.address {config.web.address!r}: expected http(s)://host, with a path if you "
                "like"
            )
        if not _PATH.fullmatch(root) or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError(f"web.address {config.web.address!r}: only a host and a plain path")
        public = _origin(config.web.address)
    return OwnAddresses(frozenset(names - {""}), public, root)


def is_local(path: str) -> bool:
    """May a browser be sent on to this? Only a path of ours, never another host's address.

    >>> [is_local(p) for p in ("/rounds?page=2", "//evil.example", "/\\\\evil", "https://evil", "")]
    [True, False, False, False, False]
    """
    return len(path) <= _LONGEST and _LOCAL.fullmatch(path) is not None


def rooted(path: str, root: str) -> str:
    """A path with our root before it, whether a proxy has taken that away or not."""
    if not root or path == root or path.startswith(root + "/"):
        return path
    return root + path


def cookies_of(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Cookies of a request; of two of one name the first, which has the longer path."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, equals, text = part.strip().partition("=")
                if equals:
                    found.setdefault(key, text)
    return found


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    netloc = parts.netloc.lower().removesuffix(default) if default else parts.netloc.lower()
    return f"{parts.scheme}://{netloc}"


def _is_digits(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
