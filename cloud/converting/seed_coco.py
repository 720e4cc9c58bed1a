"""Seed 002's `convert_to_rle_mask_coco.py`: Label Studio's JSON as COCO with run lengths.

    OUT/annotations/ann.json
    OUT/images/NAME
    OUT/mask-rcnn_r50_fpn.py      a configuration of mmdetection, when it is asked for

Every region becomes an instance: brush, polygons, rectangles and ellipses.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotation.exports.images import ImageShelf, ImagesMode
from annotation.exports.run import ExportPlan, ExportReport, ExportRun, Progress
from annotation.exports.task_source import TaskSource
from annotation.formats.coco import CocoInstances
from annotation.formats.label_studio_json import entries_of_export, task_of_entries
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture
from annotation.regions import painted_regions
from cloud.converting.conversions import Wish
from lifelong.errors import ConfigError
from lifelong.records.colours import distinct_colours
from lifelong.records.label_map import LabelMap, label_map_of

CONFIGS = ("mask-rcnn_r50_fpn", "rtmdet-ins_s")
_BASE_VARIABLE = "LABEL_STUDIO_BASE_DATA_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedCoco:
    """A `Writer` of seed 002's layout."""

    label_map: LabelMap
    config: str = ""  # one of CONFIGS, "" for none

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """As COCO's, the image in one folder.

        Raises:
            CorruptRecordError: a name that leaves its folder.
        """
        entry = self._coco().entry(picture, split)
        return replace(entry, image_path=f"images/{picture.name}")

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """`ann.json`, and the configuration."""
        for path, pieces in self._coco().index(pictures):
            if path == "annotations/instances_train.json":
                yield "annotations/ann.json", pieces
            elif self.config and path == f"configs/{self.config}.py":
                text = b"".join(pieces).decode()
                text = text.replace("annotations/instances_train.json", "annotations/ann.json")
                yield f"{self.config}.py", iter([text.replace("images/train/", "images/").encode()])

    def _coco(self) -> CocoInstances:
        return CocoInstances(label_map=self.label_map, segmentation="rle")


def label_studio_to_coco(
    path: Path,
    out: Path,
    *,
    classes: Sequence[str] = (),
    config: str = "",
    images: ImagesMode = "copy",
    roots: Sequence[Path] = (),
    workers: int = 1,
    skip: bool = False,
    progress: Progress = lambda report: None,
) -> tuple[ExportReport, LabelMap]:
    """Convert an export; returns the classes in the order of their ids too.

    Args:
        classes: in the order of their ids; none: those of the file, as they come.
        roots: folders of images.

    Raises:
        ConfigError: no such file or configuration, or no class.
        LifelongError: as `ExportRun.run`.
    """
    if config and config not in CONFIGS:
        raise ConfigError(f"--out_config {config}: expected one of {', '.join(CONFIGS)}")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; export JSON in Label Studio")
    names = list(classes) or _classes_of(path)
    if not names:
        raise ConfigError(f"{path}: nobody submitted a region with a label, so there is no class")
    pairs = zip(names, distinct_colours(len(names)), strict=True)
    label_map = label_map_of(pairs).with_things(names)
    source = TaskSource(path=path, label_map=label_map)
    wish = Wish(format=f"seed-coco {config}".strip(), images=images)
    plan = ExportPlan(
        identity=wish.identity(source, label_map, {"name": path.name}),
        label_map=label_map,
        images=ImageShelf(mode=images, roots=tuple(roots)),
        workers=workers,
        skip=skip,
    )
    writer = SeedCoco(label_map=label_map, config=config)
    return ExportRun(source, writer, out, plan).run(progress), label_map


def classes_from(told: Sequence[str]) -> list[str]:
    """Classes from a command line: given several times, or with commas between them.

    >>> classes_from(["cat, person", "traffic light"])
    ['cat', 'person', 'traffic light']
    """
    return [name.strip() for one in told for name in one.split(",") if name.strip()]


def media_folders(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Where Label Studio keeps uploads on this machine, the folders that exist."""
    told = environment.get(_BASE_VARIABLE, "")
    by_system = {
        "darwin": home / "Library" / "Application Support" / "label-studio",
        "win32": home / "AppData" / "Local" / "label-studio" / "label-studio",
    }
    default = by_system.get(sys.platform, home / ".local" / "share" / "label-studio")
    folders = [Path(told) / "media"] if told else []
    return [folder for folder in [*folders, default / "media"] if folder.is_dir()]


def _classes_of(path: Path) -> list[str]:
    """The labels that somebody submitted, in the order of the file."""
    found: dict[str, None] = {}
    for number, entries in enumerate(entries_of_export(path)):
        task = task_of_entries(entries, f"{path.name}, entry {number}")
        for annotation in task.annotations:
            if annotation.is_skip:
                continue
            for region in painted_regions(annotation.regions):
                labels = region.get("value", {}).get(region.get("type", ""))
                for label in labels if isinstance(labels, list) else []:
                    found.setdefault(str(label))
    return list(found)
