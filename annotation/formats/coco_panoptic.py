"""Panoptic COCO: a PNG of segment ids for each picture, and what each segment is.

Layout: `annotations/panoptic_{split}.json`, `annotations/panoptic_{split}/NAME.png`,
`images/{split}/NAME`, `label_map.json`. A pixel's id is R + 256 G + 65536 B; 0 is unlabelled.
Every region of a thing that is seen is a segment of its own; regions of stuff are one segment a
class. A crowd is a segment of its own with `iscrowd`.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from annotation.formats.coco import categories
from annotation.formats.file_names import checked_name, flat_name, refuse_twins, stem_of
from annotation.formats.json_stream import json_pieces, label_map_file, pictures_by_split
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture
from lifelong.records.label_map import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoPanoptic:
    """A `Writer` of COCO's panoptic format."""

    label_map: LabelMap

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The PNG; the record holds `segments_info`.

        Raises:
            CorruptRecordError: a name that leaves its folder.
        """
        name = checked_name(picture.name)
        ids, segments = self._segments(picture)
        file_name = f"{stem_of(flat_name(name))}.png"
        return Entry(
            files={f"annotations/panoptic_{split}/{file_name}": _png(ids)},
            image_path=f"images/{split}/{name}",
            record={
                "height": picture.height,
                "width": picture.width,
                "file_name": file_name,
                "segments_info": segments,
            },
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """One JSON a split and the classes.

        Raises:
            CorruptRecordError: two pictures of a split would be one PNG.
        """
        refuse_twins((f"{one.split}/{one.record['file_name']}", one.name) for one in pictures())
        for split in pictures_by_split(pictures):
            parts = {
                "info": {"description": f"Cornerloop, {split}", "version": "1"},
                "licenses": [],
                "categories": categories(self.label_map),
                "images": _images(pictures, split),
                "annotations": _annotations(pictures, split),
            }
            yield f"annotations/panoptic_{split}.json", json_pieces(parts)
        yield label_map_file(self.label_map)

    def _segments(self, picture: LabelledPicture) -> tuple[NDArray[np.uint32], list[object]]:
        """(H, W) ids, 0 where nothing is labelled, and what each id is."""
        ids = np.zeros((picture.height, picture.width), dtype=np.uint32)
        numbers: dict[tuple[int, bool], int] = {}  # of stuff
        owners: list[tuple[int, bool]] = []
        for region, seen in picture.visible():
            owner = (region.class_id, region.is_crowd)
            if self.label_map.is_thing(region.class_id) or owner not in numbers:
                owners.append(owner)
                numbers[owner] = len(owners)
            high, wide = seen.painted.shape
            window = ids[seen.y0 : seen.y0 + high, seen.x0 : seen.x0 + wide]
            window[seen.painted] = numbers[owner]
        segments: list[object] = []
        boxes = ndimage.find_objects(ids.astype(np.int32), max_label=len(owners))
        areas = np.bincount(ids.ravel(), minlength=len(owners) + 1)
        for number, ((class_id, is_crowd), box) in enumerate(
            zip(owners, boxes, strict=True), start=1
        ):
            rows, columns = box
            segments.append(
                {
                    "id": number,
                    "category_id": class_id + 1,
                    "area": int(areas[number]),
                    "bbox": [
                        columns.start,
                        rows.start,
                        columns.stop - columns.start,
                        rows.stop - rows.start,
                    ],
                    "iscrowd": int(is_crowd),
                }
            )
        return ids, segments


def _png(ids: NDArray[np.uint32]) -> bytes:
    rgb = np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG")
    return buffer.getvalue()


def _images(pictures: Stream, split: str) -> Iterator[object]:
    for image_id, picture in enumerate(pictures(), start=1):
        if picture.split == split:
            size = {side: picture.record[side] for side in ("height", "width")}
            yield {"id": image_id, "file_name": picture.name, **size}


def _annotations(pictures: Stream, split: str) -> Iterator[object]:
    for image_id, picture in enumerate(pictures(), start=1):
        if picture.split == split:
            told = {key: picture.record[key] for key in ("file_name", "segments_info")}
            yield {"image_id": image_id, **told}
