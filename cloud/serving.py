"""`cornerloop serve`: the service in a thread of its own, the page in the main one."""

import logging
import threading
from contextlib import suppress
from functools import partial

import uvicorn

from annotation.assist.segmenter import PromptedSegmenter
from cloud.access.admission import make_admission
from cloud.access.permissions import Permission, needs
from cloud.assembly import (
    make_drafter,
    make_escalations,
    make_service,
    make_watch,
    open_cloud,
    webhook_secret,
)
from cloud.assist_service.serving import PREFIX, backend_address, keep_connected, make_assist
from cloud.correcting.assembly import make_desk
from cloud.monitor.people_costs import CostsByRound
from cloud.monitor.watch import Watch
from cloud.operator_assembly import make_actions, make_audit_log
from cloud.service import Service
from cloud.sweeping import keep_swept
from cloud.vital_signs import ROUNDS, SURROUNDINGS, WATCH, VitalSigns, gauges
from cloud.web.app import make_app
from cloud.web.parts import Parts
from cloud.web.probes import open_probe_port
from cloud.web.request_log import RequestLog
from cloud.web.site import Site
from lifelong.config import Config
from lifelong.errors import LifelongError, RoundError
from lifelong.links.journal import utc_now

logger = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        RoundError: the service had to stop (another one took the lease); the page stops too.
    """
    signs = VitalSigns()
    title = config.label_studio.project
    assist = (
        make_assist(config, title=title, measured=signs.measures.answer)
        if assisted(config)
        else None
    )
    if assist is not None:
        config = with_backend(config, backend_address(config, assist.credentials))
    cloud = open_cloud(config)
    audit = make_audit_log(cloud)
    admission = make_admission(config, audit)
    drafter = signs.measured(make_drafter(cloud))
    service = make_service(cloud, drafter, signs.hearts.beater(ROUNDS))
    surroundings = signs.surroundings(cloud)
    watch, costs = make_watch(open_cloud(config)), CostsByRound()
    watch.prepared.append(costs.of)
    parts = Parts(
        site=Site(
            title=title,
            look=watch.look,
            trouble=lambda: service.last_error,
            now=utc_now,
        ),
        config=config,
        storage=cloud.storage,
        label_map=cloud.label_map,
        hint=service.wake,
        secret=webhook_secret(config.label_studio),
        actions=make_actions(
            cloud,
            audit,
            rounds=lambda: watch.refresh().rounds,
            done=partial(_looked, service, watch),
        ),
        book=admission.book,
        slowing=admission.slowing,
        audit=audit,
        audits=admission.audits,
        costs=costs,
        vitals=signs.vitals(surroundings, watch, service, assist),
        measures=signs.measures,
        gauges=gauges(config, assist),
        correction_desk=make_desk(
            cloud,
            lambda: watch.look().rounds,
            assist.segmenter if assist is not None else _own_segmenter(config),
        ),
    )
    app = make_app(parts)
    if assist is not None:
        # Open to our gate: it has a password of its own, which Label Studio sends.
        app.include_router(assist.router, prefix=PREFIX, dependencies=[needs(Permission.OPEN)])
    probes = open_probe_port(config, parts)
    server = admission.server(app, partial(RequestLog, measures=signs.measures))
    signs.answering(server.config)
    listening = admission.listen(partial(print, flush=True))
    if assist is not None:
        assist.start()
    stop = threading.Event()
    ended: list[BaseException] = []
    loop = signs.started(ROUNDS, partial(_advance, service, stop, server, ended))
    signs.started(WATCH, partial(watch.run, stop, signs.hearts.beater(WATCH)))
    signs.started(SURROUNDINGS, partial(surroundings.run, stop))
    if config.edges.escalation:
        # Daemon, and not waited for: its answers are whole or absent, and nodes do not need them.
        questions = make_escalations(cloud, drafter)
        threading.Thread(target=questions.run, args=(stop,), name="questions", daemon=True).start()
    if config.label_studio.ml_backend and assist is not None:
        threading.Thread(
            target=_connect, args=(server, stop, config), name="smart tool", daemon=True
        ).start()
    admission.watch(stop)
    threading.Thread(
        target=keep_swept, args=(cloud.storage, stop), name="sweeping", daemon=True
    ).start()
    server.run(sockets=[listening])  # returns on SIGTERM and Ctrl-C
    if probes is not None:
        probes.should_exit = True
    stop.set()
    service.wake()
    if assist is not None:
        assist.close()
    loop.join(timeout=30)
    if ended:
        raise RoundError(f"rounds are no longer advanced here: {ended[0]}") from ended[0]


def _own_segmenter(config: Config) -> PromptedSegmenter | None:
    """Who answers prompts of `/correct` without a Label Studio; loaded when first asked."""
    if not config.assist.enabled:
        return None
    from cloud.assist_service.assembly import make_segmenter

    return make_segmenter(config)


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


def _looked(service: Service, watch: Watch) -> None:
    """After something was done by hand: the loop and the pages look at once."""
    service.wake()
    with suppress(LifelongError):  # it is done; that the next look fails is the watch's to tell
        watch.refresh()


def _advance(
    service: Service, stop: threading.Event, server: uvicorn.Server, ended: list[BaseException]
) -> None:
    try:
        service.run(stop)
    except BaseException as error:
        logger.exception("the service stopped")
        ended.append(error)
        server.should_exit = True
