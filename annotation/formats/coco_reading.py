"""COCO files as labelled pictures: polygons, run lengths of both kinds, boxes without either.

The file is streamed. What belongs together is brought together in a temporary database on disk,
so memory does not grow with the file. COCO says nothing about which annotation covers which:
overlaps follow the rule of `annotation/regions.py`.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import ijson

from annotation.formats.coco_masks import patch_from_box, patch_from_segmentation
from annotation.labelled_pictures import LabelledPicture, LabelledRegion, Shape
from lifelong.errors import CorruptRecordError, LabelMapError, RecordError
from lifelong.records.colours import Colour, distinct_colours
from lifelong.records.label_map import LabelMap, label_map_of

_Item = Mapping[str, object]

_TABLES = """
CREATE TABLE images (id INTEGER PRIMARY KEY, name TEXT UNIQUE, height INTEGER, width INTEGER);
CREATE TABLE annotations (image_id INTEGER, id INTEGER, body TEXT);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """One image of a file with its annotations as they lie there, not yet read."""

    where: str  # the file, for errors
    name: str
    height: int  # pixels
    width: int  # pixels
    annotations: tuple[tuple[int, str], ...]  # id, JSON; in the order of the file
    categories: Mapping[int, str]  # id -> name

    def picture(self, label_map: LabelMap, *, images: str = "") -> LabelledPicture:
        """The image with its annotations as regions; one without any pixel is left out.

        Args:
            images: what comes before a file name to find the image: a folder or an address.

        Raises:
            CorruptRecordError: an annotation that cannot be read, or runs that do not add up.
            LabelMapError: an annotation of a category that the label map does not have.
            ShapeError: runs of another size than the image's.
        """
        size = (self.height, self.width)
        regions = [
            _region(
                json.loads(body),
                self.categories,
                label_map,
                size,
                f"{self.where}, annotation {one}",
            )
            for one, body in self.annotations
        ]
        return LabelledPicture(
            name=self.name,
            height=self.height,
            width=self.width,
            regions=tuple(region for region in regions if region is not None),
            image=f"{images.rstrip('/')}/{self.name}" if images else "",
        )


def pictures_from_coco(
    path: Path, label_map: LabelMap, *, images: str = ""
) -> Iterator[LabelledPicture]:
    """Every image of the file, by name; ends at the first that cannot be read.

    Raises:
        RecordError: as `images_of_coco` and `CocoImage.picture`.
    """
    for image in images_of_coco(path):
        yield image.picture(label_map, images=images)


def images_of_coco(path: Path) -> Iterator[CocoImage]:
    """Every image of the file, by name, so that one that cannot be read may be skipped.

    Raises:
        CorruptRecordError: not COCO, an image twice, an annotation of no image.
    """
    names = _category_names(path)
    with closing(sqlite3.connect("")) as found:  # "": a file that goes when it is closed
        found.executescript(_TABLES)
        _gather_images(path, found)
        _gather_annotations(path, found)
        query = "SELECT id, name, height, width FROM images ORDER BY name"
        for image_id, name, height, width in found.execute(query):
            rows = found.execute(
                "SELECT id, body FROM annotations WHERE image_id = ? ORDER BY rowid", (image_id,)
            )
            yield CocoImage(
                where=path.name,
                name=name,
                height=height,
                width=width,
                annotations=tuple((int(number), str(body)) for number, body in rows),
                categories=names,
            )


def label_map_from_coco(path: Path, colours: Sequence[Colour] | None = None) -> LabelMap:
    """The categories of a file as a label map, in the order of their ids.

    Every category is a thing unless the file says otherwise (`isthing`).

    Args:
        colours: the first ones are taken; None takes colours that every eye can tell apart.

    Raises:
        CorruptRecordError: not COCO, or without categories.
        LabelMapError: a name twice, or more categories than colours or classes there can be.
    """
    categories = sorted(_categories(path), key=lambda category: int(str(category["id"])))
    if not categories:
        raise CorruptRecordError(f"{path}: no categories, so no classes")
    names = [str(category["name"]) for category in categories]
    things = [str(category["name"]) for category in categories if category.get("isthing", 1)]
    if colours is None:
        colours = distinct_colours(len(names))
    if len(colours) < len(names):
        raise LabelMapError(f"{path}: {len(names)} categories, {len(colours)} colours")
    return label_map_of(zip(names, colours, strict=False)).with_things(things)


def _gather_images(path: Path, found: sqlite3.Connection) -> None:
    for image in _items(path, "images"):
        image_id, name = image.get("id"), image.get("file_name")
        size = image.get("height"), image.get("width")
        is_sized = all(isinstance(side, int) and 1 <= side <= 1 << 20 for side in size)
        if not isinstance(image_id, int) or not isinstance(name, str) or not name or not is_sized:
            raise CorruptRecordError(
                f"{path}: image {image_id!r} needs id, file_name, height and width"
            )
        try:
            found.execute("INSERT INTO images VALUES (?, ?, ?, ?)", (image_id, name, *size))
        except sqlite3.IntegrityError:
            raise CorruptRecordError(
                f"{path}: image id {image_id} or file name {name!r} is there twice"
            ) from None


def _gather_annotations(path: Path, found: sqlite3.Connection) -> None:
    for annotation in _items(path, "annotations"):
        image_id, annotation_id = annotation.get("image_id"), annotation.get("id")
        if not isinstance(image_id, int) or not isinstance(annotation_id, int):
            raise CorruptRecordError(
                f"{path}: annotation {annotation_id!r} needs an id and an image_id"
            )
        if not found.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone():
            raise CorruptRecordError(
                f"{path.name}, annotation {annotation_id}: its image {image_id} is not in the file"
            )
        row = (image_id, annotation_id, json.dumps(annotation))
        found.execute("INSERT INTO annotations VALUES (?, ?, ?)", row)
    found.execute("CREATE INDEX by_image ON annotations (image_id)")


def _region(
    annotation: _Item,
    names: Mapping[int, str],
    label_map: LabelMap,
    size: tuple[int, int],
    where: str,
) -> LabelledRegion | None:
    """One annotation; None when it covers no pixel of the image."""
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in names:
        raise CorruptRecordError(f"{where}: category {category!r} is not in the file")
    try:
        class_id = label_map.id_of(names[category])
    except LabelMapError as error:
        raise LabelMapError(f"{where}: {error}") from None
    segmentation = annotation.get("segmentation")
    shape: Shape = "polygon" if isinstance(segmentation, list) else "mask"
    try:
        if segmentation:
            patch = patch_from_segmentation(segmentation, *size, where)
        else:
            patch, shape = patch_from_box(annotation.get("bbox"), *size, where), "rectangle"
    except MemoryError as error:
        raise RecordError(f"{where}: too large to paint ({size})") from error
    if not patch.area:
        return None
    score = annotation.get("score")
    return LabelledRegion(
        class_id=class_id,
        patch=patch,
        region_id=str(annotation["id"]),
        shape=shape,
        is_crowd=bool(annotation.get("iscrowd")),
        score=float(score) if isinstance(score, int | float) else None,
    )


def _category_names(path: Path) -> dict[int, str]:
    return {int(str(category["id"])): str(category["name"]) for category in _categories(path)}


def _categories(path: Path) -> list[_Item]:
    found = list(_items(path, "categories"))
    for category in found:
        if not isinstance(category.get("id"), int) or not isinstance(category.get("name"), str):
            raise CorruptRecordError(f"{path}: category {dict(category)} needs id and name")
    ids = [category["id"] for category in found]
    if len(set(ids)) != len(ids):
        raise CorruptRecordError(f"{path}: two categories share an id")
    return found


def _items(path: Path, key: str) -> Iterator[_Item]:
    try:
        with path.open("rb") as file:
            for item in ijson.items(file, f"{key}.item", use_float=True):
                if not isinstance(item, Mapping):
                    raise CorruptRecordError(f"{path}: {key} holds {item!r}, expected objects")
                yield item
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise CorruptRecordError(f"{path}: not JSON ({error})") from error
    except OSError as error:
        raise CorruptRecordError(f"{path}: cannot be read ({error.strerror})") from error
