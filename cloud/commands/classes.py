"""`cornerloop classes`: which classes there are, and how to change them."""

import json
from pathlib import Path
from typing import Annotated

import typer

classes_app = typer.Typer(help="The classes, and changes of them.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@classes_app.command()
def show(config: ConfigOption, as_json: JsonOption = False) -> None:
    """The classes, every change of them, and which classes the samples were painted with."""
    from cloud.assembly import open_cloud
    from cloud.class_changes import overview
    from lifelong.config import load_config

    found = overview(open_cloud(load_config(config)))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    typer.echo(f"label map {found['digest']}: {', '.join(found['classes'])}")
    if found["newest"] != found["digest"]:
        typer.echo(f"the newest one is {found['newest']}: the configuration names another")
    for change in found["changes"]:
        typer.echo(f"{change['before']} -> {change['after']}: {'; '.join(change['operations'])}")
    for digest, one in found["samples"].items():
        typer.echo(f"{one['samples']} samples of label map {digest}")
        if one["unreadable"]:
            typer.echo(f"  cannot be read: {one['unreadable']}")


@classes_app.command()
def change(
    config: ConfigOption,
    add: Annotated[
        list[str] | None,
        typer.Option(help='"NEW:was OLD,OLD", or "NEW" when older labels leave it out.'),
    ] = None,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW")] = None,
    merge: Annotated[list[str] | None, typer.Option(help="OLD+OLD=NEW")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="OLD; its pixels become unknown.")
    ] = None,
    thing: Annotated[
        list[str] | None, typer.Option(help="An added class whose instances can be counted.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the new label map goes; else `label_map`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add, rename, merge and remove classes; the next round learns them. See docs/classes.md."""
    from cloud.assembly import open_cloud
    from cloud.class_changes import effects, make_change, parsed_operations, told
    from lifelong.config import load_config
    from lifelong.errors import ConfigError
    from lifelong.labels.map_changes import change_classes

    cloud = open_cloud(load_config(config))
    operations = parsed_operations(add or [], rename or [], merge or [], remove or [])
    if not any(operations.values()):
        raise typer.BadParameter("name a change: --add, --rename, --merge or --remove")
    made = change_classes(cloud.label_map, **operations, things=thing or [])
    path = out or cloud.config.label_map
    if path is None:
        raise ConfigError(
            f"{config}: label_map is not set, the classes are those of Cityscapes; say --out FILE "
            "and name that file as label_map"
        )
    found = effects(cloud, made)
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else told(found))
    if dry_run:
        return
    make_change(cloud, made, path)
    typer.echo(f"written: {path}; restart `cornerloop serve`", err=True)
    if cloud.config.label_map is None:
        typer.echo(f"now name it in {config}: label_map: {path}", err=True)
