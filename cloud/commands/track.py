"""`cornerloop track`: the objects of one frame, carried through all frames of a folder."""

from pathlib import Path
from typing import Annotated

import typer


def track(
    folder: Annotated[Path, typer.Argument(help="Frames: JPEG or PNG, in the order of names.")],
    masks: Annotated[
        Path,
        typer.Option(
            help="PNG named after one of the frames: 0 is no object, other values are objects."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where masks of all frames and tracks.json go.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
    ] = None,
) -> None:
    """Follow objects forward and backward from the frame whose masks are given.

    The model is that of `assist.model`.
    """
    from cloud.assist_service.models import AssistLoader
    from cloud.assist_service.tracking import sequence_of
    from cloud.assist_service.tracking import track as follow
    from lifelong.config import Config, load_config

    known = load_config(config) if config is not None else Config()
    given = sequence_of(folder, masks)
    model = AssistLoader(known).load(known.assist.model)
    tracks = follow(model, given, out, say=lambda line: typer.echo(line, err=True))
    for one in tracks:
        typer.echo(
            f"object {one.number}: seen in {len(one.seen)} of {len(given.frames)} frames, "
            f"{one.seen[0]} to {one.seen[-1]}"
        )
