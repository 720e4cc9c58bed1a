"""Interactive annotation served: the parts put together, alone or within `cornerloop serve`."""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import uvicorn
from fastapi import APIRouter, FastAPI

from annotation.assist.access import Studio
from annotation.assist.backend import AssistBackend, Measured, unmeasured
from annotation.assist.credentials import FILE as PASSWORD_FILE
from annotation.assist.credentials import Credentials, configured_credentials
from annotation.assist.look_ahead import LookAhead, TaskLists
from annotation.assist.pictures import Pictures
from annotation.assist.projects import Projects
from annotation.assist.segmenter import ModelState, PromptedSegmenter
from annotation.assist.troubles import Troubles
from annotation.assist.web import assist_router
from annotation.project_settings import ensure_backend
from cloud.access.transport import careful
from cloud.assist.seed_words import assist_from_seed_words
from cloud.web.request_log import RequestLog
from lifelong.config import Config
from lifelong.errors import ConfigError, LifelongError
from lifelong.links.request_ids import current_request

if TYPE_CHECKING:
    from annotation.label_studio import LabelStudio

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 30.0
PREFIX = "/assist"  # under which `cornerloop serve` answers
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAssist:
    """Ready to be put into an application; call `close` in the end.

    `start` has the models loaded in the background. Not while another thread imports torch or
    torchvision for the first time: two that begin at once each find the other's half.
    """

    router: APIRouter
    credentials: Credentials
    backend: AssistBackend
    segmenter: PromptedSegmenter
    start: Callable[[], None]
    close: Callable[[], None]
    states: Callable[[], Sequence[ModelState]]
    lookups: Callable[[], Mapping[str, int]]  # embeddings wanted, by where they were
    waiting: Callable[[], int]  # work that is under way or waits


def make_assist(config: Config, *, title: str, measured: Measured = unmeasured) -> ServedAssist:
    """Put interactive annotation together.

    Args:
        measured: around each answer, see `annotation/assist/backend.py`.

    Raises:
        ConfigError: a model that does not exist, an address that is none, no place for a password.
    """
    from cloud.assist_service.assembly import make_segmenter

    segmenter = make_segmenter(config)
    backend = make_backend(config, segmenter, measured)
    credentials = configured_credentials(config.assist, config.journal_path.parent)

    def close() -> None:
        backend.close()
        segmenter.close()

    return ServedAssist(
        router=assist_router(backend, credentials, title=title),
        credentials=credentials,
        backend=backend,
        segmenter=segmenter,
        start=segmenter.start,
        close=close,
        states=segmenter.states,
        lookups=segmenter.lookups,
        waiting=lambda: sum(one.state in {"waiting", "running"} for one in segmenter.work()),
    )


def make_backend(
    config: Config, segmenter: PromptedSegmenter, measured: Measured = unmeasured
) -> AssistBackend:
    """The backend over any segmenter, with this configuration's Label Studio and pictures."""
    section = config.label_studio
    token = os.environ.get(section.token_env, "")
    studio = Studio(
        url=section.url,
        token=token,
        token_env=section.token_env,
        local_files_root=section.local_files_root,
    )
    return AssistBackend(
        segmenter=segmenter,
        pictures=Pictures(studio, config.assist),
        projects=Projects(config.journal_path.parent / "assist-projects.json"),
        # The id of the request, if it has one: it stands in the answer's header and in the log.
        troubles=Troubles(now=time.time, new_id=lambda: current_request() or uuid4().hex[:8]),
        measured=measured,
        section=config.assist,
        look_ahead=lambda embed: LookAhead(
            _LazyStudio(config) if token else None, embed, count=config.assist.prefetch_tasks
        ),
    )


def assist_config(config: Config, words: Iterable[str]) -> Config:
    """What the words of a command line say, before what the configuration says.

    Raises:
        ConfigError: words that are none of ours, or that do not fit together.
    """
    section = assist_from_seed_words(pairs_from(words), config.assist)
    return config.model_copy(update={"assist": section})


def pairs_from(words: Iterable[str]) -> Mapping[str, str]:
    """key=value words of a command line.

    Raises:
        ConfigError: a word without "=".
    """
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{word!r}: expected KEY=VALUE, e.g. model_name=mobile_sam")
        pairs[key.strip()] = value.strip()
    return pairs


def serve_assist(config: Config, *, say: Callable[[str], None], connect: str = "") -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        say: takes lines for the person at the terminal.
        connect: project of Label Studio, by id or title, that is told of this model.

    Raises:
        ConfigError: the port is taken, or what `make_assist` raises.
    """
    listening = _listening(config.assist.host, config.assist.port)
    try:
        served = make_assist(config, title="Cornerloop")
        served.start()
        app = FastAPI(title="Cornerloop assist", docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(served.router)
        # Who was told an address of `cornerloop serve` finds the same here.
        app.include_router(served.router, prefix=PREFIX, include_in_schema=False)
        app.add_middleware(RequestLog)
        address = own_address(config.assist.host, listening.getsockname()[1])
        # Not into a log: only to a person.
        for line in _told(served, address, config, shows_password=sys.stderr.isatty()):
            say(line)
        server = uvicorn.Server(careful(app))
        if connect:
            threading.Thread(
                target=_connect_when_up, args=(server, config, served, address, connect, say),
                daemon=True,
            ).start()  # fmt: skip
        try:
            server.run(sockets=[listening])
        finally:
            served.close()
    finally:
        listening.close()


def own_address(host: str, port: int) -> str:
    """Under which a Label Studio on this machine reaches us."""
    reached = "127.0.0.1" if host in _LOOPBACK else host
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def backend_address(config: Config, credentials: Credentials) -> str:
    """Where Label Studio finds the model of `cornerloop serve`, with user and password.

    What `label_studio.ml_backend` says; without it our own address where both run on this
    machine, else "": who else knows how we are reached from there?
    """
    said = config.label_studio.ml_backend
    if said:
        ours = urlsplit(said).path.rstrip("/").endswith(PREFIX) and "@" not in said
        return credentials.url(said) if ours else said
    same_machine = (urlsplit(config.label_studio.url).hostname or "") in _LOOPBACK
    if not (config.assist.enabled and same_machine and config.web.port):
        return ""
    address = own_address(config.web.host, config.web.port) + PREFIX
    if config.web.tls_certificate is not None:
        address = address.replace("http://", "https://", 1)
    return credentials.url(address)


def keep_connected(config: Config, address: str, stop: threading.Event) -> None:
    """Tell the loop's own project of this model when the service starts: the address or the
    password may be another one than before. A project that is new is told with its first drafts.

    Args:
        address: with user and password.
    """
    from cloud.assembly import open_label_studio

    while not stop.is_set():
        try:
            studio = open_label_studio(config)
            try:
                for project in studio.projects_titled(config.label_studio.project):
                    # Before drafts are shown, the model would be asked for every opened task.
                    if studio.shown_version(project.project_id):
                        refusal = ensure_backend(studio, project.project_id, address)
                        if refusal:
                            logger.warning("project %d: %s", project.project_id, refusal)
            finally:
                studio.close()
            return
        except LifelongError as error:
            logger.info("the smart tool's model is not connected yet: %s", error)
        stop.wait(_AGAIN_SECONDS)


def _told(served: ServedAssist, address: str, config: Config, *, shows_password: bool) -> list[str]:
    section, user = config.assist, served.credentials.user
    if os.environ.get(section.password_env):
        kept = f"the password in {section.password_env}"
    else:
        kept = f"the password in {(config.journal_path.parent / PASSWORD_FILE).resolve()}"
    lines = [
        f"interactive annotation at {address}, for Label Studio at {config.label_studio.url}",
        f"connect it there under Settings, Model, with user {user} and {kept}",
    ]
    if shows_password:
        lines.append(f"or paste this address: {served.credentials.url(address)}")
    if not os.environ.get(config.label_studio.token_env):
        lines.append(
            f"{config.label_studio.token_env} is not set: uploads are fetched with the token that "
            "Label Studio sends, and the next pictures are not prepared"
        )
    return lines


def _connect_when_up(
    server: uvicorn.Server, config: Config, served: ServedAssist, address: str, project: str,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    if server.should_exit:
        return
    try:
        say(connect_project(config, project, served.credentials.url(address)))
    except LifelongError as error:
        say(f"project {project!r} is not connected: {error}")


def connect_project(config: Config, project: str, address: str) -> str:
    """Tell a project of the model at `address`; returns what was done, in words.

    Raises:
        ConfigError: no such project, or several of that title.
        LabelStudioError: Label Studio cannot be reached, or refuses.
    """
    from cloud.assembly import open_label_studio

    studio = open_label_studio(config)
    try:
        number = _project_number(studio, project)
        refusal = ensure_backend(studio, number, address)
    finally:
        studio.close()
    if refusal:
        raise ConfigError(refusal)
    return f"project {number} is connected: {config.label_studio.url}/projects/{number}/data"


def _project_number(studio: "LabelStudio", project: str) -> int:
    if project.isascii() and project.isdigit():
        return int(project)
    found = studio.projects_titled(project)
    if len(found) != 1:
        told = ", ".join(str(one.project_id) for one in found) or "none"
        raise ConfigError(f"project {project!r}: {told} of that title; name it by its id")
    return found[0].project_id


def _listening(host: str, port: int) -> socket.socket:
    """A socket that is bound before models load: a taken port is told at once.

    Raises:
        ConfigError: it is taken, or not ours to listen at.
    """
    try:
        return socket.create_server((host, port), backlog=128, reuse_port=False)
    except OSError as error:
        raise ConfigError(
            f"assist.port: cannot listen at {host}:{port} ({error.strerror}); stop what uses it, "
            "or say --port"
        ) from error


class _LazyStudio(TaskLists):
    """Label Studio, opened when it is first asked: it may start after us."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._studio: LabelStudio | None = None

    def tasks_to_come(
        self, project_id: int, *, after: int, count: int
    ) -> Sequence[tuple[int, Mapping[str, object]]]:
        """See `TaskLists`; called from one thread at a time."""
        from cloud.assembly import open_label_studio

        if self._studio is None:
            self._studio = open_label_studio(self._config)
        return self._studio.tasks_to_come(project_id, after=after, count=count)
