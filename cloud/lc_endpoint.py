"""The local controller's endpoint, on loopback: where workers of the local job report.

Answers as Sedna's does (200, 400 for a name that is not the path's, 415 without JSON's content
type), but listens on 127.0.0.1 only.
"""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY = 1 << 20


class LcEndpoint:
    """Serves `POST /sedna/workers/{name}/info` and queues what arrives."""

    def __init__(self, port: int = 0) -> None:
        """Args:
        port: 0 picks a free one; `address` tells which.
        """
        self.reports: queue.Queue[dict[str, Any]] = queue.Queue()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, message = endpoint._receive(self)
                body = json.dumps({"Status": status, "Message": message}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """What workers get as LC_SERVER."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _receive(self, request: BaseHTTPRequestHandler) -> tuple[int, str]:
        parts = request.path.strip("/").split("/")
        if len(parts) != 4 or parts[:2] != ["sedna", "workers"] or parts[3] != "info":
            return 404, "no such path"
        if request.headers.get_content_type() != "application/json":
            return 415, "send application/json"
        length = int(request.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_BODY:
            return 400, f"body of {length} bytes, expected 1 to {MAX_BODY}"
        try:
            body = json.loads(request.rfile.read(length))
        except ValueError as error:
            return 400, f"not JSON: {error}"
        if not isinstance(body, dict) or body.get("name") != parts[2]:
            return 400, "body.name must equal the worker's name in the path"
        self.reports.put(body)
        return 200, "OK"
