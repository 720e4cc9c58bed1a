"""`cornerloop serve`: the service in a thread of its own, the page in the main one."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from cloud.assembly import (
    Cloud,
    make_drafter,
    make_escalations,
    make_fleet_view,
    make_service,
    open_cloud,
    webhook_secret,
)
from cloud.assist_serving import PREFIX, backend_address, keep_connected, make_assist
from cloud.reports import rounds_overview
from cloud.service import Service
from cloud.web.app import make_app
from lifelong.config import Config
from lifelong.errors import RoundError

logger = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        RoundError: the service had to stop (another one took the lease); the page stops too.
    """
    assist = make_assist(config, title=config.label_studio.project) if assisted(config) else None
    if assist is not None:
        config = with_backend(config, backend_address(config, assist.credentials))
    cloud = open_cloud(config)
    drafter = make_drafter(cloud)
    service = make_service(cloud, drafter)
    app = make_app(
        overview=_overview(open_cloud(config)),
        trouble=lambda: service.last_error,
        title=config.label_studio.project,
        hint=service.wake,
        secret=webhook_secret(config.label_studio),
        fleet=make_fleet_view(open_cloud(config)),
    )
    if assist is not None:
        app.include_router(assist.router, prefix=PREFIX)
        assist.start()
    server = uvicorn.Server(
        uvicorn.Config(app, host=config.web.host, port=config.web.port, log_level="warning")
    )
    stop = threading.Event()
    ended: list[BaseException] = []
    loop = threading.Thread(
        target=_advance, args=(service, stop, server, ended), name="rounds", daemon=True
    )
    loop.start()
    if config.edges.escalation:
        # Daemon, and not waited for: its answers are whole or absent, and nodes do not need them.
        questions = make_escalations(cloud, drafter)
        threading.Thread(target=questions.run, args=(stop,), name="questions", daemon=True).start()
    if config.label_studio.ml_backend and assist is not None:
        threading.Thread(
            target=_connect, args=(server, stop, config), name="smart tool", daemon=True
        ).start()
    server.run()  # returns on SIGTERM and Ctrl-C
    stop.set()
    service.wake()
    if assist is not None:
        assist.close()
    loop.join(timeout=30)
    if ended:
        raise RoundError(f"rounds are no longer advanced here: {ended[0]}") from ended[0]


def assisted(config: Config) -> bool:
    """Is there a Label Studio whose smart tool could ask us?"""
    return config.assist.enabled and config.annotation_folder is None


def with_backend(config: Config, address: str) -> Config:
    """The configuration with the address of our own model, if Label Studio can be told of it."""
    section = config.label_studio.model_copy(update={"ml_backend": address})
    return config.model_copy(update={"label_studio": section})


def _connect(server: uvicorn.Server, stop: threading.Event, config: Config) -> None:
    """When we answer: Label Studio asks the model for its health before it is connected."""
    while not server.started and not stop.wait(0.2):
        pass
    keep_connected(config, config.label_studio.ml_backend, stop)


def _overview(reader: Cloud) -> Callable[[], dict[str, Any]]:
    """What the page shows; each look reads only what the knowledge base has learned since."""
    lock = threading.Lock()  # requests come in threads of their own

    def look() -> dict[str, Any]:
        with lock:
            reader.kb.refresh()
            return rounds_overview(reader.rounds.all(), reader.kb, reader.releases.history())

    return look


def _advance(
    service: Service, stop: threading.Event, server: uvicorn.Server, ended: list[BaseException]
) -> None:
    try:
        service.run(stop)
    except BaseException as error:
        logger.exception("the service stopped")
        ended.append(error)
        server.should_exit = True
