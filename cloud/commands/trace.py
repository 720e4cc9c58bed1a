"""`cornerloop trace`: what happened to one picture, task or request, in the order of time."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lifelong.errors import ConfigError


def trace(
    name: Annotated[str, typer.Argument(help="A sample id, a task's number, a request's id.")],
    config: Annotated[
        Path,
        typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
    ],
    journal: Annotated[
        list[Path] | None,
        typer.Option(help="More journals: a folder with a folder a node, e.g. of an edge node."),
    ] = None,
    log: Annotated[list[Path] | None, typer.Option(help="Log files in JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Follow one id through edge, storage, rounds, Label Studio and models."""
    from cloud.assembly import open_cloud
    from cloud.tracing import Known, Step
    from cloud.tracing import trace as traced
    from lifelong.config import load_config

    settings = load_config(config)
    for folder in journal or ():
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; name one that holds a folder a node")
    cloud = open_cloud(settings)
    known = Known(
        storage=cloud.storage,
        rounds=cloud.rounds.all(),
        samples=cloud.kb.samples,
        versions=tuple(cloud.kb.versions.values()),
        releases=cloud.releases.history(),
        label_studio=settings.label_studio.url,
    )
    steps: list[Step] = traced(name, known, [settings.journal_path, *(journal or ())], log or ())
    if as_json:
        told = {"id": name, "steps": [step.told() for step in steps]}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    if not steps:
        typer.echo(
            f"nothing is known of {name} here; a node's own journal lies on the node: copy its "
            "folder and name it with --journal, and log files with --log"
        )
        raise typer.Exit(1)
    for step in steps:
        typer.echo(_line(step.told()))


def _line(step: dict[str, object]) -> str:
    facts = step["facts"]
    assert isinstance(facts, dict)
    more = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    at = str(step["at"])[:19] if step["at"] else "–" * 19
    return f"{at}  {step['where']}: {step['what']}" + (f"  ({more})" if more else "")
