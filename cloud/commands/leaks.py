"""`cornerloop leaks`: does anything that examines also train?

Exit codes: 0 nothing leaks, 3 something does.
"""

import json
from pathlib import Path
from typing import Annotated

import typer


def leaks(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="CORNERLOOP_CONFIG", help="Samples against hold-outs of it."
        ),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of pictures that train.")] = None,
    eval_: Annotated[
        Path | None, typer.Option("--eval", help="Folder of pictures that examine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Pictures of a hold-out among those that train: copies, mirrored, cropped, brightened."""
    from cloud.learning.leak_watch import LeakWatch, fingerprints_of_files, pictures_under
    from lifelong.errors import ConfigError
    from lifelong.leakage import find_leaks

    if (train is None) != (eval_ is None):
        raise ConfigError("--train and --eval belong together; name both folders")
    if train is not None and eval_ is not None:
        sides = [fingerprints_of_files(pictures_under(place), {}) for place in (train, eval_)]
        for place, side in zip((train, eval_), sides, strict=True):
            if not side:
                raise ConfigError(f"{place}: no pictures; expected .jpg or .png in it or below")
        counts, found = (len(sides[0]), len(sides[1])), find_leaks(*sides)
    elif config is not None:
        from cloud.assembly import open_cloud
        from lifelong.config import load_config

        cloud = open_cloud(load_config(config))
        watch = LeakWatch(cloud.storage, cloud.kb, cloud.config.holdouts)
        counts, found = watch.everything()
    else:
        raise ConfigError("name a configuration (--config), or two folders (--train, --eval)")
    if as_json:
        pairs = [
            {"train": leak.train, "eval": leak.holdout, "likeness": round(leak.likeness, 4)}
            for leak in found
        ]
        told = {"train": counts[0], "eval": counts[1], "leaks": pairs}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        for leak in found:
            typer.echo(str(leak))
        typer.echo(f"{len(found)} of {counts[0]} training pictures leak into {counts[1]} held out")
    if found:
        raise typer.Exit(3)
