"""YOLO as Ultralytics reads it: one line an instance, boxes ("detect") or outlines ("segment").

Layout: `data.yaml`, `labels/{split}/NAME.txt`, `images/{split}/NAME`, folders folded into the name
(`annotation/formats/file_names.py`; Ultralytics finds labels by replacing the last "images" in a
path). A class id is ours. Numbers are shares of the image's width and height with nine digits: far
below a thousandth of a pixel. Each region that is seen is one line, over the pixels it is seen on.
An outline runs along pixel edges; holes and further pieces are tied in by bridges without width.

What is lost: YOLO has no crowds, so such regions are left out and counted in `data.yaml`, and an
unlabelled pixel is background. A picture without regions gets an empty file: background.

Which pixels an outline means: here, those whose centre is inside (even-odd). Ultralytics fills
with OpenCV, which also paints the line and cuts corners to whole pixels: a rim at the right and
below and the bridges come on top, no pixel is lost (IoU 0.969 over 4 CamVid maps).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import yaml

from annotation.bridges import bridged, joined, thinned
from annotation.formats.file_names import flat_name, refuse_twins, stem_of
from annotation.formats.json_stream import SPLITS, label_map_file, pictures_by_split
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture
from annotation.outlines import Ring, outlines_of
from annotation.polygons import Patch
from lifelong.records.label_map import LabelMap

_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Yolo:
    """A `Writer` of YOLO's label files."""

    label_map: LabelMap
    kind: Literal["detect", "segment"]
    tolerance_px: float = 0.0  # of outlines; 0: exactly the pixels

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The label file.

        Raises:
            CorruptRecordError: a name that leaves its folder.
        """
        name = flat_name(picture.name)
        lines = []
        crowds = 0
        for region, seen in picture.visible():
            if region.is_crowd:
                crowds += 1
                continue
            numbers = self._numbers(seen, picture.height, picture.width)
            written = " ".join(_short(number) for number in numbers)
            lines.append(f"{region.class_id} {written}\n")
        stem = stem_of(name)
        return Entry(
            files={f"labels/{split}/{stem}.txt": "".join(lines).encode()},
            image_path=f"images/{split}/{name}",
            record={"stem": stem, "crowds": crowds},
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """`data.yaml` and the classes.

        Raises:
            CorruptRecordError: two pictures of a split would share a label file.
        """
        refuse_twins((f"{one.split}/{one.record['stem']}", one.name) for one in pictures())
        crowds = sum(int(str(one.record["crowds"])) for one in pictures())
        counts = pictures_by_split(pictures)
        yield "data.yaml", iter([self._data_yaml(counts, crowds).encode()])
        yield label_map_file(self.label_map)

    def _numbers(self, seen: Patch, height: int, width: int) -> list[float]:
        if self.kind == "detect":
            high, wide = seen.painted.shape
            x, y = seen.x0 + wide / 2, seen.y0 + high / 2
            return [x / width, y / height, wide / width, high / height]
        ring = one_ring(seen, tolerance_px=self.tolerance_px)
        return [float(number) for number in (ring / (width, height)).ravel()]

    def _data_yaml(self, counts: dict[str, int], crowds: int) -> str:
        lines = ["# Without `path`, the folder of this file is where the others are looked for."]
        for split in SPLITS:
            if split in counts:
                lines.append(f"{split}: images/{split}  # {counts[split]} pictures")
            else:
                lines.append(f"# {split}: no picture is in it, and no other split replaces it")
        if crowds:
            lines.append(f"# {crowds} crowd regions are in no label file: YOLO has no crowds.")
        names = yaml.safe_dump(
            {"names": dict(enumerate(self.label_map.names))}, allow_unicode=True, sort_keys=False
        )
        return "\n".join(lines) + f"\n{names}"


def one_ring(patch: Patch, *, tolerance_px: float) -> Ring:
    """A whole region as one ring: holes and pieces tied in by bridges.

    Args:
        patch: with at least one pixel.
    """
    outlines = outlines_of(patch)
    if tolerance_px <= 0:
        return joined([bridged(outline) for outline in outlines])
    return joined([thinned(outline, tolerance_px) for outline in outlines])


def _short(number: float) -> str:
    return f"{number:.{_DIGITS}f}".rstrip("0").rstrip(".")
