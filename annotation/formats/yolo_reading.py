"""YOLO's label files as labelled pictures: boxes and outlines, a line an instance.

A line of five numbers is a box, one of seven or more (an odd number) an outline. Pixels whose
centre is inside count, by the even-odd rule. Pictures keep the names they have below the folder of
their split. Sizes are read from the images, turned upright as Ultralytics does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from annotation.labelled_pictures import LabelledPicture, LabelledRegion
from annotation.outlines import filled
from lifelong.errors import CorruptRecordError, ImageError, LabelMapError, ShapeError
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import FORMATS, MAX_PIXELS

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_ORIENTATION = 274  # EXIF
_BEYOND = 1e-3  # shares of the image that rounding may lie outside


@dataclass(frozen=True, slots=True, kw_only=True)
class YoloImage:
    """One image of a data set whose label file was not read yet."""

    split: str
    image: Path
    name: str  # below the folder of the split
    classes: Mapping[int, str]  # id -> name

    def picture(self, label_map: LabelMap) -> LabelledPicture:
        """The image with the instances of its label file; without one it is background.

        Raises:
            CorruptRecordError: a line that cannot be read; names file and line, as do the others.
            LabelMapError: a class that is not in `data.yaml` or not in the label map.
            ShapeError: numbers that lie outside the image.
            ImageError: its size cannot be read.
        """
        size = upright_size(self.image)
        found = [
            _region(line, self.classes, label_map, size, where)
            for where, line in _lines(_labels_of(self.image))
        ]
        return LabelledPicture(
            name=self.name,
            height=size[0],
            width=size[1],
            regions=tuple(region for region in found if region.patch.area),
            image=str(self.image),
        )


def pictures_from_yolo(folder: Path, label_map: LabelMap) -> Iterator[tuple[str, LabelledPicture]]:
    """Every picture of a data set with its split; ends at the first that cannot be read.

    Raises:
        RecordError: as `images_of_yolo` and `YoloImage.picture`.
    """
    for image in images_of_yolo(folder):
        yield image.split, image.picture(label_map)


def images_of_yolo(folder: Path) -> Iterator[YoloImage]:
    """Every image of a data set, by split and name.

    Args:
        folder: holds `data.yaml`; a class is taken by its name there.

    Raises:
        CorruptRecordError: a `data.yaml` that cannot be read, or a folder that is not there.
    """
    told = _data_yaml(folder / "data.yaml")
    names = _names(told, folder / "data.yaml")
    root = folder / str(told.get("path") or ".")
    for split in ("train", "val", "test"):
        places = told.get(split)
        for place in places if isinstance(places, list) else [places] if places else []:
            images = root / str(place)
            if not images.is_dir():
                raise CorruptRecordError(
                    f"{folder / 'data.yaml'}: {split} is {place!r}, and {images} is no folder"
                )
            for image in sorted(images.rglob("*")):
                if image.suffix.lower() in _SUFFIXES:
                    name = image.relative_to(images).as_posix()
                    yield YoloImage(split=split, image=image, name=name, classes=names)


def _lines(labels: Path) -> list[tuple[str, str]]:
    """(file and line, text) of every line that is not empty."""
    if not labels.is_file():
        return []
    try:
        lines = labels.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptRecordError(f"{labels}: cannot be read ({error})") from error
    return [
        (f"{labels}, line {number}", line)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _region(
    line: str,
    names: Mapping[int, str],
    label_map: LabelMap,
    size: tuple[int, int],
    where: str,
) -> LabelledRegion:
    words = line.split()
    if len(words) < 5 or len(words) % 2 == 0:
        raise CorruptRecordError(
            f"{where}: {len(words)} numbers; a box has 5, an outline 7, 9, 11 …"
        )
    try:
        number = float(words[0])
        shares = np.array([float(word) for word in words[1:]])
    except ValueError as error:
        raise CorruptRecordError(f"{where}: not numbers ({error})") from error
    if number not in names:
        raise LabelMapError(f"{where}: class {words[0]} is not in data.yaml")
    try:
        class_id = label_map.id_of(names[int(number)])
    except LabelMapError as error:
        raise LabelMapError(f"{where}: {error}") from None
    # Written so that a NaN is refused too.
    if not (shares.min() >= -_BEYOND and shares.max() <= 1 + _BEYOND):
        raise ShapeError(f"{where}: numbers are shares of the image, 0 .. 1; found {shares.max()}")
    height, width = size
    is_box = len(words) == 5
    if is_box:
        x, y, wide, high = shares
        x0, y0, x1, y1 = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
        shares = np.array([x0, y0, x1, y0, x1, y1, x0, y1])
    patch = filled([shares.reshape(-1, 2) * (width, height)], height, width)
    return LabelledRegion(
        class_id=class_id, patch=patch, shape="rectangle" if is_box else "polygon"
    )


def _labels_of(image: Path) -> Path:
    """Where Ultralytics looks: the last folder "images" of the path becomes "labels"."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def upright_size(image: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is shown; only its head is read.

    Raises:
        ImageError: no picture, or more pixels than any of ours has.
    """
    try:
        with Image.open(image, formats=FORMATS) as picture:
            width, height = picture.size
            is_turned = picture.getexif().get(_ORIENTATION, 1) in {5, 6, 7, 8}
    except Exception as error:  # Pillow raises anything for damaged heads
        raise ImageError(f"{image}: its size cannot be read ({error})") from error
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{image}: {width}x{height} pixels, more than the {MAX_PIXELS} that are read"
        )
    return (width, height) if is_turned else (height, width)


def _data_yaml(path: Path) -> Mapping[str, object]:
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CorruptRecordError(f"{path}: cannot be read ({error})") from error
    if not isinstance(told, Mapping):
        raise CorruptRecordError(f"{path}: expected names, train and val")
    return told


def _names(told: Mapping[str, object], path: Path) -> dict[int, str]:
    names = told.get("names")
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, Mapping) and all(isinstance(number, int) for number in names):
        return {int(number): str(name) for number, name in names.items()}
    raise CorruptRecordError(f"{path}: names is {names!r}, expected a list or id: name")
