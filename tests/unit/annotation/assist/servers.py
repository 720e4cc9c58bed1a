"""Web servers on loopback that serve pictures, misbehave on wish, and remember what they saw.

Their names are made up: `Names` resolves them, and connects to where the server really is.
"""

import io
import json
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

PUBLIC = "93.184.216.34"  # any address of the open internet


def png(height: int = 6, width: int = 9, seed: int = 0) -> bytes:
    """A small picture; another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


class PictureServer(ThreadingHTTPServer):
    """Answers by `answers`: path -> a function of the handler, or the bytes of a file."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {}
        self.asked = []  # (method and path with query, headers in lower case)
        self.bodies = []

    @property
    def port(self):
        return self.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def headers_seen(self, name):
        """What was sent under that name; "" where a request had none."""
        return [headers.get(name.lower(), "") for _, headers in self.asked]

    @property
    def paths(self):
        return [line.split(" ", 1)[1] for line, _ in self.asked]

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve()

    def _serve(self):
        seen = {key.lower(): value for key, value in self.headers.items()}
        self.server.asked.append((f"{self.command} {self.path}", seen))
        wanted = self.server.answers.get(self.path)
        wanted = wanted or self.server.answers.get(urlsplit(self.path).path)
        if wanted is None:
            return self.send(404, b"no such file")
        if isinstance(wanted, bytes):
            return self.send(200, wanted)
        return wanted(self)

    def send(self, status, data=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextmanager
def serving() -> Iterator[PictureServer]:
    """A running server."""
    server = PictureServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def redirect(to, status=302):
    """An answer that leads elsewhere."""
    return lambda handler: handler.send(status, Location=to)


def marked(data: Callable[[], bytes] | bytes, etag: str):
    """A file with an ETag; 304 to who has it already."""

    def answer(handler):
        if handler.headers.get("If-None-Match") == etag:
            return handler.send(304, ETag=etag)
        return handler.send(200, data() if callable(data) else data, ETag=etag)

    return answer


class Names:
    """A resolver and a connector for made-up hosts: name -> numeric address -> real port."""

    def __init__(self):
        self.hosts = {}  # name -> numeric addresses
        self.ports = {}  # (numeric address, port) -> real port on loopback
        self.resolved = []
        self.connected = []

    def add(self, name, port, server, *addresses):
        """Let `name:port` be `server`."""
        own = f"93.184.216.{34 + len(self.hosts)}"  # of the first one it is PUBLIC
        self.hosts[name] = list(addresses) or self.hosts.get(name) or [own]
        for address in self.hosts[name]:
            self.ports[address, port] = server.port

    def resolve(self, host, port):
        self.resolved.append(host)
        if host in self.hosts:
            return self.hosts[host]
        if host[0].isdigit():
            return [host]
        raise socket.gaierror(-2, "Name or service not known")

    def connect(self, address, port, seconds):
        self.connected.append((address, port))
        real = self.ports.get((address, port), port if address == "127.0.0.1" else None)
        if real is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return socket.create_connection(("127.0.0.1", real), seconds)


class HandClock:
    """Seconds, moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def jwt(kind, *, lifetime=300, number=1):
    """A token as Label Studio makes them, unsigned."""
    begin = int(time.time())
    claims = {"token_type": kind, "iat": begin, "exp": begin + lifetime, "jti": str(number)}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


class FakeLabelStudio:
    """Serves uploads to who has a token that it takes; renews personal access tokens."""

    def __init__(self, server: PictureServer):
        self.server = server
        self.legacy = set()  # tokens that are taken
        self.personal = set()
        self.access = set()  # that were given out
        self.is_legacy_off = False
        server.answers["/api/token/refresh/"] = self._renew

    def file(self, path, data, **headers):
        """Serve a file, to who may have it."""
        self.protect(path, lambda handler: handler.send(200, data, **headers))

    def protect(self, path, answer):
        """Let only those through who bring a token."""

        def guarded(handler):
            given = handler.headers.get("Authorization", "")
            kind, _, token = given.partition(" ")
            if kind == "Token" and token in self.legacy and self.is_legacy_off:
                words = b'{"detail": "legacy token authentication has been disabled"}'
                return handler.send(401, words)
            if (kind, token) in {
                *(("Token", known) for known in self.legacy),
                *(("Bearer", known) for known in self.access),
            }:
                return answer(handler)
            return handler.send(401, b'{"detail": "Invalid token."}')

        self.server.answers[path] = guarded

    def _renew(self, handler):
        given = json.loads(self.server.bodies[-1])["refresh"]
        if given not in self.personal:
            return handler.send(401, b'{"detail": "Token is blacklisted"}')
        made = jwt("access", number=len(self.access) + 1)
        self.access.add(made)
        return handler.send(200, json.dumps({"access": made}).encode())
