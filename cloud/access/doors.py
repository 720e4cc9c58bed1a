"""Every address of the application and what it wants of its caller.

An address that never said what it wants is closed to everybody. Mounted applications cannot say
it, so they are listed here with the reason why they are open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, Mount
from starlette.types import Scope

from cloud.access.permissions import Permission, permission_of

OPEN_MOUNTS = {"/static": "style sheets, scripts and pictures of our own; nobody's data"}


@dataclass(frozen=True, slots=True)
class Door:
    """One address pattern."""

    path: str
    methods: frozenset[str]  # empty: any
    permission: Permission | None  # None: it never said
    route: Any = None  # has `matches(scope)`


class Doors:
    """Finds the door of a request as the application's own router will."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._found: tuple[int, Sequence[Door]] | None = None

    def all(self) -> Sequence[Door]:
        """All there are; routes may still be added until the first request."""
        count = len(self._app.router.routes)
        if self._found is None or self._found[0] != count:
            self._found = (count, tuple(_doors(self._app)))
        return self._found[1]

    def of(self, scope: Scope) -> Door | None:
        """The door of a request; one of another method when nothing else fits; None: none."""
        partial = None
        for door in self.all():
            match, _ = door.route.matches(scope)
            if match is Match.FULL:
                return door
            if match is Match.PARTIAL and partial is None:
                partial = door
        return partial


def _doors(app: FastAPI) -> Iterator[Door]:
    for route in iter_route_contexts(app.router.routes):
        path = route.path or ""
        if isinstance(route.original_route, Mount):
            permission = Permission.OPEN if path in OPEN_MOUNTS else None
        else:
            permission = permission_of(route)
        yield Door(path, frozenset(route.methods or ()), permission, route)
