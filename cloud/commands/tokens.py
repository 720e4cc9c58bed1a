"""`cornerloop tokens`: who may see and do what in `cornerloop serve`.

It works on the files of this machine (`web.access_path`), so it runs where `serve` runs. A secret
is printed once, on stdout, and kept nowhere. What gives power is written into the audit log
before; what takes it away is done even where storage, and the log with it, is away.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.access.permissions import Role

if TYPE_CHECKING:
    from cloud.access.book import AccessBook
    from cloud.audit_log import AuditLog
    from lifelong.config import Config

tokens_app = typer.Typer(
    help="Who may see and do what in `cornerloop serve`: make, list, rotate, revoke, link.",
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RoleOption = Annotated[Role, typer.Option(help="What it is for.")]
Which = Annotated[str, typer.Argument(help="A name or an id, as `tokens list` shows them.")]


@tokens_app.command()
def new(
    config: ConfigOption,
    role: RoleOption,
    name: Annotated[str, typer.Option(help="Who uses it; stands in the audit log.")],
    days: Annotated[
        float | None, typer.Option(help="So long it works; else until revoked.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it; it is not shown again."""
    settings, book, log = _opened(config)
    book.check_new(name, days)
    log.record(_who(), "token.made", name=name, role=str(role), days=days)
    token, secret = book.make_token(name, role, days=days)
    _warn_if_off(settings)
    _print_secret(secret, {"id": token.id, "name": name, "role": role,
                           "expires": _moment(token.expires)}, as_json=as_json)  # fmt: skip


@tokens_app.command("list")
def list_tokens(config: ConfigOption, as_json: JsonOption = False) -> None:
    """All tokens, links that nobody has used yet, and browsers that are in."""
    from lifelong.links.journal import utc_now

    settings, book, _ = _opened(config)
    page, now = book.page(), utc_now()
    tokens = [
        {
            "id": one.id,
            "name": one.name,
            "role": str(one.role),
            "created": _moment(one.created),
            "expires": _moment(one.expires),
            "used": _moment(one.used),
            "revoked": _moment(one.revoked),
            "replaced_by": one.replaced_by or None,
            "good": one.is_good(now),
        }
        for one in page.tokens
    ]
    links = [
        {"id": one.id, "name": one.name, "role": str(one.role), "expires": _moment(one.expires)}
        for one in page.links
        if one.is_good(now)
    ]
    sessions = [
        {
            "id": one.id,
            "name": one.name,
            "role": str(one.role),
            "entered_by": one.entered_by,
            "created": _moment(one.created),
            "seen": _moment(one.seen),
        }
        for one in page.sessions
    ]
    found: dict[str, Any] = {"tokens": tokens, "links": links, "sessions": sessions}
    _warn_if_off(settings)
    _tell(found, _listed(found), as_json=as_json)


@tokens_app.command()
def rotate(
    config: ConfigOption,
    which: Which,
    grace_hours: Annotated[
        float, typer.Option(help="So long the old one works besides; 0: it ends now.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Make a new token in place of one, of its name, role and length of life."""
    _, book, log = _opened(config)
    book.check_rotation(which, grace_hours)
    log.record(_who(), "token.rotated", which=which, grace_hours=grace_hours)
    token, secret = book.rotate(which, grace_hours=grace_hours)
    _print_secret(secret, {"id": token.id, "name": token.name, "role": token.role,
                           "expires": _moment(token.expires)}, as_json=as_json)  # fmt: skip


@tokens_app.command()
def revoke(config: ConfigOption, which: Which, as_json: JsonOption = False) -> None:
    """End a token, a link or a session now; and the sessions that were opened by it."""
    from cloud.access.entering import record_if_possible

    _, book, log = _opened(config)
    ended = book.revoke(which)
    record_if_possible(log, _who(), "token.revoked", which=which, ended=" ".join(ended))
    _tell({"ended": ended}, f"ended: {', '.join(ended)}", as_json=as_json)


@tokens_app.command()
def link(
    config: ConfigOption,
    role: RoleOption = Role.OPERATOR,
    name: Annotated[str, typer.Option(help="Who enters by it; stands in the audit log.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Print a link that lets one browser in, once, within a day."""
    from cloud.access.entering import new_link, record_if_possible

    settings, _, log = _opened(config)
    named = name or f"{role} by a link"
    address = new_link(settings, role, named)
    # Also with storage away: somebody has to come in to see why.
    record_if_possible(log, _who(), "link.made", name=named, role=str(role))
    _warn_if_off(settings)
    _tell({"link": address, "role": role, "name": named}, address, as_json=as_json)


def _opened(config: Path) -> "tuple[Config, AccessBook, AuditLog]":
    from cloud.access.book import WITNESS
    from cloud.access.entering import open_book
    from cloud.audit_log import AuditLog
    from lifelong.config import load_config
    from lifelong.links.journal import utc_now
    from lifelong.links.storage import open_storage

    settings = load_config(config)
    witness = settings.web.access_path / WITNESS
    log = AuditLog(open_storage(settings.storage), utc_now, witness=witness)
    return settings, open_book(settings), log


def _who() -> str:
    from cloud.operator_actions import terminal_user

    return terminal_user()


def _warn_if_off(settings: "Config") -> None:
    if settings.web.access == "off":
        print("web.access is off: nobody is asked for a token", file=sys.stderr)


def _print_secret(secret: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """The token alone on stdout, to be piped; what it is on stderr."""
    if as_json:
        typer.echo(json.dumps({"token": secret, **facts}, indent=1, ensure_ascii=False))
        return
    until = f", until {facts['expires']}" if facts["expires"] else ""
    print(f"token {facts['id']} of {facts['name']} ({facts['role']}){until}; it is not shown "
          "again:", file=sys.stderr)  # fmt: skip
    typer.echo(secret)


def _listed(found: dict[str, Any]) -> str:
    lines = []
    for one in found["tokens"]:
        state = "good" if one["good"] else "revoked" if one["revoked"] else "ended"
        if one["good"] and one["replaced_by"]:
            state = "replaced"
        lines.append(
            f"token {one['id']} {one['name']} ({one['role']}): {state}, made {one['created']}, "
            f"ends {one['expires'] or 'never'}, last used {one['used'] or 'never'}"
        )
    lines += [
        f"link {one['id']} {one['name']} ({one['role']}): until {one['expires']}"
        for one in found["links"]
    ]
    lines += [
        f"session {one['id']} {one['name']} ({one['role']}): by {one['entered_by']}, last seen "
        f"{one['seen']}"
        for one in found["sessions"]
    ]
    return "\n".join(lines) or "nobody may enter; `cornerloop tokens link` makes a link"


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds")


def _tell(value: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text)
