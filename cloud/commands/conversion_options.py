"""Options that `cornerloop export` and `cornerloop convert` share, and how a run is told."""

import logging
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lifelong.config import Config, load_label_map
from lifelong.errors import ConfigError
from lifelong.records.label_map import LabelMap

if TYPE_CHECKING:  # other commands shall not wait for OpenCV
    from annotation.exports.run import ExportReport
    from cloud.converting.conversions import Wish

logger = logging.getLogger(__name__)

_TELL_EVERY_S = 30.0  # where there is no terminal


class Images(StrEnum):
    """What becomes of the images."""

    COPY = "copy"
    LINK = "link"
    NONE = "none"


class Which(StrEnum):
    """Which of several annotations of a task count."""

    LATEST = "latest"
    ALL = "all"
    CONSENSUS = "consensus"


FORMAT_NAMES = (
    "label-studio", "coco", "coco-rle", "coco-panoptic", "yolo-detect", "yolo-segment",
    "cityscapes", "voc", "png", "png16", "numpy", "train-ids",
)  # fmt: skip
FORMAT_HELP = f"One of {', '.join(FORMAT_NAMES)}."

LabelMapOption = Annotated[
    Path | None,
    typer.Option(help="JSON of your classes, `id2label` or `classes`; else the source's own."),
]
AnnotationsOption = Annotated[
    Which, typer.Option(help="Of several annotations: the latest, every one, or what most say.")
]
ImagesOption = Annotated[Images, typer.Option(help="Copy images, link them, or leave them out.")]
RootOption = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of images: Label Studio's document root or media; repeatable."),
]
SplitOption = Annotated[
    str | None, typer.Option(help="Shares of train/val/test by scene, e.g. 0.8/0.1/0.1.")
]
ScenePatternOption = Annotated[
    str, typer.Option(help="Regular expression on names; its first group is the scene.")
]
SeedOption = Annotated[int, typer.Option(help="Another number, other scenes for validation.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that convert.")]
SkipOption = Annotated[
    bool, typer.Option("--skip", help="Leave out what cannot be converted; report.json says why.")
]
ToleranceOption = Annotated[
    float, typer.Option(min=0, help="Pixels that outlines may be off (coco, yolo-segment).")
]
PolygonsOption = Annotated[
    bool, typer.Option("--polygons", help="COCO without run lengths: holes as bridges.")
]
PaletteOption = Annotated[bool, typer.Option("--palette", help="PNG in the classes' colours.")]
BitsOption = Annotated[int, typer.Option(help="Bits of train ids, 8 or 16.")]
PrefixOption = Annotated[
    str, typer.Option(help="Before image names in tasks, e.g. /data/local-files/?d=images/.")
]
PredictionsOption = Annotated[
    bool, typer.Option("--predictions", help="Tasks with predictions, not annotations.")
]
BelowOption = Annotated[
    str, typer.Option(help="Folders that are left out at the beginning of names.")
]
UploadPrefixOption = Annotated[
    bool, typer.Option("--keep-upload-prefix", help="Two uploads of one name stay apart.")
]
ThingsOption = Annotated[
    str | None, typer.Option(help="Classes that are counted, with commas; else the label map's.")
]


def wish_from(
    *, format_name: str, annotations: Which, images: Images, image_roots: list[Path] | None,
    split: str | None, scene_pattern: str, seed: int, workers: int, skip: bool, tolerance: float,
    polygons: bool, palette: bool, bits: int, prefix: str, predictions: bool, below: str,
    keep_upload_prefix: bool, things: str | None,
) -> "Wish":  # fmt: skip
    """What the options say.

    Raises:
        ConfigError: an option that cannot be meant.
    """
    from annotation.exports.image_names import ImageNames
    from annotation.exports.scene_splits import SplitPlan, plan_from
    from annotation.formats.export_formats import FormatOptions
    from cloud.converting.conversions import Wish

    if format_name not in FORMAT_NAMES:
        raise ConfigError(f"format {format_name!r}: expected one of {', '.join(FORMAT_NAMES)}")
    plan = SplitPlan(pattern=plan_from("1/0", pattern=scene_pattern).pattern, seed=seed)
    if split is not None:
        plan = plan_from(split, seed=seed, pattern=scene_pattern)
    return Wish(
        format=format_name,
        options=FormatOptions(
            tolerance_px=tolerance,
            segmentation="polygon" if polygons else "auto",
            has_palette=palette,
            train_id_bits=bits_from(bits),
            studio_kind="predictions" if predictions else "annotations",
            studio_image_prefix=prefix,
        ),
        annotations=annotations.value,
        names=ImageNames(below=below, keep_upload_prefix=keep_upload_prefix),
        images=images.value,
        image_roots=tuple(image_roots or ()),
        split=plan,
        workers=workers,
        skip=skip,
        things=None if things is None else tuple(t.strip() for t in things.split(",") if t.strip()),
    )


def bits_from(bits: int) -> Literal[8, 16]:
    """8 or 16.

    Raises:
        ConfigError: anything else.
    """
    if bits == 8:
        return 8
    if bits == 16:
        return 16
    raise ConfigError(f"--bits {bits}: expected 8 or 16")


def label_map_from(path: Path | None) -> LabelMap | None:
    """The label map in a file, None when there is no file.

    Raises:
        ConfigError: it cannot be read.
    """
    return None if path is None else load_label_map(Config(label_map=path))


class Told:
    """Progress: a line that grows on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def progress(self, report: "ExportReport") -> None:
        """Tell how far it is."""
        pause = 0.5 if self._is_terminal else _TELL_EVERY_S
        if time.monotonic() - self._last < pause:
            return
        self._last = time.monotonic()
        text = f"{report.exported + report.kept} pictures"
        if report.failed:
            text += f", {report.failed} left out with an error"
        if self._is_terminal:
            typer.echo(f"\r{text}", err=True, nl=False)
        else:
            logger.info("%s", text)

    def end(self, report: "ExportReport", out: Path) -> None:
        """What was done, and what should be looked at."""
        if self._is_terminal:
            typer.echo("\r", err=True, nl=False)
        for warning in report.warnings:
            typer.secho(f"WARNING: {warning}", err=True, fg="yellow")
        if report.failed:
            typer.secho(
                f"WARNING: {report.failed} could not be converted, see {out / 'report.json'}",
                err=True,
                fg="yellow",
            )
        left_out = "".join(f", {number} {why}" for why, number in report.left_out.items())
        kept = f" ({report.kept} were done before)" if report.kept else ""
        typer.echo(
            f"{report.exported + report.kept} pictures{kept}{left_out}, "
            f"{report.seconds:.1f} s -> {out}"
        )
        if len(report.sides) > 1:
            # Scenes are never torn, so that the sides may be far from what was asked for.
            typer.echo(", ".join(
                f"{side}: {pictures} of {scenes} scene{'s'[: scenes > 1]}"
                for side, (pictures, scenes) in report.sides.items()
            ))  # fmt: skip
