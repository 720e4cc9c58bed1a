"""Data sets with sides, ours and others': masks in folders a side, COCO and YOLO files.

masks/{split}/a/1.png|.npy               images/{split}/a/1.jpg
{split}/train_ids/1.png                  {split}/images/1.jpg
gtFine/{split}/a/1_gtFine_labelIds.png   leftImg8bit/{split}/a/1_leftImg8bit.jpg
annotations/*{split}*.json, or a file    images/{split}/, or images/
data.yaml                                what it says
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotation.exports.files import MANIFEST
from annotation.exports.folder_sources import FolderSource
from annotation.exports.picture_items import Item, LeftOut, Refused, digest_of, sha256_of
from annotation.exports.scene_splits import SPLITS
from annotation.formats.cityscapes import LABELS
from annotation.formats.coco_reading import pictures_from_coco
from annotation.formats.file_names import original_name
from annotation.formats.yolo_reading import pictures_from_yolo
from annotation.labelled_pictures import LabelledPicture
from lifelong.errors import ConfigError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class SidedFolders:
    """Folders of masks, one a side."""

    parts: tuple[tuple[str, FolderSource], ...]  # side, folders
    kind: str
    # Ids in the files that are not the label map's: id -> class id; empty: they are.
    meaning: tuple[int, ...] = ()
    has_flat_names: bool = False  # folders are folded into the names, as our exports do

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        """Every side's pictures."""
        for place, (side, part) in enumerate(self.parts):
            for item in part.items():
                if isinstance(item, Item):
                    yield replace(
                        item,
                        where=f"{side}/{item.where}",
                        name=original_name(item.name) if self.has_flat_names else item.name,
                        split=side,
                        payload=(place, item.payload),
                    )
                else:
                    yield item

    def read(self, item: Item) -> LabelledPicture:
        """As the folder reads it.

        Raises:
            LifelongError: as `FolderSource.read`.
        """
        assert isinstance(item.payload, tuple)
        place, payload = item.payload
        return self.parts[place][1].read(replace(item, payload=payload), meaning=self.meaning)

    def digest(self) -> str:
        """Of all sides' labels."""
        told = [f"{side} {part.digest()}" for side, part in self.parts]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoSource:
    """One or several files in COCO's instance format."""

    files: tuple[tuple[str, Path], ...]  # side ("" when nobody says), file
    images: Path | None
    label_map: LabelMap
    kind: str = "coco"

    def items(self) -> Iterator[Item]:
        """Every image of every file.

        Raises:
            CorruptRecordError, LabelMapError, ShapeError: as `pictures_from_coco`.
        """
        for side, path in self.files:
            folder = _first_folder(self.images, side)
            for picture in pictures_from_coco(path, self.label_map):
                found = folder / picture.name if folder is not None else None
                inside = found is not None and ".." not in Path(picture.name).parts
                yield Item(
                    where=f"{path.name}, image {picture.name!r}",
                    name=picture.name,
                    split=side,
                    image=picture.name,
                    image_file=str(found) if inside and found and found.is_file() else "",
                    payload=picture,
                )

    def read(self, item: Item) -> LabelledPicture:
        """It was read already."""
        assert isinstance(item.payload, LabelledPicture)
        return item.payload

    def digest(self) -> str:
        """Of all files."""
        told = [f"{side} {sha256_of(path)}" for side, path in self.files]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloSource:
    """A data set with a `data.yaml`."""

    folder: Path
    label_map: LabelMap
    kind: str = "yolo"
    has_flat_names: bool = False  # as our exports do

    def items(self) -> Iterator[Item]:
        """Every image of every side.

        Raises:
            CorruptRecordError, LabelMapError, ImageError, ShapeError: as `pictures_from_yolo`.
        """
        for side, picture in pictures_from_yolo(self.folder, self.label_map):
            name = original_name(picture.name) if self.has_flat_names else picture.name
            yield Item(
                where=f"{side}/{picture.name}",
                name=name,
                split=side,
                image=picture.name,
                image_file=picture.image,
                payload=replace(picture, name=name),
            )

    def read(self, item: Item) -> LabelledPicture:
        """It was read already."""
        assert isinstance(item.payload, LabelledPicture)
        return item.payload

    def digest(self) -> str:
        """Of the labels, and the images' names."""
        return digest_of(self.folder)


def coco_source(path: Path, label_map: LabelMap) -> CocoSource:
    """A file, or a folder with `annotations/*.json` in it.

    Raises:
        ConfigError: no such file in it.
    """
    if path.is_file():
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        files: tuple[tuple[str, Path], ...] = ((_side_of(path.stem), path),)
    else:
        root = path
        found = sorted((path / "annotations").glob("*.json"))
        files = tuple((_side_of(file.stem), file) for file in found)
        if not files:
            raise ConfigError(f"{path}: expected annotations/*.json in it")
    images = root / "images"
    return CocoSource(files=files, images=images if images.is_dir() else root, label_map=label_map)


def masks_source(folder: Path, label_map: LabelMap) -> SidedFolders:
    """Exports "png", "png16" and "numpy".

    Raises:
        ConfigError: no side in it.
    """
    sides = [
        (side, folder / "masks" / side, folder / "images" / side, (".png", ".npy"))
        for side in SPLITS
    ]
    return _sided(folder, "masks", sides, label_map)


def pairs_source(folder: Path, label_map: LabelMap) -> SidedFolders:
    """Exports "train-ids".

    Raises:
        ConfigError: no side in it.
    """
    sides = [
        (side, folder / side / "train_ids", folder / side / "images", ("_TrainIds.png", ".png"))
        for side in SPLITS
    ]
    made = _sided(folder, "train-ids", sides, label_map)
    return replace(made, has_flat_names=is_ours(folder))


def yolo_source(folder: Path, label_map: LabelMap) -> YoloSource:
    """A folder with `data.yaml` in it."""
    return YoloSource(folder=folder, label_map=label_map, has_flat_names=is_ours(folder))


def is_ours(folder: Path) -> bool:
    """Did `cornerloop export` or `convert` write it?"""
    return (folder / MANIFEST).is_file()


def cityscapes_source(folder: Path, label_map: LabelMap) -> SidedFolders:
    """The layout of Cityscapes; label ids become classes by their names.

    Raises:
        ConfigError: no side in it.
    """
    ending = ("_gtFine_labelIds.png",)
    sides = [(side, folder / "gtFine" / side, folder / "?", ending) for side in SPLITS]
    meaning = [IGNORE_INDEX] * 256
    for label in LABELS:
        if label.name in label_map:
            meaning[label.label_id] = label_map.id_of(label.name)
    return replace(_sided(folder, "cityscapes", sides, label_map), meaning=tuple(meaning))


def _sided(
    folder: Path,
    kind: str,
    sides: Sequence[tuple[str, Path, Path, tuple[str, ...]]],
    label_map: LabelMap,
) -> SidedFolders:
    parts = [
        (
            side,
            FolderSource(
                labels=labels,
                images=images if images.is_dir() else None,
                endings=endings,
                label_map=label_map,
                kind=kind,
            ),
        )
        for side, labels, images, endings in sides
        if labels.is_dir()
    ]
    if not parts:
        raise ConfigError(f"{folder}: no folder of labels of train, val or test in it")
    return SidedFolders(parts=tuple(parts), kind=kind)


def _side_of(stem: str) -> str:
    return next((side for side in SPLITS if side in stem.replace("-", "_").split("_")), "")


def _first_folder(images: Path | None, side: str) -> Path | None:
    if images is None:
        return None
    return images / side if side and (images / side).is_dir() else images
