"""`cornerloop push`: a folder of drafts, or any data set that can be read, into Label Studio."""

from pathlib import Path
from typing import Annotated

import typer

from cloud.commands.conversion_options import RootOption, SkipOption


def push(
    path: Annotated[
        Path,
        typer.Argument(help="Drafts of `cornerloop preannotate`, COCO, masks …, or bare pictures."),
    ],
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
    ],
    kind: Annotated[
        str | None, typer.Option("--from", help="What SOURCE is; guessed and told without it.")
    ] = None,
    images_root: RootOption = None,
    project: Annotated[
        str, typer.Option(help="Title of the project; else the configured one.")
    ] = "",
    skip: SkipOption = False,
) -> None:
    """Offer drafts to annotators in bulk; pushed again it adds only what is new."""
    from rich.console import Console

    from annotation.exports.images import ImageShelf
    from annotation.exports.picture_sources import Reading, guess_kind, image_roots, open_source
    from annotation.pushing import Pushing
    from cloud.assembly import open_cloud, open_label_studio, webhook_secret
    from cloud.drafting.pushed_pictures import push_pictures
    from lifelong.config import load_config
    from lifelong.errors import ConfigError

    known = load_config(config)
    if not path.is_file() and not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder")
    cloud = open_cloud(known)
    section = known.label_studio
    if project:
        section = section.model_copy(update={"project": project})
    found = kind or guess_kind(path, or_bare=True)
    if kind is None:
        typer.echo(f"{path}: taken for {found}; --from says otherwise", err=True)
    studio = open_label_studio(known)
    life = Console(stderr=True).status("reading")  # draws on terminals only
    life.start()
    try:
        report = push_pictures(
            open_source(path, found, Reading(label_map=cloud.label_map)),
            ImageShelf(mode="copy", roots=(*(images_root or []), *image_roots(path))),
            cloud.storage,
            Pushing(
                storage=cloud.storage,
                studio=studio,
                label_map=cloud.label_map,
                section=section,
                journal=cloud.journal,
                webhook_secret=webhook_secret(section),
            ),
            skip=skip,
            progress=lambda done: life.update(f"{done} pictures lie in storage; offering them"),
        )
    finally:
        life.stop()
        studio.close()
    for line in report.refused:
        typer.secho(f"WARNING: {line}", err=True, fg="yellow")
    told = f", {report.without_labels} pictures have no draft" if report.without_labels else ""
    told += f", {len(report.refused)} could not be read" if report.refused else ""
    address = ""
    if report.tasks:
        address = f" -> {section.url}/projects/{report.tasks[0].project_id}/data"
    typer.echo(f"{len(report.tasks)} pictures are offered{told}{address}")
