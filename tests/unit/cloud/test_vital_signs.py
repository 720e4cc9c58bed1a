"""A service whose pages hang says so at its probe port, whose thread has nothing to wait for."""

import json
import socket
import threading
import time
from collections.abc import Iterator
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
from tests.real_server import ask, running, wait_until
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
            self.let_go.wait(120)

        @app.get("/loop")
        async def in_the_loop() -> None:
            hang()

        @app.get("/pool")
        async def in_the_pool() -> None:
            anyio.to_thread.current_default_thread_limiter().total_tokens = 1
            await anyio.to_thread.run_sync(hang)

        return app


@pytest.fixture
def pages() -> Iterator[Pages]:
    found = Pages()
    found.signs.hearts = Heartbeats(lambda: found.now[0])
    config = careful(found.app())
    config.timeout_notify = 0  # once a second; 30 s in earnest
    found.signs.answering(config)
    with running(uvicorn.Server(config), listening("127.0.0.1", 0)) as port:
        found.port = port
        yield found
        found.let_go.set()


@pytest.mark.parametrize("where", ["/loop", "/pool"])
def test_ops_02_pages_that_hang_are_told_at_the_probe_port(pages: Pages, where: str) -> None:
    """OPS-02: the probe port answered for itself alone, whatever had become of the pages."""
    hearts = pages.signs.hearts
    pages.now[0] = PATIENCE_S + 1
    assert PAGES in hearts.complaints()
    wait_until(lambda: not hearts.complaints())  # they are answered: it beats by itself
    asked = threading.Thread(target=ask, args=(pages.port, where), daemon=True)
    asked.start()
    assert pages.hanging.wait(120)
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
    asked.join(120)
    wait_until(lambda: not hearts.complaints())
    assert _health(port) == (200, {"status": "up"})
    probes.should_exit = True


def _health(port: int) -> tuple[int, dict[str, str]]:
    status, _, body = ask(port, "/healthz")
    return status, json.loads(body)
