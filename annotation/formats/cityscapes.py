"""The layout of Cityscapes (Cordts et al. 2016): label ids, train ids, instances, colours.

    gtFine/{split}/{city}/{stem}_gtFine_labelIds.png        8-bit, 0 = unlabelled
    gtFine/{split}/{city}/{stem}_gtFine_labelTrainIds.png   8-bit, 255 = ignore
    gtFine/{split}/{city}/{stem}_gtFine_instanceIds.png     16-bit: label id * 1000 + number for
                                                            things, the label id for stuff, crowds
    gtFine/{split}/{city}/{stem}_gtFine_color.png           RGB in the data set's own colours
    leftImg8bit/{split}/{city}/{stem}_leftImg8bit.jpg       the image, with its own suffix

The city is the picture's folder (several are folded into one name), "top__" without a folder; a
"_leftImg8bit" at the end of a name is not written twice. Classes are matched by their names.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.file_names import checked_name, flat_name, refuse_twins, stem_of, suffix_of
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture
from lifelong.errors import LabelMapError, ShapeError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import png_from_mask

TOP = "top__"  # no folder's flat name ends so
_IMAGE = "_leftImg8bit"
_MOST_INSTANCES = 1000  # of a class: the factor in the instance ids


@dataclass(frozen=True, slots=True)
class CityLabel:
    """One line of the data set's table."""

    label_id: int
    name: str
    train_id: int  # 255: not trained on
    has_instances: bool
    colour: tuple[int, int, int]


_OFF = IGNORE_INDEX  # not trained on
LABELS = (
    CityLabel(0, "unlabeled", _OFF, False, (0, 0, 0)),
    CityLabel(1, "ego vehicle", _OFF, False, (0, 0, 0)),
    CityLabel(2, "rectification border", _OFF, False, (0, 0, 0)),
    CityLabel(3, "out of roi", _OFF, False, (0, 0, 0)),
    CityLabel(4, "static", _OFF, False, (0, 0, 0)),
    CityLabel(5, "dynamic", _OFF, False, (111, 74, 0)),
    CityLabel(6, "ground", _OFF, False, (81, 0, 81)),
    CityLabel(7, "road", 0, False, (128, 64, 128)),
    CityLabel(8, "sidewalk", 1, False, (244, 35, 232)),
    CityLabel(9, "parking", _OFF, False, (250, 170, 160)),
    CityLabel(10, "rail track", _OFF, False, (230, 150, 140)),
    CityLabel(11, "building", 2, False, (70, 70, 70)),
    CityLabel(12, "wall", 3, False, (102, 102, 156)),
    CityLabel(13, "fence", 4, False, (190, 153, 153)),
    CityLabel(14, "guard rail", _OFF, False, (180, 165, 180)),
    CityLabel(15, "bridge", _OFF, False, (150, 100, 100)),
    CityLabel(16, "tunnel", _OFF, False, (150, 120, 90)),
    CityLabel(17, "pole", 5, False, (153, 153, 153)),
    CityLabel(18, "polegroup", _OFF, False, (153, 153, 153)),
    CityLabel(19, "traffic light", 6, False, (250, 170, 30)),
    CityLabel(20, "traffic sign", 7, False, (220, 220, 0)),
    CityLabel(21, "vegetation", 8, False, (107, 142, 35)),
    CityLabel(22, "terrain", 9, False, (152, 251, 152)),
    CityLabel(23, "sky", 10, False, (70, 130, 180)),
    CityLabel(24, "person", 11, True, (220, 20, 60)),
    CityLabel(25, "rider", 12, True, (255, 0, 0)),
    CityLabel(26, "car", 13, True, (0, 0, 142)),
    CityLabel(27, "truck", 14, True, (0, 0, 70)),
    CityLabel(28, "bus", 15, True, (0, 60, 100)),
    CityLabel(29, "caravan", _OFF, True, (0, 0, 90)),
    CityLabel(30, "trailer", _OFF, True, (0, 0, 110)),
    CityLabel(31, "train", 16, True, (0, 80, 100)),
    CityLabel(32, "motorcycle", 17, True, (0, 0, 230)),
    CityLabel(33, "bicycle", 18, True, (119, 11, 32)),
)
_BY_NAME = {label.name: label for label in LABELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cityscapes:
    """A `Writer` of the layout of Cityscapes.

    Raises:
        LabelMapError: classes that Cityscapes does not have; lists them.
    """

    label_map: LabelMap

    def __post_init__(self) -> None:
        foreign = [name for name in self.label_map.names if name not in _BY_NAME]
        if foreign:
            raise LabelMapError(
                f"Cityscapes has no class {', '.join(map(repr, foreign))}; export another format, "
                "or rename the classes"
            )

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """Four PNG files.

        Raises:
            CorruptRecordError: a name that leaves its folder.
            ShapeError: more than 1,000 instances of a class.
        """
        city, stem, suffix = _city_and_stem(picture.name)
        label_ids, train_ids, palette = self._tables()
        mask = picture.mask()
        before = f"gtFine/{split}/{city}/{stem}_gtFine"
        return Entry(
            files={
                f"{before}_labelIds.png": png_from_mask(label_ids[mask]),
                f"{before}_labelTrainIds.png": png_from_mask(train_ids[mask]),
                f"{before}_instanceIds.png": _png(self._instance_ids(picture, label_ids[mask])),
                f"{before}_color.png": _png(palette[mask]),
            },
            image_path=f"leftImg8bit/{split}/{city}/{stem}{_IMAGE}{suffix}",
            record={"stem": f"{city}/{stem}"},
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """No file: the layout says everything.

        Raises:
            CorruptRecordError: two pictures of a split would share their files.
        """
        refuse_twins((f"{one.split}/{one.record['stem']}", one.name) for one in pictures())
        return ()

    def _tables(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """By class id, 255 included: (256,) label ids, (256,) train ids, (256, 3) colours."""
        label_ids = np.zeros(256, dtype=np.uint8)
        train_ids = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        palette = np.zeros((256, 3), dtype=np.uint8)
        for class_id, name in enumerate(self.label_map.names):
            label = _BY_NAME[name]
            label_ids[class_id], train_ids[class_id] = label.label_id, label.train_id
            palette[class_id] = label.colour
        return label_ids, train_ids, palette

    def _instance_ids(
        self, picture: LabelledPicture, label_ids: NDArray[np.uint8]
    ) -> NDArray[np.uint16]:
        ids = label_ids.astype(np.uint16)
        numbers: dict[int, int] = {}
        for region, seen in picture.visible():
            label = _BY_NAME[self.label_map.names[region.class_id]]
            if not label.has_instances or region.is_crowd:
                continue
            number = numbers.get(label.label_id, 0)
            if number >= _MOST_INSTANCES:
                raise ShapeError(
                    f"{picture.name}: more than {_MOST_INSTANCES} of class {label.name!r}, "
                    "which instance ids of Cityscapes cannot count"
                )
            numbers[label.label_id] = number + 1
            high, wide = seen.painted.shape
            window = ids[seen.y0 : seen.y0 + high, seen.x0 : seen.x0 + wide]
            window[seen.painted] = label.label_id * _MOST_INSTANCES + number
        return ids


def _city_and_stem(name: str) -> tuple[str, str, str]:
    folder, _, last = checked_name(name).rpartition("/")
    stem = flat_name(stem_of(last)).removesuffix(_IMAGE)
    return (flat_name(folder) if folder else TOP), stem or _IMAGE, suffix_of(last)


def _png(values: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()
