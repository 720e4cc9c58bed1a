"""Labelled pictures as Label Studio's tasks, ready for its import, and the config they need.

A region becomes a polygon where that paints exactly its pixels again (one piece, no hole), and a
brush otherwise, so nothing is lost. Regions are written as drawn, also where others cover them.
`tasks_{split}.json` are the tasks, `labeling_config.xml` the labelling interface.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote

import cv2
import numpy as np

from annotation.draft_regions import brush_region
from annotation.formats.file_names import checked_name
from annotation.formats.json_stream import compact, label_map_file, pictures_by_split
from annotation.formats.writing import Entry, Record, Stream
from annotation.labeling_config import IMAGE, POLYGON, labeling_config
from annotation.labelled_pictures import LabelledPicture, LabelledRegion
from annotation.polygons import Patch, patch_from_points
from annotation.regions import Region
from annotation.task_fields import NOTE, PROMPT, UNSURE
from lifelong.records.label_map import LabelMap

_DECIMALS = 4  # of a percent: 0.01 pixels on an image 10,000 wide


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioTasks:
    """A `Writer` of tasks."""

    label_map: LabelMap
    kind: Literal["annotations", "predictions"] = "annotations"
    model_version: str = "import"  # of predictions that do not say their own
    image_prefix: str = ""  # address of `images`, e.g. "/data/local-files/?d=export/images/"

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The picture as a task; the record is the task itself."""
        name = checked_name(picture.name)
        return Entry(
            image_path=f"images/{split}/{name}",
            record={"task": self.task(picture, split)},
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """One file of tasks a split, the labelling config, and the classes."""
        for split in pictures_by_split(pictures):
            yield f"tasks_{split}.json", _tasks(pictures, split)
        config = labeling_config(self.label_map)
        yield "labeling_config.xml", iter([config.encode()])
        yield label_map_file(self.label_map)

    def task(self, picture: LabelledPicture, split: str) -> Record:
        """A task with the regions as an annotation or as a prediction.

        An annotation without regions says that somebody found nothing; so does a prediction.
        """
        result = [
            self._region(region, number, picture)
            for number, region in enumerate(picture.regions)
            if region.patch.area
        ]
        image = picture.image
        if self.image_prefix:
            image = f"{self.image_prefix}{quote(f'{split}/{picture.name}')}"
        meta = {"split": split, "name": picture.name}
        if picture.scene:
            meta["scene"] = picture.scene
        answer: dict[str, object] = {"result": result}
        if self.kind == "predictions":
            answer["model_version"] = picture.provenance.model_version or self.model_version
        image = image or picture.name
        # Label Studio refuses a task without a field that the config shows.
        data = {IMAGE: image, UNSURE: image, NOTE: "", PROMPT: ""}
        return {"data": data, "meta": meta, self.kind: [answer]}

    def _region(self, region: LabelledRegion, number: int, picture: LabelledPicture) -> Region:
        name = self.label_map.names[region.class_id]
        made = _polygon_region(region.patch, name, picture.height, picture.width)
        if made is None:
            painted = np.zeros((picture.height, picture.width), dtype=np.uint8)
            region.patch.paint(painted, 1)
            made = brush_region(painted.astype(np.bool_), name)
        made["id"] = region.region_id or f"region-{number}"
        if region.is_crowd:
            made["meta"] = {"is_crowd": True}
        if region.score is not None:
            made["score"] = region.score
        return made


def _polygon_region(patch: Patch, name: str, height: int, width: int) -> Region | None:
    """A polygon over pixel centres; None when it would paint other pixels than the patch's."""
    contours, _ = cv2.findContours(
        patch.painted.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    if len(contours) != 1 or len(contours[0]) < 3:
        return None
    centres = contours[0].reshape(-1, 2) + np.array([patch.x0 + 0.5, patch.y0 + 0.5])
    points = np.round(centres / (width, height) * 100, _DECIMALS).tolist()
    again = patch_from_points(points, height, width, name)
    same_place = (again.x0, again.y0, again.area) == (patch.x0, patch.y0, patch.area)
    if not same_place or not np.array_equal(again.painted, patch.painted):
        return None
    return Region(
        type="polygonlabels",
        from_name=POLYGON,
        to_name=IMAGE,
        original_width=width,
        original_height=height,
        image_rotation=0,
        value={"points": points, "closed": True, "polygonlabels": [name]},
    )


def _tasks(pictures: Stream, split: str) -> Iterator[bytes]:
    yield b"["
    number = 0
    for picture in pictures():
        if picture.split == split:
            yield (b",\n" if number else b"\n") + compact(cast(Record, picture.record["task"]))
            number += 1
    yield b"\n]\n"
