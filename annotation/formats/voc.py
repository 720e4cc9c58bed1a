"""The layout of Pascal VOC: palette masks of classes and objects, boxes as XML, lists of names.

    JPEGImages/NAME.jpg               the image as it is, whatever its kind
    SegmentationClass/NAME.png        palette: class id + 1, 255 = void (unlabelled)
    SegmentationObject/NAME.png       palette: number of the object from 1, 255 = void
    Annotations/NAME.xml              a box an object, 1-based, both ends included
    ImageSets/{Main,Segmentation}/{split}.txt
    labels.txt                        the classes, line n = index n of the masks; line 0 background

VOC's index 0 is the background; our label maps have none, so nothing is painted with it. Folders
are folded into names. Each region that is seen is an object, in painting order; a crowd is marked
`difficult`, which evaluations leave out.
"""

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.file_names import flat_name, refuse_twins, stem_of
from annotation.formats.json_stream import label_map_file, pictures_by_split
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture, LabelledRegion
from annotation.polygons import Patch
from lifelong.errors import LabelMapError, ShapeError
from lifelong.records.label_map import LabelMap

_VOID = 255
_VOID_COLOUR = (224, 224, 192)
_MOST = 254  # indices between background and void


@dataclass(frozen=True, slots=True, kw_only=True)
class PascalVoc:
    """A `Writer` of the layout of Pascal VOC.

    Raises:
        LabelMapError: more classes than indices.
    """

    label_map: LabelMap

    def __post_init__(self) -> None:
        if len(self.label_map) > _MOST:
            raise LabelMapError(f"VOC holds {_MOST} classes, got {len(self.label_map)}")

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """Two masks and the XML.

        Raises:
            CorruptRecordError: a name that leaves its folder.
            ShapeError: more objects than indices.
        """
        name = flat_name(picture.name)
        stem = stem_of(name)
        seen = picture.visible()
        if len(seen) > _MOST:
            raise ShapeError(
                f"{picture.name}: VOC holds {_MOST} objects a picture, got {len(seen)}"
            )
        classes = np.full((picture.height, picture.width), _VOID, dtype=np.uint8)
        objects = classes.copy()
        for number, (region, patch) in enumerate(seen, start=1):
            patch.paint(classes, region.class_id + 1)
            patch.paint(objects, number)
        return Entry(
            files={
                f"SegmentationClass/{stem}.png": _palette_png(classes, self._class_palette()),
                f"SegmentationObject/{stem}.png": _palette_png(objects, _object_palette()),
                f"Annotations/{stem}.xml": self._xml(picture, name, seen),
            },
            image_path=f"JPEGImages/{name}",
            record={"stem": stem},
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """Lists of names, and the classes.

        Raises:
            CorruptRecordError: two pictures would share their files; splits share the folders.
        """
        refuse_twins((str(one.record["stem"]), one.name) for one in pictures())
        for split in pictures_by_split(pictures):
            for part in ("Main", "Segmentation"):
                yield f"ImageSets/{part}/{split}.txt", _stems(pictures, split)
        names = ("background", *self.label_map.names)
        yield "labels.txt", iter(["".join(f"{name}\n" for name in names).encode()])
        yield label_map_file(self.label_map)

    def _xml(
        self, picture: LabelledPicture, name: str, seen: list[tuple[LabelledRegion, Patch]]
    ) -> bytes:
        root = ElementTree.Element("annotation")
        _add(root, folder="JPEGImages", filename=name)
        _add(ElementTree.SubElement(root, "source"), database="Cornerloop")
        size = ElementTree.SubElement(root, "size")
        _add(size, width=str(picture.width), height=str(picture.height), depth="3")
        _add(root, segmented="1")
        for region, patch in seen:
            thing = ElementTree.SubElement(root, "object")
            _add(
                thing,
                name=self.label_map.names[region.class_id],
                pose="Unspecified",
                truncated="0",
                difficult=str(int(region.is_crowd)),
            )
            high, wide = patch.painted.shape
            _add(
                ElementTree.SubElement(thing, "bndbox"),
                xmin=str(patch.x0 + 1),
                ymin=str(patch.y0 + 1),
                xmax=str(patch.x0 + wide),
                ymax=str(patch.y0 + high),
            )
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode").encode() + b"\n"

    def _class_palette(self) -> NDArray[np.uint8]:
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[1 : len(self.label_map) + 1] = self.label_map.colours
        palette[_VOID] = _VOID_COLOUR
        return palette


def _object_palette() -> NDArray[np.uint8]:
    """256 colours whose neighbours are far apart: the index's bits, spread over the channels."""
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.int64)
    for bit in range(8):
        palette[:, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    palette[_VOID] = _VOID_COLOUR
    return palette.astype(np.uint8)


def _palette_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _add(parent: ElementTree.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text


def _stems(pictures: Stream, split: str) -> Iterator[bytes]:
    for picture in pictures():
        if picture.split == split:
            yield f"{picture.record['stem']}\n".encode()
