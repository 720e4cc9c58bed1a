"""Hints from Label Studio: where they arrive, what they carry, and that a project sends them.

Label Studio sends each hint once, waits a second for the answer and forgets it: a hint only says
"look now". What happened is found by looking, hint or no hint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

HINT_PATH = "/webhooks/label-studio"  # of `cornerloop serve`
SECRET_HEADER = "X-Cornerloop-Secret"

ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_DELETED",
        "TASKS_DELETED",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook as Label Studio has it."""

    webhook_id: int | None  # None: not registered yet
    url: str
    headers: Mapping[str, str] = field(repr=False)  # hold the secret
    actions: frozenset[str]
    is_active: bool
    for_all_actions: bool
    with_payload: bool


class Webhooks(Protocol):
    """What is asked of Label Studio about webhooks."""

    def webhooks(self, project_id: int) -> list[Webhook]: ...

    def save_webhook(self, project_id: int, webhook: Webhook) -> None:
        """Register it, or change the one with its id."""

    def delete_webhook(self, webhook_id: int) -> None: ...


def ensure_webhook(studio: Webhooks, project_id: int, *, url: str, secret: str) -> None:
    """Make the project send its hints to `url`, once; repair what somebody changed.

    Webhooks of other people are left alone; ours are known by their path, so an old address of
    ours goes. They send the name of the action only: payloads cost Label Studio time and tell
    nothing that we would believe.

    Args:
        url: of `cornerloop serve`, without a path; "": the project shall send none.
    """
    address = url.rstrip("/") + HINT_PATH
    ours = sorted(
        (hook for hook in studio.webhooks(project_id) if hook.url.endswith(HINT_PATH)),
        key=lambda hook: (hook.url != address, hook.webhook_id or 0),
    )
    keep = ours[:1] if url else []
    for hook in ours[len(keep) :]:
        if hook.webhook_id is not None:
            studio.delete_webhook(hook.webhook_id)
    if not url:
        return
    wanted = Webhook(
        webhook_id=keep[0].webhook_id if keep else None,
        url=address,
        headers={SECRET_HEADER: secret},
        actions=ACTIONS,
        is_active=True,
        for_all_actions=False,
        with_payload=False,
    )
    if not keep or keep[0] != wanted:
        studio.save_webhook(project_id, wanted)
