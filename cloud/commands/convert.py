"""`cornerloop convert`: data sets from one format to another, and the seeds' own converters."""

import os
from pathlib import Path
from typing import Annotated

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
    bits_from,
    label_map_from,
    wish_from,
)
from cloud.commands.default_command import group_with_default
from lifelong.config import Config, load_label_map

convert_app = typer.Typer(
    cls=group_with_default("dataset"),
    help="Convert data sets: `convert SOURCE OUT --to FORMAT`, and the seeds' converters.",
    no_args_is_help=True,
)

_DatasetDir = Annotated[
    Path, typer.Option("--dataset_dir", "--dataset-dir", help="Folder with raw_data in it.")
]
_ConfigPath = Annotated[
    Path, typer.Option("--config_path", "--config-path", help="JSON with id2label.")
]


@convert_app.command("dataset")
def dataset(
    source: Annotated[Path, typer.Argument(help="File, folder or zip archive.")],
    out: Annotated[Path, typer.Argument(help="Folder that the export is written to.")],
    to: Annotated[str, typer.Option(help=FORMAT_HELP)],
    kind: Annotated[
        str | None, typer.Option("--from", help="Kind of the source; guessed without it.")
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
    """Convert a data set; the word `dataset` may be left out."""
    from cloud.converting.conversions import convert_dataset
    from cloud.converting.seed_conversions import ROOT_VARIABLE

    roots = list(images_root or [])
    if os.environ.get(ROOT_VARIABLE):
        roots.append(Path(os.environ[ROOT_VARIABLE]))
    wish = wish_from(
        format_name=to, annotations=annotations, images=images, image_roots=roots, split=split,
        scene_pattern=scene_pattern, seed=seed, workers=workers, skip=skip, tolerance=tolerance,
        polygons=polygons, palette=palette, bits=bits, prefix=image_prefix,
        predictions=predictions, below=names_below, keep_upload_prefix=keep_upload_prefix,
        things=things,
    )  # fmt: skip
    told = Told()

    def on_kind(found: str) -> None:
        if kind is None:
            typer.echo(f"{source}: taken for {found}; --from says otherwise", err=True)

    report = convert_dataset(
        source, out, wish, kind=kind, label_map=label_map_from(label_map), on_kind=on_kind,
        progress=told.progress,
    )  # fmt: skip
    told.end(report, out)


@convert_app.command("ssa-to-ls")
def ssa_to_ls(
    dataset_dir: _DatasetDir,
    config_path: _ConfigPath,
    ontology: Annotated[
        Path | None, typer.Option(help="YAML of words that mean a class, for open vocabulary.")
    ] = None,
    skip: SkipOption = False,
) -> None:
    """Drafts in ssa_output as tasks in ls_data (seed 003's convert_ssa_to_ls.py)."""
    from cloud.converting.seed_conversions import ssa_to_label_studio
    from cloud.preannotation.ontology import ontology_of, read_ontology

    known = load_label_map(Config(label_map=config_path))
    words = ontology_of(known) if ontology is None else read_ontology(ontology, known)
    report = ssa_to_label_studio(dataset_dir, known, os.environ, class_of=words.class_of, skip=skip)
    _tell_failures(report.failures)
    typer.echo(
        f"{report.done} tasks -> {dataset_dir / 'ls_data'}; import tasks.json, or single files"
    )


@convert_app.command("ls-to-train-ids")
def ls_to_train_ids(
    dataset_dir: _DatasetDir,
    ls_json_name: Annotated[
        str, typer.Option("--ls_json_name", "--ls-json-name", help="The export in ls_data.")
    ],
    config_path: _ConfigPath,
    bits: BitsOption = 16,
    skip: SkipOption = False,
) -> None:
    """An export in ls_data as masks in train_ids (seed 003's convert_ls_to_trainid.py)."""
    from cloud.converting.seed_conversions import label_studio_to_train_ids

    known = load_label_map(Config(label_map=config_path))
    report = label_studio_to_train_ids(
        dataset_dir, ls_json_name, known, os.environ, bits=bits_from(bits), skip=skip
    )
    _tell_failures(report.failures)
    left_out = f", {report.left_out} not annotated" if report.left_out else ""
    typer.echo(f"{report.done} masks{left_out} -> {dataset_dir / 'train_ids'}")


@convert_app.command("ls-to-coco")
def ls_to_coco(
    json_file_path: Annotated[
        Path, typer.Option("--json_file_path", "--json-file-path", help="Label Studio's JSON.")
    ],
    out_dir: Annotated[Path, typer.Option("--out_dir", "--out-dir", help="Folder to write to.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(help="Classes in the order of their ids, with commas; else the file's."),
    ] = None,
    out_config: Annotated[
        str,
        typer.Option("--out_config", "--out-config", help="mask-rcnn_r50_fpn or rtmdet-ins_s."),
    ] = "",
    images: ImagesOption = Images.COPY,
    images_root: RootOption = None,
    workers: WorkersOption = 1,
    skip: SkipOption = False,
) -> None:
    """Label Studio's JSON as COCO run lengths (seed 002's convert_to_rle_mask_coco.py)."""
    from cloud.converting.seed_coco import classes_from, label_studio_to_coco, media_folders
    from cloud.converting.seed_conversions import ROOT_VARIABLE

    roots = [*(images_root or []), *media_folders(os.environ, Path.home())]
    if os.environ.get(ROOT_VARIABLE):
        roots.append(Path(os.environ[ROOT_VARIABLE]))
    told = Told()
    report, label_map = label_studio_to_coco(
        json_file_path, out_dir, classes=classes_from(classes or []), config=out_config,
        images=images.value, roots=roots, workers=workers, skip=skip, progress=told.progress,
    )  # fmt: skip
    typer.echo(list(label_map.names))  # to copy into a configuration, as the seed's script has it
    told.end(report, out_dir)


def _tell_failures(failures: list[str]) -> None:
    for failure in failures[:10]:
        typer.secho(f"left out: {failure}", err=True, fg="yellow")
    if len(failures) > 10:
        typer.secho(f"… and {len(failures) - 10} more", err=True, fg="yellow")
