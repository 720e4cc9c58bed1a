"""COCO instances: polygons or run lengths, an image once, areas of masks.

Layout: `annotations/instances_{split}.json`, `images/{split}/NAME`, `configs/*.py` for
mmdetection, `label_map.json`. Each region that is seen is one annotation over the pixels it is
seen on, so overlaps are resolved by the rule of `annotation/regions.py`. Image and annotation ids
run from 1 over all splits in the order of names; a category's id is its class id + 1, whatever
occurs. Unlabelled pixels are in no annotation. A split without pictures has no file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from annotation.formats.coco_masks import Segmentation, pixels_area, polygons_of, rle_of
from annotation.formats.file_names import checked_name
from annotation.formats.json_stream import json_pieces, label_map_file, pictures_by_split
from annotation.formats.mm_configs import mmdet_configs
from annotation.formats.writing import Entry, Record, Stream
from annotation.labelled_pictures import LabelledPicture, LabelledRegion
from annotation.outlines import outlines_of
from annotation.polygons import Patch
from lifelong.records.label_map import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoInstances:
    """A `Writer` of COCO's instance format."""

    label_map: LabelMap
    segmentation: Segmentation = "auto"  # "auto": runs where there are holes, else polygons
    tolerance_px: float = 0.0  # of polygons; 0: exactly the pixels

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The image's size and its annotations without ids; no file but the image.

        Raises:
            CorruptRecordError: a name that leaves its folder.
        """
        name = checked_name(picture.name)
        annotations = [self._annotation(picture, *seen) for seen in picture.visible()]
        return Entry(
            image_path=f"images/{split}/{name}",
            record={
                "height": picture.height,
                "width": picture.width,
                "annotations": annotations,
            },
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """One JSON a split, the classes, and configs of mmdetection."""
        counts = pictures_by_split(pictures)
        for split in counts:
            parts = {
                "info": {
                    "description": f"Cornerloop, {split}",
                    "version": "1",
                    "class_ids": {
                        str(category["name"]): category_id - 1
                        for category_id, category in enumerate(categories(self.label_map), start=1)
                    },
                },
                "licenses": [],
                "categories": categories(self.label_map),
                "images": _images(pictures, split),
                "annotations": _annotations(pictures, split),
            }
            yield f"annotations/instances_{split}.json", json_pieces(parts)
        yield label_map_file(self.label_map)
        for path, text in mmdet_configs(self.label_map, frozenset(counts)).items():
            yield path, iter([text.encode()])

    def _annotation(
        self, picture: LabelledPicture, region: LabelledRegion, seen: Patch
    ) -> dict[str, object]:
        runs = rle_of(seen, picture.height, picture.width)
        high, wide = seen.painted.shape
        annotation: dict[str, object] = {
            "category_id": region.class_id + 1,
            "iscrowd": int(region.is_crowd),
            "area": pixels_area(runs),
            "bbox": [seen.x0, seen.y0, wide, high],
            "segmentation": self._polygons(region, seen) or runs,
        }
        if region.score is not None:
            annotation["score"] = region.score
        return annotation

    def _polygons(self, region: LabelledRegion, seen: Patch) -> list[list[float]] | None:
        """None where runs are to be written."""
        if region.is_crowd or self.segmentation == "rle":
            return None
        outlines = outlines_of(seen)
        if self.segmentation == "auto" and any(outline.holes for outline in outlines):
            return None
        return polygons_of(outlines, tolerance_px=self.tolerance_px)


def categories(label_map: LabelMap) -> list[dict[str, object]]:
    """COCO's categories in class id order; ids from 1."""
    return [
        {
            "id": class_id + 1,
            "name": name,
            "supercategory": "thing" if label_map.is_thing(class_id) else "stuff",
            "isthing": int(label_map.is_thing(class_id)),
            "color": list(label_map.colours[class_id]),
        }
        for class_id, name in enumerate(label_map.names)
    ]


def _images(pictures: Stream, split: str) -> Iterator[object]:
    for image_id, picture in enumerate(pictures(), start=1):
        if picture.split == split:
            yield {
                "id": image_id,
                "file_name": picture.name,
                "height": picture.record["height"],
                "width": picture.record["width"],
            }


def _annotations(pictures: Stream, split: str) -> Iterator[object]:
    annotation_id = 0
    for image_id, picture in enumerate(pictures(), start=1):
        for annotation in cast(list[Record], picture.record["annotations"]):
            annotation_id += 1
            if picture.split == split:
                yield {"id": annotation_id, "image_id": image_id, **annotation}
