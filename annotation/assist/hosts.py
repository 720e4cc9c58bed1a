"""Which machines pictures may be fetched from: public ones, Label Studio's own, those allowed.

A task's data may name any address, and whoever writes tasks must not make this machine ask what
only it can reach: services on loopback and in the own network, the cloud's metadata. A name is
resolved once, every address that it has is looked at, and who connects takes one of these.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit

from lifelong.errors import PictureAccessError

# Host and port to numeric addresses, in the order to try them; raises OSError.
Resolver = Callable[[str, int], Sequence[str]]

_PORTS = {"http": 80, "https": 443}
_WEB_PORTS = frozenset(_PORTS.values())
_REGISTERED = 1024  # below it every port belongs to a protocol, and HTTP's are the two above
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\Z|[0-9a-f:.]+(?:%\w+)?\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SAFE = "/%:@!$&'()*+,;=~"  # beside letters, digits and "_.-"; "%" as an address may be quoted


@dataclass(frozen=True, slots=True)
class Origin:
    """What a token belongs to: nothing of it may differ between where it is from and goes."""

    scheme: str
    host: str  # in lower case, without brackets
    port: int

    @property
    def authority(self) -> str:
        """As a URL and the Host header have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def is_like(self, other: "Origin") -> bool:
        """The same machine and port for a reader of addresses: loopback has several names."""
        return self == other or (
            (self.scheme, self.port) == (other.scheme, other.port)
            and self.host in _LOOPBACK
            and other.host in _LOOPBACK
        )


@dataclass(frozen=True, slots=True)
class WebPlace:
    """An http(s) URL taken apart once, so that what is checked is what is asked."""

    origin: Origin
    path: str = field(repr=False)  # quoted, with the query, which may hold a signature


def web_place(url: str, name: str) -> WebPlace:
    """Take an http(s) URL apart; user, password and fragment are left out.

    Args:
        name: of the picture, for messages.

    Raises:
        PictureAccessError: another scheme, no host, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        scheme, port, host = parts.scheme.lower(), parts.port, _ascii_host(parts)
    except (ValueError, UnicodeError):
        raise PictureAccessError(f"{name}: not a web address; check host and port") from None
    if scheme not in _PORTS:
        raise PictureAccessError(
            f"{name}: leads to {scheme or 'no scheme'}:; pictures come by http: and https: only"
        )
    if not _HOST.match(host) or port == 0:
        raise PictureAccessError(f"{name}: no host that can be asked; check the address")
    path = quote(parts.path or "/", safe=_SAFE)
    query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
    return WebPlace(Origin(scheme, host, port or _PORTS[scheme]), path + query)


def _ascii_host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    return host if host.isascii() else host.encode("idna").decode()


def by_the_system(host: str, port: int) -> list[str]:
    """Every address that the system's resolver knows for a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Does a numeric address lie in the open internet?

    An IPv4 address within an IPv6 one (mapped, 6to4, Teredo, NAT64) counts as itself.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class HostGate:
    """Lets through to public addresses, to Label Studio, and to private hosts that are allowed."""

    def __init__(
        self,
        *,
        own: Origin | None,
        private_hosts: Collection[str] = (),
        resolve: Resolver = by_the_system,
    ) -> None:
        """
        Args:
            own: Label Studio's, which was configured and may lie anywhere.
            private_hosts: names or numeric addresses, with or without a port; "*" for all.
        """
        self._own = own
        self._private = {host.lower().strip("[]") for host in private_hosts}
        self._resolve = resolve

    def addresses(self, origin: Origin, name: str) -> list[str]:
        """Numeric addresses that may be connected to; never empty.

        Raises:
            PictureAccessError: the name is unknown, or one of its addresses is not public.
        """
        trusted = origin == self._own or self._is_allowed(origin)
        if not trusted and origin.port < _REGISTERED and origin.port not in _WEB_PORTS:
            raise PictureAccessError(
                f"{name}: port {origin.port} is not one of the web's; if pictures do come from "
                f"there, add {origin.host} to assist.private_hosts"
            )
        try:
            found = list(self._resolve(origin.host, origin.port))
        except (OSError, UnicodeError) as error:
            raise _unknown(origin, name, error) from None
        if not found:
            raise _unknown(origin, name, None)
        inside = [] if trusted else [address for address in found if not is_public(address)]
        if inside:
            raise PictureAccessError(
                f"{name}: {origin.host} has the private address {inside[0]}, and pictures are "
                f"fetched from public ones; if this is meant, add {origin.host} to "
                "assist.private_hosts, and if it is Label Studio, set label_studio.url to "
                f"{origin}"
            )
        return found

    def _is_allowed(self, origin: Origin) -> bool:
        names = {"*", origin.host, f"{origin.host}:{origin.port}"}
        return not names.isdisjoint(self._private)


def _unknown(origin: Origin, name: str, error: Exception | None) -> PictureAccessError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else "no address"
    found = PictureAccessError(
        f"{name}: {origin.host} cannot be found from here ({said}); is the name right, and does "
        "this machine reach that network?"
    )
    found.retryable = True  # name servers come back
    return found
