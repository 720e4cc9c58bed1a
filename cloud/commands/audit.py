"""`cornerloop audit`: who did what to the fleet, and whether the record of it is whole.

Exit codes: 0 done and whole, 1 an error of ours, 3 the chain is broken.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cloud.audit_log import AuditEntry, AuditLog

BROKEN = 3

audit_app = typer.Typer(
    help="Who did what, and is the record of it whole: list, verify.", no_args_is_help=True
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@audit_app.command("list")
def list_entries(
    config: ConfigOption,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many, at most.")] = 25,
    before: Annotated[
        int | None, typer.Option(min=1, help="Only entries with smaller numbers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The newest entries first."""
    entries = _log(config).newest(count, before=before)
    found = [{**one.to_plain(), "trouble": one.trouble} for one in entries]
    text = "\n".join(_line(one) for one in entries) or "nothing has been recorded yet"
    _tell({"entries": found}, text, as_json=as_json)


@audit_app.command()
def verify(
    config: ConfigOption,
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Take the chain as it stands, e.g. after a restore."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the whole chain, and name the first entry that is not as it was recorded."""
    log = _log(config)
    if accept:
        from cloud.operator_actions import terminal_user

        log.accept(terminal_user())
    state = log.verify()
    told = {
        "whole": state.is_whole,
        "entries": state.entries,
        "sha256": state.sha256,
        "first_bad": state.first_bad,
        "trouble": state.trouble,
    }
    text = f"whole: {state.entries} entries, the newest {state.sha256[:16]}…"
    _tell(told, text if state.is_whole else f"broken: {state.trouble}", as_json=as_json)
    if not state.is_whole:
        raise typer.Exit(BROKEN)


def _log(config: Path) -> "AuditLog":
    from cloud.access.book import WITNESS
    from cloud.audit_log import AuditLog
    from lifelong.config import load_config
    from lifelong.links.journal import utc_now
    from lifelong.links.storage import open_storage

    settings = load_config(config)
    witness = settings.web.access_path / WITNESS
    return AuditLog(open_storage(settings.storage), utc_now, witness=witness)


def _line(entry: "AuditEntry") -> str:
    if entry.trouble:
        return f"{entry.number} DAMAGED {entry.trouble}"
    facts = ", ".join(f"{name} {value}" for name, value in entry.facts.items())
    return f"{entry.number} {entry.at[:19]} {entry.who}: {entry.what} {facts}".rstrip()


def _tell(value: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text)
