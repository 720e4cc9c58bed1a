"""The little of Label Studio that a backend needs: a folder of pictures, and what comes next."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.assist_requests import picture


class PictureFolder:
    """Drawn pictures of one size below a document root, and their addresses in tasks."""

    def __init__(self, root: Path, height: int, width: int) -> None:
        self.root, self.size = root, (height, width)
        root.mkdir(parents=True, exist_ok=True)

    def address(self, number: int) -> str:
        """What the task of picture `number` has as its image; drawn where it is not there."""
        name = f"{self.size[0]}x{self.size[1]}-{number:05d}.jpg"
        path = self.root / name
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(picture(number, *self.size))
            part.replace(path)
        return f"/data/local-files/?d={name}"

    def file(self, number: int) -> Path:
        """Where picture `number` lies."""
        return self.root / self.address(number).partition("=")[2]


@contextmanager
def task_lists(folder: PictureFolder, count: int) -> Iterator[str]:
    """The URL of a server that lists `count` tasks of any project, task n of picture n, as
    GET /api/tasks/ does."""

    class Lists(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            after = _after(parse_qs(urlsplit(self.path).query))
            tasks = [
                {"id": number, "data": {"image": folder.address(number)}}
                for number in range(after + 1, count)
            ]
            body = json.dumps({"tasks": tasks, "total": len(tasks)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nothing: the output of a bench is one object."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lists)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _after(query: dict[str, list[str]]) -> int:
    """Behind which task, of the filter `tasks:id greater`; -1 without one."""
    wanted = json.loads(query.get("query", ["{}"])[0])
    for item in wanted.get("filters", {}).get("items", []):
        if item["filter"] == "filter:tasks:id" and item["operator"] == "greater":
            return int(item["value"])
    return -1
