"""The doctor's look at what Label Studio must reach by itself: us, the model, pictures.

Label Studio often lives in a container or on another machine. Addresses that work from here, above
all 127.0.0.1, mean something else there: models that never answer, pictures that are not found.
"""

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.doctor.web_checks import LOOPBACK
from lifelong.config import Config
from lifelong.errors import ConfigError, PictureAccessError

# How long Label Studio 1.23 waits for an answer of a model (ML_TIMEOUT_PREDICT), seconds.
STUDIO_WAITS = 100.0
_ELSEWHERE = (
    "name an address that works from there: this machine's name or address; from Docker on this "
    "machine http://host.docker.internal:PORT, with web.host or assist.host 0.0.0.0"
)


def look_at_reach(patient: Patient) -> Iterable[Finding]:
    """Do the addresses that we tell Label Studio mean us where it runs?"""
    config = patient.config
    if config.annotation_folder is not None:
        return
    found = [*_own_name(config), *_told_addresses(config, patient), *_patience(config)]
    yield from found
    if not found:
        yield well(config.label_studio.url, "what it is told to reach can be meant by it")


def _own_name(config: Config) -> Iterator[Finding]:
    host = urlsplit(config.label_studio.url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        yield broken(
            config.label_studio.url,
            f"no machine of the name {host!r} is known here ({error})",
            "a name of docker compose is known inside its network only: run us there too, or name "
            "the port that is published, http://127.0.0.1:8080",
        )


def _told_addresses(config: Config, patient: Patient) -> Iterator[Finding]:
    section = config.label_studio
    if is_loopback(section.url):
        return  # on this very machine, as far as anybody can tell
    told = {
        "label_studio.ml_backend": section.ml_backend,
        "label_studio.webhook_url": section.webhook_url,
    }
    for name, url in told.items():
        if url and is_loopback(url):
            yield broken(
                name,
                f"{_without_login(url)} is sent to Label Studio at {section.url}, where it means "
                "that machine and not this one: it is connected, and nothing happens",
                _ELSEWHERE,
            )
    if not section.ml_backend and config.assist.enabled:
        yield warning(
            "label_studio.ml_backend",
            f"is not set, and Label Studio runs elsewhere ({section.url}): nobody tells it where "
            "the smart tool is, so clicks draw nothing",
            "set it to our address with /assist, as it is seen from there",
        )
    if urlsplit(config.storage).scheme == "s3":
        for name in ("AWS_ENDPOINT_URL", "S3_ENDPOINT_URL"):
            url = patient.environ.get(name, "")
            if url and is_loopback(url):
                yield broken(
                    name,
                    f"{url}: Label Studio at {section.url} is given this address for pictures, and "
                    "finds none there",
                    "name the bucket's server as it is seen from everywhere",
                )
    elif section.local_files_root is None:
        yield broken(
            "label_studio.local_files_root",
            f"is not set, and storage is a folder: Label Studio at {section.url} has no way to "
            "our pictures",
            "mount the folder there and set it, or use storage in a bucket",
        )


def _patience(config: Config) -> Iterator[Finding]:
    patience = config.assist.patience_seconds
    if config.assist.enabled and patience >= STUDIO_WAITS:
        yield warning(
            "assist.patience_seconds",
            f"a click waits up to {patience:.0f} s for a model that is loading, Label Studio hangs "
            f"up after {STUDIO_WAITS:.0f} s and shows a time-out",
            "choose less than that: it is told to try again, and the model goes on loading",
        )


def look_at_pictures(patient: Patient) -> Iterable[Finding]:
    """Does Label Studio show the picture of the next open task, asked as a browser would ask?"""
    from annotation.assist.access import ProjectAccess, Studio
    from annotation.assist.pictures import Pictures
    from annotation.labeling_config import IMAGE

    config, section = patient.config, patient.config.label_studio
    if config.annotation_folder is not None:
        return
    projects = patient.studio.projects_titled(section.project)
    open_ = patient.studio.open_tasks(projects[0].project_id) if projects else []
    addressed = [task for task in open_ if isinstance(task.data.get(IMAGE), str)]
    if not addressed:
        yield well(section.project, "no task is open, so no picture is asked for")
        return
    # Without `local_files_root`, so that Label Studio is asked and not our own disk.
    studio = Studio(
        url=section.url,
        token=patient.environ.get(section.token_env, "").strip(),
        token_env=section.token_env,
        local_files_root=None,
    )
    pictures = Pictures(studio, config.assist, environ=patient.environ, clock=time.monotonic)
    task = addressed[0]
    try:
        picture = pictures.picture(
            str(task.data[IMAGE]), task_id=task.task_id, project=ProjectAccess()
        )
        _ = picture.digest  # fetches it
    except (PictureAccessError, ConfigError) as error:
        yield broken(
            f"task {task.task_id}",
            f"its picture cannot be shown: {error}",
            "annotators see an empty page; local files need LABEL_STUDIO_LOCAL_FILES_SERVING_"
            "ENABLED=true, LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT and the folder mounted there "
            "under the same path; buckets need a server that it reaches",
        )
        return
    yield well(f"task {task.task_id}", "Label Studio gives its picture")


def is_loopback(url: str) -> bool:
    """Does an address mean the machine of who reads it?"""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host in LOOPBACK or host.endswith(".localhost") or host == "0.0.0.0":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()
