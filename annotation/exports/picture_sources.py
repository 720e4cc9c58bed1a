"""Kinds of sources by name, and which kind a path is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from annotation.exports.bare_pictures import KIND as BARE
from annotation.exports.bare_pictures import BarePictures, has_pictures
from annotation.exports.exported_sources import (
    cityscapes_source,
    coco_source,
    is_ours,
    masks_source,
    pairs_source,
    yolo_source,
)
from annotation.exports.folder_sources import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    ssa_source,
    train_ids_source,
)
from annotation.exports.image_names import ImageNames
from annotation.exports.manifest import label_map_of_export, read_head
from annotation.exports.picture_items import Source
from annotation.exports.scene_splits import SPLITS
from annotation.exports.task_source import Annotations, TaskSource
from annotation.formats.coco_reading import label_map_from_coco
from lifelong.errors import ConfigError
from lifelong.records.label_map import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a source is read."""

    label_map: LabelMap
    annotations: Annotations = "latest"  # of several of a task
    names: ImageNames = field(default_factory=ImageNames)


def _tasks(path: Path, reading: Reading) -> Source:
    if path.is_dir():
        files = sorted(path.glob("tasks_*.json"))
        if len(files) != 1:  # an export of ours has one a side
            raise ConfigError(f"{path}: name the one file of tasks in it that you mean")
        path = files[0]
    return TaskSource(
        path=path,
        label_map=reading.label_map,
        annotations=reading.annotations,
        names=reading.names,
    )


def _train_ids(path: Path, reading: Reading) -> Source:
    if any((path / side / "train_ids").is_dir() for side in SPLITS):
        return pairs_source(path, reading.label_map)
    return train_ids_source(path, reading.label_map)


KINDS: Mapping[str, Callable[[Path, Reading], Source]] = {
    "label-studio": _tasks,
    "ssa": lambda path, reading: ssa_source(path, reading.label_map),
    "train-ids": _train_ids,
    "masks": lambda path, reading: masks_source(path, reading.label_map),
    "cityscapes": lambda path, reading: cityscapes_source(path, reading.label_map),
    "coco": lambda path, reading: coco_source(path, reading.label_map),
    "yolo": lambda path, reading: yolo_source(path, reading.label_map),
    BARE: lambda path, reading: BarePictures(folder=path, label_map=reading.label_map),
}

# What our own formats are read as.
_OF_FORMAT = {
    "label-studio": "label-studio",
    "coco": "coco",
    "coco-rle": "coco",
    "yolo-detect": "yolo",
    "yolo-segment": "yolo",
    "cityscapes": "cityscapes",
    "png": "masks",
    "png16": "masks",
    "numpy": "masks",
    "train-ids": "train-ids",
}


def open_source(path: Path, kind: str, reading: Reading) -> Source:
    """A source of this kind.

    Raises:
        ConfigError: no such kind, or the path is none of it.
    """
    if kind not in KINDS:
        raise ConfigError(f"--from {kind}: expected one of {', '.join(KINDS)}")
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    return KINDS[kind](path, reading)


def guess_kind(path: Path, *, or_bare: bool = False) -> str:
    """The kind that a path looks like.

    Args:
        or_bare: a folder that looks like nothing else may hold pictures without labels.

    Raises:
        ConfigError: it looks like none; tells which there are.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return "coco" if _begins_with(path) == b"{" else "label-studio"
    if path.is_dir():
        if is_ours(path):
            told = str(read_head(path).get("format"))
            if told in _OF_FORMAT:
                return _OF_FORMAT[told]
            raise ConfigError(f"{path}: an export of format {told!r} cannot be read back")
        looks: Mapping[str, bool] = {
            "ssa": (path / "ssa_output").is_dir(),
            "yolo": (path / "data.yaml").is_file(),
            "cityscapes": (path / "gtFine").is_dir(),
            "coco": any((path / "annotations").glob("*.json")),
            "masks": any((path / "masks" / side).is_dir() for side in SPLITS),
            "train-ids": any((path / name).is_dir() for name in MASK_FOLDERS)
            or any((path / side / "train_ids").is_dir() for side in SPLITS),
        }
        found = next((kind for kind, fits in looks.items() if fits), None)
        if found is not None:
            return found
        if or_bare and has_pictures(path):
            return BARE
    raise ConfigError(
        f"{path}: not clear what this is; say so with --from ({', '.join(KINDS)}). Expected an "
        "export of Label Studio (JSON, JSON-MIN), COCO JSON, or a folder with ssa_output, "
        f"data.yaml, gtFine, annotations, masks or {MASK_FOLDERS[0]} in it"
    )


def label_map_in(path: Path, kind: str) -> LabelMap | None:
    """The label map that a source brings along, None when it brings none.

    Raises:
        LifelongError: it brings one that cannot be read.
    """
    if path.is_dir() and is_ours(path):
        return label_map_of_export(read_head(path), str(path))
    if kind == "coco":
        files = [path] if path.is_file() else sorted((path / "annotations").glob("*.json"))
        return label_map_from_coco(files[0]) if files else None
    return None


def image_roots(path: Path) -> tuple[Path, ...]:
    """Folders of a source that may hold its images."""
    if not path.is_dir():
        return (path.parent,)
    return (path, *(path / name for name in IMAGE_FOLDERS if (path / name).is_dir()))


def _begins_with(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1]
