"""`Parts` of the monitor for tests: a storage in memory, and whatever else a test says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.testclient import TestClient

from cloud.access.addresses import own_addresses
from cloud.access.gate import Gate
from cloud.access.permissions import Caller, Role
from cloud.fleet.edges import Edges
from cloud.fleet.rollout import Rollouts
from cloud.monitor.look import Look
from cloud.monitor.watch import Watch
from cloud.releasing.releases import Releases
from cloud.web.app import make_app
from cloud.web.parts import Parts
from cloud.web.site import Site
from lifelong.config import Config
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.sections.fleet import ReleasesSection
from tests.builders import SMALL_MAP


def a_watch(storage: Storage, folder: Path) -> Watch:
    """A watch over `storage`; nobody runs it, so `refresh` says when it looks."""
    journal = Journal(folder, "cloud")
    releases = Releases(storage, journal, utc_now)
    return Watch(
        storage=storage,
        kb=KnowledgeBase(storage),
        rollouts=Rollouts(
            storage=storage,
            releases=releases,
            edges=Edges(storage, utc_now),
            section=ReleasesSection(),
            journal=journal,
            now=utc_now,
        ),
        section=ReleasesSection(),
        now=utc_now,
        pause_s=1.0,
    )


def some_parts(storage: Storage | None = None, look: Look | None = None, **changes: Any) -> Parts:
    """Parts around a storage and one look; `title` and `trouble` go into the site."""
    found = look or Look(at=utc_now())
    site = Site(
        title=changes.pop("title", "Test"),
        look=changes.pop("looks", lambda: found),
        trouble=changes.pop("trouble", lambda: ""),
        now=utc_now,
    )
    parts = Parts(
        site=site,
        config=Config(),
        storage=storage or open_storage("memory://"),
        label_map=SMALL_MAP,
        hint=lambda: None,
        secret="",
    )
    return replace(parts, **changes)


def a_client(parts: Parts, role: Role | None = Role.OPERATOR) -> TestClient:
    """The whole application, asked by somebody of this role; None: by nobody known.

    Who the caller is comes from here and not from the gate, which has tests of its own.
    """
    app = make_app(parts)

    @app.middleware("http")
    async def known(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if role is not None:
            request.state.caller = Caller(name="tess", role=role, token_id="t1", csrf="csrf-1")
        return await answer(request)

    return TestClient(app)


def a_gate(parts: Parts, config: Config | None = None) -> Gate:
    """The whole application behind its real gate; `parts.book` says who may enter."""
    return Gate(make_app(parts), book=parts.book, own=own_addresses(config or parts.config))


def a_visitor(parts: Parts, secret: str = "", config: Config | None = None) -> TestClient:
    """Asks the real gate, with a token if there is one; keeps cookies, follows no redirect."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return TestClient(
        a_gate(parts, config),
        base_url="http://127.0.0.1:8000",
        headers=headers,
        follow_redirects=False,
    )
