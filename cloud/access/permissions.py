"""Who may do what: four roles, five permissions, and how a route says which one it wants.

A route without a permission is refused to everybody: forgetting to think of it opens nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Depends, HTTPException, Request


class Role(StrEnum):
    """What a token is for."""

    DEVICE = "device"  # machines: scrapers of metrics, probes, devices that are being set up
    ANNOTATOR = "annotator"  # sees the pages, corrects drafts
    OPERATOR = "operator"  # also begins rounds, halts roll-outs, rolls back
    ADMIN = "admin"  # also tokens and the audit log


class Permission(StrEnum):
    """What a route wants of its caller."""

    OPEN = "open"  # of nobody anything: is it up, how does one enter, style sheets
    MEASURE = "measure"  # numbers without names of people or pictures
    SEE = "see"  # pages, pictures
    LABEL = "label"  # write annotations
    OPERATE = "operate"  # what changes the loop or the fleet
    ADMINISTER = "administer"


GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.DEVICE: frozenset({Permission.OPEN, Permission.MEASURE}),
    Role.ANNOTATOR: frozenset(
        {Permission.OPEN, Permission.MEASURE, Permission.SEE, Permission.LABEL}
    ),
    Role.OPERATOR: frozenset(set(Permission) - {Permission.ADMINISTER}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as the gate at the door has found out; `request.state.caller`."""

    name: str  # of the token; stands in the audit log
    role: Role
    token_id: str  # "" where access is off
    csrf: str = ""  # what forms of this session must carry; "" when no cookie spoke for it

    def may(self, permission: Permission) -> bool:
        """Is it granted?"""
        return permission in GRANTS[self.role]


def caller_of(request: Request) -> Caller | None:
    """Who asks; None: nobody known."""
    found: Caller | None = getattr(request.state, "caller", None)
    return found


def needs(permission: Permission) -> Any:
    """A dependency of a route or router: only callers with this permission pass.

    Raises:
        HTTPException: 401 for callers nobody knows, 403 for those who may not.
    """

    def check(request: Request) -> Caller | None:
        caller = caller_of(request)
        if permission is Permission.OPEN:
            return caller
        if caller is None:
            raise HTTPException(401, "enter first: this needs a token")
        if not caller.may(permission):
            roles = ", ".join(role for role, granted in GRANTS.items() if permission in granted)
            raise HTTPException(
                403, f"a token of role {caller.role} may not do this; it needs one of: {roles}"
            )
        return caller

    check.permission = permission  # type: ignore[attr-defined]
    return Depends(check)


def permission_of(route: Any) -> Permission | None:
    """What a route wants; None: it never said, and is refused."""
    found: list[Permission] = []

    def walk(dependant: Any) -> None:
        wanted = getattr(dependant.call, "permission", None)
        if wanted is not None:
            found.append(wanted)
        for inner in dependant.dependencies:
            walk(inner)

    dependant = getattr(route, "dependant", None)
    if dependant is not None:
        walk(dependant)
    order: Callable[[Permission], int] = list(Permission).index
    return max(found, key=order) if found else None
