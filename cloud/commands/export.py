"""`cornerloop export`: the running project in any format; exports checked, counted, compared."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.commands.conversion_options import (
    FORMAT_HELP,
    AnnotationsOption,
    BelowOption,
    BitsOption,
    Images,
    ImagesOption,
    LabelMapOption,
    PaletteOption,
    PolygonsOption,
    PredictionsOption,
    PrefixOption,
    RootOption,
    ScenePatternOption,
    SeedOption,
    SkipOption,
    SplitOption,
    ThingsOption,
    Told,
    ToleranceOption,
    UploadPrefixOption,
    Which,
    WorkersOption,
    label_map_from,
    wish_from,
)
from cloud.commands.default_command import group_with_default
from lifelong.config import load_config
from lifelong.errors import ConfigError, ObjectNotFoundError
from lifelong.links.storage import Storage, open_storage

if TYPE_CHECKING:  # the SDK takes a second to import
    from annotation.label_studio import LabelStudio

export_app = typer.Typer(
    cls=group_with_default("project"),
    help="Export the running project: `export OUT --format FORMAT`; check and compare exports.",
    no_args_is_help=True,
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_Kind = Annotated[str | None, typer.Option("--from", help="Kind; guessed without it.")]


@export_app.command("project")
def project(
    out: Annotated[Path, typer.Argument(help="Folder that the export is written to.")],
    format_name: Annotated[str, typer.Option("--format", "-f", help=FORMAT_HELP)],
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
    ],
    project_id: Annotated[
        int | None, typer.Option("--project", help="Id in Label Studio; else the configured one.")
    ] = None,
    label_map: LabelMapOption = None,
    annotations: AnnotationsOption = Which.LATEST,
    images: ImagesOption = Images.COPY,
    images_root: RootOption = None,
    split: SplitOption = None,
    scene_pattern: ScenePatternOption = "",
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    skip: SkipOption = False,
    tolerance: ToleranceOption = 0.0,
    polygons: PolygonsOption = False,
    palette: PaletteOption = False,
    bits: BitsOption = 8,
    image_prefix: PrefixOption = "",
    predictions: PredictionsOption = False,
    names_below: BelowOption = "",
    keep_upload_prefix: UploadPrefixOption = False,
    things: ThingsOption = None,
) -> None:
    """Export what people have submitted; the word `project` may be left out."""
    from annotation.label_studio import LabelStudio
    from cloud.assembly import token_of
    from cloud.converting.conversions import export_project

    known = load_config(config)
    roots = list(images_root or [])
    if known.label_studio.local_files_root is not None:
        roots.append(known.label_studio.local_files_root)
    wish = wish_from(
        format_name=format_name, annotations=annotations, images=images, image_roots=roots,
        split=split, scene_pattern=scene_pattern, seed=seed, workers=workers, skip=skip,
        tolerance=tolerance, polygons=polygons, palette=palette, bits=bits, prefix=image_prefix,
        predictions=predictions, below=names_below, keep_upload_prefix=keep_upload_prefix,
        things=things,
    )  # fmt: skip
    section = known.label_studio
    storage = open_storage(known.storage)
    studio = LabelStudio(section.url, token_of(section.token_env), section.timeout_seconds)
    try:
        number = project_id if project_id is not None else _configured(studio, section.project)
        told = Told()
        report = export_project(
            studio, number, out, wish, config=known, storage=storage,
            label_map=label_map_from(label_map), fetch=_fetch(storage), progress=told.progress,
        )  # fmt: skip
    finally:
        studio.close()
    told.end(report, out)


@export_app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="An export, a data set, or a folder of it.")],
    as_json: _Json = False,
) -> None:
    """Hash every file again: is everything still as it was written? Exit code 1 when not."""
    from annotation.exports.verifying import verify as verified

    found = verified(folder)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found) | {"whole": found.is_whole}, indent=1))
    else:
        for what in ("missing", "changed", "unknown"):
            for path in getattr(found, what):
                typer.echo(f"{what}: {path}")
        typer.echo(
            f"{found.files} files, {len(found.missing)} missing, {len(found.changed)} changed, "
            f"{len(found.unknown)} unknown"
        )
    sys.exit(0 if found.is_whole else 1)


@export_app.command("stats")
def stats(
    path: Annotated[Path, typer.Argument(help="An export, a data set, Label Studio's JSON.")],
    kind: _Kind = None,
    label_map: LabelMapOption = None,
    as_json: _Json = False,
) -> None:
    """Pixels, pieces and pictures by class."""
    from annotation.exports.dataset_statistics import statistics
    from cloud.commands.dataset_tables import open_dataset, statistics_text

    source, known = open_dataset(path, kind, label_map_from(label_map))
    found = statistics(source, known)
    text = statistics_text(found)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False)
               if as_json else text)  # fmt: skip


@export_app.command("diff")
def diff(
    before: Annotated[Path, typer.Argument(help="The earlier data set.")],
    after: Annotated[Path, typer.Argument(help="The later one.")],
    label_map: LabelMapOption = None,
    as_json: _Json = False,
) -> None:
    """Pictures, pixels and regions that changed from one data set to another."""
    from annotation.exports.dataset_statistics import difference
    from cloud.commands.dataset_tables import difference_text, open_dataset

    given = label_map_from(label_map)
    one, map_before = open_dataset(before, None, given)
    other, map_after = open_dataset(after, None, given)
    found = difference(one, other, map_before, map_after)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False)
               if as_json else difference_text(found))  # fmt: skip


def _configured(studio: "LabelStudio", title: str) -> int:
    found = studio.projects_titled(title)
    if not found:
        raise ConfigError(f"Label Studio at {studio.url} has no project {title!r}; name its id "
                          "with --project")  # fmt: skip
    return found[0].project_id


def _fetch(storage: Storage) -> Callable[[str], bytes | None]:
    """Images out of the configured storage, by the address that tasks of ours carry."""
    before = f"{storage.url.rstrip('/')}/"

    def fetch(reference: str) -> bytes | None:
        if not reference.startswith(before):
            return None
        try:
            return storage.get(reference.removeprefix(before))
        except ObjectNotFoundError:
            return None

    return fetch
