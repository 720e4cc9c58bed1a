"""`cornerloop embed`: pictures of a project made ready for clicks, overnight or by a GPU."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from annotation.label_studio import LabelStudio
    from cloud.assist_service.project_embedding import EmbeddingReport
    from lifelong.config import Config


def embed(
    project: Annotated[str, typer.Option(help="Project of Label Studio, by id or title.")],
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
    ],
    model: Annotated[str, typer.Option(help="Name of a model; else `assist.model`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Embed the pictures of a project's open tasks, so that the first click on each is instant.

    What is embedded already is skipped, so it can be broken off and run again. Ends with 1 where
    a picture could not be embedded.
    """
    from lifelong.config import load_config

    known = load_config(config)
    number, version, report = _embedded(known, project, model)
    for failure in report.failures:
        typer.secho(f"task {failure.task}: {failure.why}", err=True, fg="yellow")
    if report.not_kept:
        typer.secho(
            f"{report.not_kept} are not on disk, which is full or smaller than all of them; raise "
            f"assist.disk_mib ({known.assist.disk_mib}) or make room",
            err=True,
            fg="yellow",
        )
    if as_json:
        typer.echo(json.dumps({"project": number, "model": version, **asdict(report)}, indent=1))
    else:
        typer.echo(
            f"project {number}, {version}: {report.embedded} embedded in {report.seconds:.0f} s, "
            f"{report.were_there} were there, {len(report.failures)} failed"
        )
    if report.failures or report.not_kept:
        raise typer.Exit(1)


def _embedded(known: "Config", project: str, model: str) -> tuple[int, str, "EmbeddingReport"]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from annotation.assist.access import ProjectAccess, Studio
    from annotation.assist.backend import address_of
    from annotation.assist.label_tools import label_tools
    from annotation.assist.pictures import Pictures
    from cloud.assembly import open_label_studio
    from cloud.assist_service.assembly import make_segmenter
    from cloud.assist_service.project_embedding import embed_tasks, open_tasks
    from lifelong.errors import ConfigError

    if not known.assist.disk_mib:
        raise ConfigError("assist.disk_mib: 0, so nothing embedded would be kept; set it")
    section = known.label_studio
    studio = open_label_studio(known)
    try:
        number = project_number(studio, project)
        field = label_tools(studio.label_config(number)).data_field
        tasks = open_tasks(studio, number)
    finally:
        studio.close()
    pictures = Pictures(
        Studio(
            url=section.url,
            token=os.environ.get(section.token_env, ""),
            token_env=section.token_env,
            local_files_root=section.local_files_root,
        ),
        known.assist,
    )
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    segmenter = make_segmenter(known)
    try:
        with bar:
            line = bar.add_task(f"project {number}", total=len(tasks))
            report = embed_tasks(
                tasks,
                lambda task: pictures.picture(
                    address_of(task[1], field), task_id=task[0], project=ProjectAccess()
                ),
                segmenter,
                model=model,
                workers=known.assist.workers,
                ended=lambda: bar.advance(line),
            )
        states = {state.name: state for state in segmenter.states()}
        version = states[model or segmenter.states()[0].name].version
    finally:
        segmenter.close()
    return number, version, report


def project_number(studio: "LabelStudio", project: str) -> int:
    """The id of a project that is named by it, or by its title.

    Raises:
        ConfigError: none of that title, or several.
    """
    from lifelong.errors import ConfigError

    if project.isascii() and project.isdigit():
        return int(project)
    found = studio.projects_titled(project)
    if len(found) != 1:
        told = ", ".join(str(one.project_id) for one in found) or "none"
        raise ConfigError(f"--project {project!r}: {told} of that title; name it by its id")
    return found[0].project_id
