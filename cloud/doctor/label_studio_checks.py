"""The doctor's look at Label Studio: reachable, its version, our token, our project as we need it.

Nothing is changed here; `cloud/doctor/repairs.py` puts a project's settings right.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.doctor.machine_checks import health_of
from lifelong.errors import (
    ConfigError,
    LabelStudioRefusedError,
    LifelongError,
    ProjectMismatchError,
)
from lifelong.labels.map_history import read_history

MEASURED = (1, 23)  # what every call of ours was tried with
OLDEST = (1, 13)  # before it there were no personal access tokens
_LEGACY = re.compile(r"[0-9a-f]{40}\Z")
_TIMEOUT = 10.0  # seconds


def look_at_label_studio(patient: Patient) -> Iterable[Finding]:
    """Does it answer, in a version we know, to our token?"""
    config = patient.config
    section = config.label_studio
    if config.annotation_folder is not None:
        yield well("annotation_folder", "people work on files; Label Studio is not used")
        return
    version = _version(section.url)
    if version is None:
        yield broken(
            section.url,
            "no Label Studio answers there",
            "start it, or correct label_studio.url; with a proxy, see `environment`",
        )
        return
    told = ".".join(map(str, version))
    if version[:2] < OLDEST:
        need = ".".join(map(str, OLDEST))
        yield broken(section.url, f"is version {told}", f"use {need} or newer")
    elif version[:2] < MEASURED:
        yield warning(section.url, f"is version {told}; ours were tried with 1.23", "upgrade it")
    token = patient.environ.get(section.token_env, "").strip()
    if not token:
        yield broken(section.token_env, "is empty, so nothing more can be asked", "set it")
        return
    kind, trouble = kind_of_token(token, patient.now().timestamp())
    if trouble:
        yield broken(
            section.token_env, trouble, "make a personal access token in Account & Settings"
        )
        return
    try:
        who = patient.studio.whoami()
    except LabelStudioRefusedError as error:
        yield broken(section.token_env, f"is not taken: {error}", _cure(kind, str(error)))
        return
    yield well(section.url, f"version {told}; {who} by {kind}")


def _cure(kind: str, said: str) -> str:
    """What to do about a token that Label Studio answered 401 to; the words for the header are
    ours: `Token` before legacy ones, `Bearer` before what a personal one is exchanged for."""
    if kind == "a legacy token":
        off = "legacy tokens are switched off there" if "legacy" in said.lower() else (
            "it is no token of that server, or legacy tokens are switched off there"
        )  # fmt: skip
        return (
            f"{off}: make a personal access token in Account & Settings and put that into the "
            "variable, or allow legacy tokens in Organization > Access Token Settings; write the "
            "token alone, without `Token` or `Bearer`"
        )
    return (
        "it was revoked, is of another server, or personal access tokens are switched off there: "
        "make one in Account & Settings there, or allow them in Organization > Access Token "
        "Settings; write the token alone, without `Token` or `Bearer`"
    )


def _version(url: str) -> tuple[int, ...] | None:
    """The version that a Label Studio tells everybody; None when there is none."""
    import httpx

    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/version/", timeout=_TIMEOUT, follow_redirects=True
        )
        told = answer.json()["release"] if answer.status_code == 200 else ""
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(told))
    return tuple(int(part or 0) for part in numbers.groups()) if numbers else None


def kind_of_token(token: str, now_s: float) -> tuple[str, str]:
    """What kind of token it is, and what is wrong with it; never quotes it.

    A personal access token is a JWT of type `refresh`; the short-lived one that Label Studio makes
    of it is of type `access`, and does for five minutes.

    Args:
        now_s: seconds since 1970.

    >>> kind_of_token("0" * 40, 0.0)
    ('a legacy token', '')
    """
    if _LEGACY.match(token):
        return "a legacy token", ""
    parts = token.split(".")
    if len(parts) != 3:
        return "a legacy token", ""  # older servers let people choose their own
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims: Any = json.loads(base64.urlsafe_b64decode(padded))
        kind, ends = str(claims.get("token_type")), float(claims.get("exp", "inf"))
    except (ValueError, AttributeError, TypeError):
        return "", "looks like a token of three parts, but cannot be read; it was cut or altered"
    if kind == "access":
        return "", "holds an access token, which ends after five minutes"
    if ends < now_s:
        return "", "holds a personal access token that has run out"
    return "a personal access token", ""


def look_at_project(patient: Patient) -> Iterable[Finding]:
    """Is our project there, with our classes, settings, hints and model?"""
    from annotation.labeling_config import tools_for
    from annotation.project import ImageAddresses

    config, section = patient.config, patient.config.label_studio
    if config.annotation_folder is not None:
        return
    where = f"project {section.project!r}"
    try:
        ImageAddresses(patient.storage.url, section.local_files_root)
    except ConfigError as error:
        yield broken(where, str(error))
    found = patient.studio.projects_titled(section.project)
    if not found:
        yield well(where, "is not there yet; the first round makes it")
        return
    if len(found) > 1:
        yield broken(where, f"there are {len(found)} of that title", "rename all but one")
        return
    history = read_history(patient.storage, patient.label_map)
    others = history.other_names(patient.label_map) if history.changes else None
    troubles: list[Finding] = []
    try:
        tools_for(found[0].label_config, patient.label_map, section.project, others)
    except ProjectMismatchError as error:
        troubles.append(broken(where, str(error)))
    troubles += [*_settings(patient, found[0].project_id), *_hints(patient, found[0].project_id)]
    troubles += _model(patient, found[0].project_id)
    yield from troubles
    if not troubles:
        yield well(where, f"has our {len(patient.label_map)} classes and settings")


def _settings(patient: Patient, project_id: int) -> Iterator[Finding]:
    from annotation.project_settings import SETTINGS

    there = patient.studio.settings(project_id)
    other = [name for name, value in SETTINGS.items() if there.get(name) != value]
    if other:
        yield warning(
            f"project {project_id}",
            f"{', '.join(other)}: not as annotators need it",
            "`cornerloop doctor --repair` sets it; so does the next round",
        )


def _hints(patient: Patient, project_id: int) -> Iterator[Finding]:
    from annotation.webhooks import ACTIONS, HINT_PATH, SECRET_HEADER

    section = patient.config.label_studio
    if not section.webhook_url:
        return
    address = section.webhook_url.rstrip("/") + HINT_PATH
    repair = "`cornerloop doctor --repair` registers it; so does the next round"
    ours = [hook for hook in patient.studio.webhooks(project_id) if hook.url == address]
    if not ours:
        yield warning(f"project {project_id}", f"sends no hints to {address}", repair)
    else:
        secret = patient.environ.get(section.webhook_secret_env, "")
        hears_all = ours[0].for_all_actions or ours[0].actions >= ACTIONS
        if not (ours[0].is_active and hears_all):
            yield warning(address, "is switched off, or hears of too little", repair)
        elif secret and ours[0].headers.get(SECRET_HEADER) != secret:
            yield warning(address, "is sent another secret than ours, and refuses it", repair)
    if health_of(section.webhook_url) != {"status": "up"}:
        yield warning(
            section.webhook_url,
            "no `cornerloop serve` answers there, seen from here; hints are lost",
            "start it, or correct label_studio.webhook_url; without hints it only takes longer",
        )


def _model(patient: Patient, project_id: int) -> Iterator[Finding]:
    import httpx

    url = patient.config.label_studio.ml_backend.rstrip("/")
    if not url:
        return
    try:
        answers = httpx.get(f"{url}/health", timeout=_TIMEOUT).status_code == 200
    except (httpx.HTTPError, httpx.InvalidURL):
        answers = False
    if not answers:
        yield warning(
            url,
            "the interactive model does not answer",
            "start it, or clear label_studio.ml_backend",
        )
        return
    try:
        connected = [b for b in patient.studio.backends(project_id) if b.url.rstrip("/") == url]
    except LifelongError as error:
        yield warning(url, str(error))
        return
    if not connected:
        yield warning(
            url,
            f"project {project_id} is not connected to it",
            "`cornerloop doctor --repair` connects it; so does the next round",
        )
    elif connected[0].trouble:
        yield warning(
            url,
            f"is connected and answers here, but Label Studio cannot reach it "
            f"({connected[0].trouble}): clicks draw nothing",
            "where Label Studio runs, `curl ADDRESS/health` must answer: another machine or a "
            "container needs a name that means this one, and no firewall between",
        )
