"""`LabelledPicture`: what somebody labelled on one picture, as every format reads and writes it.

A picture has regions; a region has a class and its own pixels. Where regions overlap, the rule of
`annotation/regions.py` says which is seen: they are painted from the largest to the smallest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.polygons import Patch, paint_in_order, patch_of
from annotation.regions import labelled_patches, with_gains
from annotation.studio_tasks import StudioAnnotation, StudioTask, begun_with
from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

Shape = Literal["brush", "polygon", "rectangle", "ellipse", "mask"]

_SHAPES: dict[str, Shape] = {
    "brushlabels": "brush",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "ellipselabels": "ellipse",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRegion:
    """One thing or area: its class, and its pixels as drawn, before others cover them."""

    class_id: int
    patch: Patch
    region_id: str = ""
    shape: Shape = "mask"
    is_crowd: bool = False  # several things in one region, not to be counted
    score: float | None = None  # of a draft that nobody touched, 0 .. 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where labels come from; every field may be unknown (None or "")."""

    task_id: int | None = None
    annotation_id: int | None = None
    annotator: str = ""
    annotated_at: datetime | None = None
    model_version: str = ""  # of the draft that was corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPicture:
    """One picture with its regions."""

    name: str  # relative, "/" between folders, with the image's suffix: "front/0001.jpg"
    height: int  # pixels
    width: int  # pixels
    regions: tuple[LabelledRegion, ...]
    image: str = ""  # where the image lies: a path or an address, "" when nobody says
    scene: str = ""  # pictures of one scene stay on one side of a split; "" asks the name
    provenance: Provenance = field(default_factory=Provenance)
    score: float | None = None  # how sure the draft is, 0 .. 1; None: nobody says

    def mask(self) -> NDArray[np.uint8]:
        """(height, width) uint8 class ids, 255 where there is no region."""
        pairs = [(region.class_id, region.patch) for region in self.regions]
        return paint_in_order(pairs, self.height, self.width)

    def visible(self) -> list[tuple[LabelledRegion, Patch]]:
        """Each region that is seen at all, with the pixels it is seen on, in painting order."""
        if len(self.regions) >= 1 << 16:
            raise ShapeError(f"{self.name}: {len(self.regions)} regions, at most 65,535 fit")
        order = sorted(self.regions, key=lambda region: -region.patch.area)
        owner = np.zeros((self.height, self.width), dtype=np.uint16)  # 0: nobody
        for number, region in enumerate(order, start=1):
            height, width = region.patch.painted.shape
            y, x = region.patch.y0, region.patch.x0
            owner[y : y + height, x : x + width][region.patch.painted] = number
        seen = []
        for number, region in enumerate(order, start=1):
            height, width = region.patch.painted.shape
            y, x = region.patch.y0, region.patch.x0
            inside = patch_of(owner[y : y + height, x : x + width] == number)
            if inside.area:
                moved = Patch(inside.x0 + x, inside.y0 + y, inside.painted, inside.area)
                seen.append((region, moved))
        return seen


def picture_from_mask(
    name: str,
    mask: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    image: str = "",
    provenance: Provenance | None = None,
) -> LabelledPicture:
    """A picture from a mask alone: one region a class, of things one a connected piece.

    Args:
        mask: (H, W), uint8, class ids; 255 becomes no region. Pieces are 8-connected.

    Raises:
        LabelMapError: a class id that is neither in the label map nor 255.
    """
    label_map.check(mask, name)
    regions = []
    for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        of_class = mask == class_id
        for patch in _pieces(of_class) if label_map.is_thing(class_id) else [patch_of(of_class)]:
            regions.append(LabelledRegion(class_id=class_id, patch=patch))
    return LabelledPicture(
        name=name,
        height=mask.shape[0],
        width=mask.shape[1],
        regions=tuple(regions),
        image=image,
        provenance=provenance or Provenance(),
    )


def picture_from_annotation(
    name: str,
    task: StudioTask,
    annotation: StudioAnnotation,
    label_map: LabelMap,
    *,
    size: tuple[int, int] | None = None,
    image: str = "",
) -> LabelledPicture:
    """A picture from what one person submitted in Label Studio.

    Args:
        size: (height, width) of the image, pixels; None takes the regions' word.

    Raises:
        LabelMapError: an unknown label; names task, annotation and region.
        ShapeError: drawn on another size, or no region at all.
        CorruptRecordError: a region that cannot be read.
    """
    where = f"task {task.task_id}, annotation {annotation.annotation_id}"
    found, (height, width) = labelled_patches(annotation.regions, label_map, size=size, where=where)
    if not found:
        raise ShapeError(f"{where}: submitted without a region; nothing to read")
    found = with_gains(found, begun_with(task, annotation), (height, width), where)
    regions = [
        LabelledRegion(
            class_id=class_id,
            patch=patch,
            region_id=str(region.get("id", "")),
            shape=_SHAPES.get(region.get("type", ""), "mask"),
            is_crowd=region.get("meta", {}).get("is_crowd") is True,
        )
        for region, class_id, patch in found
    ]
    return LabelledPicture(
        name=name,
        height=height,
        width=width,
        regions=tuple(regions),
        image=image,
        scene=str(task.meta.get("scene", "")),
        provenance=Provenance(
            task_id=task.task_id,
            annotation_id=annotation.annotation_id,
            annotator=annotation.annotator,
            annotated_at=annotation.at,
            model_version=_model_version(task),
        ),
    )


def _model_version(task: StudioTask) -> str:
    return task.predictions[-1].model_version if task.predictions else ""


def _pieces(painted: NDArray[np.bool_]) -> Sequence[Patch]:
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
        painted.astype(np.uint8), connectivity=8
    )
    found = []
    for number in range(1, count):
        x, y, width, height, area = (int(v) for v in boxes[number, :5])
        inside = pieces[y : y + height, x : x + width] == number
        found.append(Patch(x, y, inside, area))
    return found
