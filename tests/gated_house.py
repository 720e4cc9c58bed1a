"""A whole application behind its real gate, with a token of each role."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.access.addresses import own_addresses
from cloud.access.audit_watch import AuditWatch
from cloud.access.book import AccessBook
from cloud.access.gate import Gate, cookie_name
from cloud.access.permissions import Role
from cloud.access.slowing import Slowing
from cloud.audit_log import AuditLog
from cloud.web.app import make_app
from cloud.web.parts import Parts
from lifelong.config import Config
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from tests.web_parts import some_parts

ADDRESS = "http://127.0.0.1:8000"


@dataclass
class House:
    """The application, who may enter, and what was slowed down."""

    parts: Parts
    app: FastAPI
    gate: Gate
    book: AccessBook
    audit: AuditLog
    tokens: Mapping[Role, str]
    pauses: list[float]

    def asks(self, role: Role | None = None, address: str = ADDRESS) -> TestClient:
        """A program with a token of this role; None: with none."""
        headers = {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}
        return TestClient(self.gate, base_url=address, headers=headers, follow_redirects=False)

    def browses(self, role: Role = Role.OPERATOR, address: str = ADDRESS) -> tuple[TestClient, str]:
        """A browser that has entered as this role, and the CSRF token of its forms."""
        browser = TestClient(
            self.gate,
            base_url=address,
            headers={"Accept": "text/html,*/*"},
            follow_redirects=False,
        )
        entered = self.book.enter(self.book.make_link(role, f"{role} at a browser")[1])
        assert entered is not None
        caller, cookie = entered
        browser.cookies.set(cookie_name(self.book), cookie)
        return browser, caller.csrf


def a_house(
    folder: Path, config: Config | None = None, build: Callable[[Parts], Parts] | None = None
) -> House:
    """Everything behind the gate; its clock for wrong guesses stands still."""
    storage = open_storage("memory://")
    book = AccessBook(folder / "access", utc_now, session_hours=10)
    audit = AuditLog(storage, utc_now, witness=folder / "access" / "audit-witness.json")
    pauses: list[float] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    slowing = Slowing(lambda: 0.0, noted)
    parts = some_parts(
        storage,
        config=config or Config(),
        book=book,
        audit=audit,
        slowing=slowing,
        audits=AuditWatch(audit, utc_now),
    )
    parts = build(parts) if build else parts
    tokens = {role: book.make_token(f"a {role}", role)[1] for role in Role}
    app = make_app(parts)
    gate = Gate(
        app,
        book=book,
        own=own_addresses(parts.config),
        slowing=slowing,
    )
    return House(parts, app, gate, book, audit, tokens, pauses)
