"""The local controller's endpoint, on loopback: where workers of the local job report.

Answers as Sedna's does: 200, 400 for a name that is not the path's, 415 without JSON's content
type. A report that Sedna would answer 200 and drop gets a 400 that says why, unless the faults
ask for Sedna's way. What was answered 200 lies on disk before: a job that is killed finds it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lifelong.links.durable_files import UNFINISHED, write_whole

MAX_BODY = 1 << 20
OWNER_KIND = "lifelonglearningjob"

# What of a model's fields Sedna's Global Manager insists on; one wrong type drops the report.
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "format": lambda v: isinstance(v, str),
    "url": lambda v: isinstance(v, str),
    "device_soc_versions": lambda v: v is None or _all_text(v),
    "metrics": lambda v: v is None or isinstance(v, dict),
    "history_metric": lambda v: v is None or _is_number(v),
    "current_metric": lambda v: v is None or _is_metrics(v),
    "classes": lambda v: v is None or _all_text(v),
    "number_of_labeled_unseen_sample": lambda v: v is None or isinstance(v, int),
    "number_of_model": lambda v: v is None or isinstance(v, int),
    "number_of_unseen_sample": lambda v: v is None or isinstance(v, int),
}


class ReportBox:
    """Reports that were answered 200 and wait for the job, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def put(self, body: Mapping[str, Any]) -> None:
        """Keep a report; it is on disk when this returns."""
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{time.time_ns():020d}.json"
            write_whole(path, json.dumps(body).encode())

    def waiting(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and content of each, the oldest first."""
        for path in sorted(self._folder.glob("*.json")):
            if not path.name.startswith(UNFINISHED):
                yield path.name, json.loads(path.read_bytes())

    def remove(self, name: str) -> None:
        """Forget one."""
        (self._folder / name).unlink(missing_ok=True)


class LcEndpoint:
    """Serves `POST /sedna/workers/{name}/info`."""

    def __init__(
        self,
        accept: Callable[[Mapping[str, Any]], None],
        refusal: Callable[[Mapping[str, Any]], str],
        *,
        port: int = 0,
        answers_200: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args:
        accept: gets each report that is good, before it is answered 200.
        refusal: why the job has no use for a report; empty: it has.
        port: 0 picks a free one; `address` tells which.
        answers_200: whether refused reports are answered 200 and dropped, as Sedna does.
        """
        self._accept = accept
        self._refusal = refusal
        self._answers_200 = answers_200
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
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

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
        if self._thread.is_alive():
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
        if not isinstance(body.get("results") or [], list):
            return 400, "results: expected a list"
        if reason := wrong_report(body) or self._refusal(body):
            return (200, "OK") if self._answers_200() else (400, reason)
        self._accept(body)
        return 200, "OK"


def wrong_report(body: Mapping[str, Any]) -> str:
    """What in a report Sedna would drop without a word; empty when nothing is."""
    if body.get("ownerKind") != OWNER_KIND:
        return f"ownerKind {body.get('ownerKind')!r}: expected {OWNER_KIND!r}, in lower case"
    if str(body.get("kind")).lower() not in {"train", "eval", "deploy"}:
        return f"kind {body.get('kind')!r}: expected train, eval or deploy"
    if str(body.get("status")).lower() not in {"ready", "completed", "failed", "waiting"}:
        return f"status {body.get('status')!r}: expected completed or failed"
    for model in body.get("results") or []:
        if not isinstance(model, dict):
            return f"results: {model!r} is no object"
        for key, fits in _TYPES.items():
            if key in model and not fits(model[key]):
                return f"results.{key}: {model[key]!r} has a type that drops the whole report"
    return ""


def _all_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(inner, dict) and all(_is_number(v) for v in inner.values())
        for inner in value.values()
    )
