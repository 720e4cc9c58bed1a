"""What a project of ours is told by API, so that nobody needs to click: settings, bucket, model.

Everything may be repeated; what somebody changed is put right, and what is right is not touched.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from annotation.labeling_config import INSTRUCTION
from lifelong.errors import LabelStudioRefusedError

logger = logging.getLogger(__name__)

# How many people a task needs is the review's business, which drafts are shown the push's.
SETTINGS: Mapping[str, object] = {
    "show_instruction": True,
    "show_skip_button": True,
    "enable_empty_annotation": True,
    "sampling": "Sequential sampling",
    # Drafts are shown at once, and come from us: opening a task must not wait for a model.
    "reveal_preannotations_interactively": False,
    "evaluate_predictions_automatically": False,
}
BACKEND_TITLE = "Cornerloop interactive"  # never the name of a version: it would become "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket that Label Studio fetches pictures from; it hands them on, browsers never see it."""

    storage_id: int | None  # None: not registered yet
    bucket: str
    prefix: str
    endpoint: str  # "" for Amazon's own
    region: str
    presign: bool
    syncs: bool  # it could make a task of every object
    # Label Studio never tells keys, so these are only sent.
    key_id: str = field(default="", repr=False, compare=False)
    secret: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """An interactive model that a project is connected to."""

    backend_id: int | None  # None: not connected yet
    url: str
    title: str
    is_interactive: bool
    user: str = ""
    # Label Studio never tells it, so it is only sent.
    password: str = field(default="", repr=False, compare=False)
    # Why Label Studio cannot reach it, as far as it says; "" while it can.
    trouble: str = field(default="", compare=False)


class Settings(Protocol):
    """What is asked of Label Studio about a project's settings."""

    def settings(self, project_id: int) -> Mapping[str, object]: ...

    def change_settings(self, project_id: int, changes: Mapping[str, object]) -> None: ...

    def buckets(self, project_id: int) -> list[Bucket]: ...

    def save_bucket(self, project_id: int, bucket: Bucket) -> None: ...

    def backends(self, project_id: int) -> list[Backend]: ...

    def save_backend(self, project_id: int, backend: Backend) -> None: ...


def ensure_settings(studio: Settings, project_id: int) -> None:
    """Give a project the settings that its annotators need; their own instructions stay."""
    there = studio.settings(project_id)
    changes = {name: value for name, value in SETTINGS.items() if there.get(name) != value}
    if not str(there.get("expert_instruction") or "").strip():
        changes["expert_instruction"] = INSTRUCTION
    if changes:
        studio.change_settings(project_id, changes)


def bucket_of(storage_url: str, environment: Mapping[str, str] = os.environ) -> Bucket | None:
    """The bucket of an `s3://` storage as Label Studio must be told of it; None for a folder.

    Endpoint and keys come from the same variables as our own (`lifelong/links/storage.py`).
    """
    parts = urlsplit(storage_url)
    if parts.scheme != "s3":
        return None

    def first_of(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    endpoint = first_of("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL").rstrip("/")
    return Bucket(
        storage_id=None,
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint=f"https://{endpoint}" if endpoint and "://" not in endpoint else endpoint,
        region=first_of("AWS_REGION") or ("us-east-1" if endpoint else ""),
        presign=False,
        syncs=False,
        key_id=first_of("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        secret=first_of("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    )


def ensure_bucket(studio: Settings, project_id: int, wanted: Bucket, *, keys_sent: bool) -> None:
    """Let Label Studio fetch this bucket's pictures for the project.

    It checks the connection when told: something must lie under the prefix.

    Args:
        keys_sent: the present keys were sent before, so only what can be seen is compared.
    """
    there = [
        bucket
        for bucket in studio.buckets(project_id)
        if (bucket.bucket, bucket.prefix) == (wanted.bucket, wanted.prefix)
    ]
    if not there:
        studio.save_bucket(project_id, wanted)
        return
    known = Bucket(
        storage_id=there[0].storage_id,
        bucket=wanted.bucket,
        prefix=wanted.prefix,
        endpoint=wanted.endpoint,
        region=wanted.region,
        presign=wanted.presign,
        syncs=wanted.syncs,
        key_id=wanted.key_id,
        secret=wanted.secret,
    )
    if there[0] != known or not keys_sent:
        studio.save_bucket(project_id, known)


def ensure_backend(
    studio: Settings, project_id: int, address: str, *, password_sent: bool = False
) -> str:
    """Connect the project to an interactive model, once.

    To be called when the project shows a version's drafts: connected before, the model would be
    asked for every task that is opened.

    Args:
        address: may hold user and password, http://user:password@host:9090; they are told to
            Label Studio apart from the address, which everybody may read there.
        password_sent: the present password was sent before, so only what can be seen is compared.

    Returns:
        "" or, in words, why Label Studio would not connect it: a model that is down is no reason
        to keep drafts from people.
    """
    url, user, password = without_password(address)
    there = [
        backend
        for backend in studio.backends(project_id)
        if backend.title == BACKEND_TITLE or backend.url.rstrip("/") == url
    ]
    wanted = Backend(
        backend_id=there[0].backend_id if there else None,
        url=url,
        title=BACKEND_TITLE,
        is_interactive=True,
        user=user,
        password=password,
    )
    if there and there[0] == wanted and (password_sent or not password):
        return ""
    try:
        studio.save_backend(project_id, wanted)
    except LabelStudioRefusedError as error:
        return f"interactive model {url} is not connected: {error}"
    return ""


def without_password(address: str) -> tuple[str, str, str]:
    """Address, user and password of http://user:password@host:9090/path."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=host)).rstrip("/")
    return bare, unquote(parts.username or ""), unquote(parts.password or "")
