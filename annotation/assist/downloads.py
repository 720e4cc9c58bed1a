"""One file over http(s), within bounds: of bytes, of time, of hosts; and a token stays at home.

Requests are written with the standard library and not with httpx, which writes every address with
its signature into the log. What the file server sends is believed in nothing: not in its length,
not in its encoding, not in where it redirects to. Redirects are followed here by hand; the first
one to another scheme, host or port ends the authorization for good.
"""

import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal
from urllib.parse import urljoin

import httpx

from annotation.assist.hosts import HostGate, Origin, WebPlace, web_place
from lifelong.errors import PictureAccessError

# Numeric address, port and seconds to a connected socket; raises OSError.
Connector = Callable[[str, int, float], socket.socket]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_CHUNK = 1 << 16
_WORDS = 1 << 16  # bytes of an answer that is not the file: what is wrong, in JSON or a page
_ETAG, _DATE = "etag ", "date "
_PLAINLY = {"Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds."""

    connect: float = 10.0  # for each numeric address
    silence: float = 15.0  # without a byte
    whole: float = 60.0  # all redirects and the last byte; Label Studio waits 100 s for an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a server answered in the end."""

    status: int
    data: bytes = field(repr=False)  # the file at 200, else the beginning of what was said
    mark: str  # another one when the file is another; "" where the server tells nothing
    content_type: str
    origin: Origin  # who answered, after redirects


def connected(address: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to a numeric address."""
    return socket.create_connection((address, port), seconds)


class Downloads:
    """Fetches files; every method may be called from many threads at once."""

    def __init__(
        self,
        gate: HostGate,
        *,
        max_bytes: int,
        patience: Patience | None = None,
        connect: Connector = connected,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._max_bytes = max_bytes
        self._patience = patience or Patience()
        self._connect = connect
        self._clock = clock

    def get(self, url: str, *, name: str, authorization: str = "", mark: str = "") -> Download:
        """The file behind an address, or, where its mark is still `mark`, status 304 without it.

        Args:
            name: of the picture, for messages.
            authorization: the header for the address's own origin; it goes nowhere else.
            mark: of an earlier `Download`, or anything else, which is left out.

        Raises:
            PictureAccessError: not reached, too large, too slow, or a host that may not be asked;
                `retryable` where it may go better later.
        """
        deadline = self._clock() + self._patience.whole
        place = web_place(url, name)
        headers = _conditions(mark)
        if authorization:
            headers["Authorization"] = authorization
        for _ in range(_HOPS + 1):
            with self._answer("GET", place, headers, b"", deadline, name) as answer:
                location = answer.getheader("Location")
                if answer.status not in _REDIRECTS or not location:
                    data = _body(answer, self._max_bytes, name)
                    return _download(answer, data, place.origin)
            following = web_place(urljoin(f"{place.origin}{place.path}", location), name)
            if following.origin != place.origin:
                headers.pop("Authorization", None)
            place = following
        raise PictureAccessError(
            f"{name}: redirected more than {_HOPS} times; the server's addresses lead in a circle"
        )

    def post(self, url: str, body: bytes, *, name: str) -> Download:
        """Send JSON, which may hold a token; a redirect is an answer and not followed.

        Raises:
            PictureAccessError: as `get`.
        """
        deadline = self._clock() + self._patience.whole
        place = web_place(url, name)
        headers = {"Content-Type": "application/json"}
        with self._answer("POST", place, headers, body, deadline, name) as answer:
            return _download(answer, _body(answer, _WORDS, name), place.origin)

    @contextmanager
    def _answer(
        self,
        method: Literal["GET", "POST"],
        place: WebPlace,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        name: str,
    ) -> Iterator[http.client.HTTPResponse]:
        """An open answer, with its errors as ours; none of them quotes the address."""
        origin = place.origin
        timed: _TimedSocket | None = None
        try:
            timed = self._timed(origin, self._gate.addresses(origin, name), deadline)
            # Also of https: the socket is there already.
            connection = http.client.HTTPConnection(origin.host, origin.port)
            connection.sock = timed
            sent = {"Host": origin.authority, **_PLAINLY, **headers}
            connection.request(method, place.path, body=body or None, headers=sent)
            answer = connection.getresponse()
            yield answer
            answer.close()
        except TimeoutError:
            raise unreachable(f"{name}: {origin} was too slow; try again") from None
        except ssl.SSLCertVerificationError as error:
            raise PictureAccessError(
                f"{name}: the certificate of {origin} is not trusted ({error.verify_message}); "
                "name the file with its authority's in SSL_CERT_FILE"
            ) from None
        except OSError as error:
            said = getattr(error, "reason", None) or error.strerror or type(error).__name__
            raise unreachable(
                f"{name}: {origin} cannot be reached ({said}); is it up, and right in the task?"
            ) from None
        except (http.client.HTTPException, zlib.error, ValueError) as error:
            raise unreachable(
                f"{name}: {origin} does not answer as a web server does ({type(error).__name__})"
            ) from None
        finally:
            if timed is not None:
                timed.end()

    def _timed(self, origin: Origin, addresses: Sequence[str], deadline: float) -> "_TimedSocket":
        """A connection to the first of the checked addresses that takes one."""
        failure: OSError = TimeoutError()
        for address in addresses:
            left = min(self._patience.connect, deadline - self._clock())
            if left <= 0:
                break
            try:
                raw = self._connect(address, origin.port, left)
            except OSError as error:
                failure = error
                continue
            try:
                if origin.scheme == "https":
                    # The certificate must be the name's, whatever address it was resolved to.
                    raw.settimeout(left)
                    raw = _tls().wrap_socket(raw, server_hostname=origin.host)
                return _TimedSocket(raw, deadline, self._patience.silence, self._clock)
            except BaseException:
                raw.close()
                raise
        raise failure


def unreachable(message: str) -> PictureAccessError:
    """A failure that may heal by itself."""
    error = PictureAccessError(message)
    error.retryable = True
    return error


def too_large(name: str, max_bytes: int) -> PictureAccessError:
    """A file that nobody will read to its end."""
    return PictureAccessError(
        f"{name}: the file has more than {max_bytes >> 20} MiB; scale the picture down or raise "
        "assist.max_picture_mib"
    )


def _conditions(mark: str) -> dict[str, str]:
    if mark.startswith(_ETAG):
        return {"If-None-Match": mark.removeprefix(_ETAG)}
    if mark.startswith(_DATE):
        return {"If-Modified-Since": mark.removeprefix(_DATE)}
    return {}


def _download(answer: http.client.HTTPResponse, data: bytes, origin: Origin) -> Download:
    return Download(
        status=answer.status,
        data=data,
        mark=_marked(_ETAG, answer.getheader("ETag"))
        or _marked(_DATE, answer.getheader("Last-Modified")),
        content_type=(answer.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
        origin=origin,
    )


def _marked(kind: str, value: str | None) -> str:
    """Only what can be sent back."""
    value = (value or "").strip()
    return kind + value if value.isascii() and value.isprintable() and 0 < len(value) < 500 else ""


def _body(answer: http.client.HTTPResponse, max_bytes: int, name: str) -> bytes:
    """All of an answer at 200, unpacked; of others the beginning.

    Raises:
        PictureAccessError: too large, by what is told or by what comes, or cut off.
    """
    if answer.status != 200:
        return answer.read(_WORDS)
    told = answer.length
    if told is not None and told > max_bytes:
        raise too_large(name, max_bytes)
    unpack = _unpacker(answer.getheader("Content-Encoding") or "", name)
    data = bytearray()
    came = 0
    while piece := answer.read(_CHUNK):
        came += len(piece)
        # One byte more than may be: a bomb is stopped there and not unpacked further.
        data += unpack.decompress(piece, max_bytes + 1 - len(data)) if unpack else piece
        if max(len(data), came) > max_bytes:
            raise too_large(name, max_bytes)
    if (told is not None and came < told) or (unpack is not None and not unpack.eof):
        raise unreachable(f"{name}: the connection broke after {came} bytes; try again")
    return bytes(data)


def _unpacker(encoding: str, name: str) -> Any:  # zlib has no name for its decompressors' type
    """None where the file comes as it is, which is what was asked for."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    raise PictureAccessError(
        f"{name}: comes packed as {encoding[:20]!r}, which was not asked for; set the server up to "
        "send pictures as they are"
    )


@cache
def _tls() -> ssl.SSLContext:
    """The authorities that the connection to Label Studio trusts as well."""
    return httpx.create_ssl_context()


class _TimedSocket:
    """What `http.client` needs of a socket, with a deadline over all of it."""

    def __init__(
        self, raw: socket.socket, deadline: float, silence: float, clock: Callable[[], float]
    ) -> None:
        self._raw = raw
        self._deadline = deadline
        self._silence = silence
        self._clock = clock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self))

    def sendall(self, data: bytes) -> None:
        self.ready().sendall(data)

    def close(self) -> None:
        """Nothing: `http.client` closes it while the answer is still being read."""

    def end(self) -> None:
        with suppress(OSError):
            self._raw.close()

    def ready(self) -> socket.socket:
        """The socket, which waits no longer than there is time.

        Raises:
            TimeoutError: there is none left.
        """
        left = min(self._silence, self._deadline - self._clock())
        if left <= 0:
            raise TimeoutError
        self._raw.settimeout(left)
        return self._raw


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: _TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # any writable buffer; typeshed knows no better name
        return self._timed.ready().recv_into(buffer)
