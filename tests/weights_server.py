"""A web server on loopback that serves files as a hub or a mirror would, and misbehaves on wish."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) with ETag and ranges; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.asked = []  # (path, Range header or None)
        self.drop_once_after = {}  # path -> bytes after which the connection breaks, once
        self.status = {}  # path -> status code it answers with, once per entry
        self.announce = True  # the SHA-256, as the hub does

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.lstrip("/")
        self.server.asked.append((path, self.headers.get("Range")))
        if self.server.status.get(path):
            return self._empty(self.server.status[path].pop(0))
        data = self.server.files.get(path)
        if data is None:
            return self._empty(404)
        etag = f'"{sha256(data).hexdigest()}"'
        start = self._start(etag)
        if start and start >= len(data):
            return self._empty(416, {"Content-Range": f"bytes */{len(data)}"})
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", etag)
        if self.server.announce:
            self.send_header("X-Linked-Etag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = self.server.drop_once_after.pop(path, None)
        self.wfile.write(data[start:cut])
        if cut is not None:
            self.close_connection = True  # in the middle of the body

    def _start(self, etag):
        wanted = self.headers.get("Range")
        if not wanted or self.headers.get("If-Range") != etag:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _empty(self, status, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def serving(files) -> Iterator[FileServer]:
    """A running server."""
    server = FileServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
