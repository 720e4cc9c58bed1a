"""A service whose pages hang says so at its probe port, whose thread has nothing to wait for."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import anyio.to_thread
import pytest
import uvicorn
from fastapi import FastAPI

from cloud.access.transport import careful, listening
from cloud.monitor.heartbeats import Heartbeats
from cloud.monitor.readiness import Vitals
from cloud.vital_signs import PAGES, PATIENCE_S, VitalSigns
from cloud.web.probes import open_probe_port
from lifelong.config import Config
from tests.web_parts import some_parts


@dataclass
class Pages:
    """A real server, two requests that hang until they are let go, and a clock to be set."""

    now: list[float] = field(default_factory=lambda: [0.0])
    hanging: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    signs: VitalSigns = field(default_factory=VitalSigns)
    port: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        def hang() -> None:
            self.hanging.set()
            self.let_go.wait(30)

        @app.get("/loop")
        async def in_the_loop() -> None:
            hang()

        @app.get("/pool")
        async def in_the_pool() -> None:
            anyio.to_thread.current_default_thread_limiter().total_tokens = 1
            await anyio.to_thread.run_sync(hang)

        return app

    def ask(self, path: str) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        link.request("GET", path)
        link.getresponse().read()
        link.close()


@pytest.fixture
def pages() -> Iterator[Pages]:
    found = Pages()
    found.signs.hearts = Heartbeats(lambda: found.now[0])
    config = careful(found.app())
    config.timeout_notify = 0  # once a second; 30 s in earnest
    found.signs.answering(config)
    with listening("127.0.0.1", 0) as bound:
        found.port = bound.getsockname()[1]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        yield found
        found.let_go.set()
        server.should_exit = True
        thread.join(30)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("where", ["/loop", "/pool"])
def test_ops_02_pages_that_hang_are_told_at_the_probe_port(pages: Pages, where: str) -> None:
    """OPS-02: the probe port answered for itself alone, whatever had become of the pages."""
    hearts = pages.signs.hearts
    pages.now[0] = PATIENCE_S + 1
    assert PAGES in hearts.complaints()
    wait_until(lambda: not hearts.complaints())  # they are answered: it beats by itself
    asked = threading.Thread(target=pages.ask, args=(where,), daemon=True)
    asked.start()
    assert pages.hanging.wait(30)
    pages.now[0] += PATIENCE_S + 1
    time.sleep(2.5)  # two beats that do not come
    assert f"'{PAGES}' has been silent" in hearts.complaints()[PAGES]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = Config.model_validate({"web": {"probe_port": port}})
    probes = open_probe_port(config, some_parts(config=config, vitals=Vitals(hearts=hearts)))
    assert probes is not None
    wait_until(lambda: probes.started)
    assert _health(port) == (503, {"status": "stuck"})
    pages.let_go.set()
    asked.join(30)
    wait_until(lambda: not hearts.complaints())
    assert _health(port) == (200, {"status": "up"})
    probes.should_exit = True


def _health(port: int) -> tuple[int, dict[str, str]]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("GET", "/healthz")
    answer = link.getresponse()
    told = json.loads(answer.read())
    link.close()
    return answer.status, told
