"""A mask as regions that people can edit, and that paint back to exactly this mask.

Three shapes of a draft, by name:

* "brush": one brush region a class. Exact, heavy, and erased and painted with a brush.
* "polygons": one outline a piece with all its corners (`annotation/polygons.py`). Exact, and what
  a project without a brush gets.
* "auto": things as polygons with few corners, never further than a tolerance from the outline
  (`annotation/inner_polygons.py`); stuff, and what a polygon cannot hold, as one brush region a
  class: pieces with holes, pieces thinner than the tolerance, and the rim that a polygon leaves
  out. No two regions share a pixel, so the order of painting does not matter until people draw.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.brush_rle import rle_from_mask
from annotation.inner_polygons import inner_polygon
from annotation.labeling_config import OUR_TOOLS, Tools
from annotation.polygons import Points, patch_from_points, percent_points, polygons_from_mask
from annotation.regions import Region
from lifelong.errors import LabelMapError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

DraftMode = Literal["auto", "brush", "polygons"]
ClassShape = Literal["brush", "polygons"]

Box = tuple[float, float, float, float]  # x0, y0, x1, y1, pixels
# How sure the draft is, 0 .. 1, of a class in a box, or of all of the class (None); None: unsaid.
ScoreOf = Callable[[int, Box | None], float | None]

_SMALLEST = 12  # pixels; smaller pieces have nothing to drag
_LEAST_HELD = 0.8  # of a piece's pixels; a polygon that holds less is no help


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftShapes:
    """In which shapes a draft is offered."""

    mode: DraftMode = "auto"
    tolerance: float = 1.0  # pixels, of polygons in "auto"
    by_class: Mapping[str, ClassShape] = field(default_factory=dict)  # before the rule for "auto"

    def is_polygon(self, class_id: int, label_map: LabelMap) -> bool:
        """Is this class drawn with polygons in "auto"?"""
        chosen = self.by_class.get(label_map.names[class_id])
        return label_map.is_thing(class_id) if chosen is None else chosen == "polygons"

    def checked(self, label_map: LabelMap) -> "DraftShapes":
        """Itself.

        Raises:
            LabelMapError: a shape for a class that does not exist.
        """
        for name in self.by_class:
            if name not in label_map:
                raise LabelMapError(
                    f"label_studio.draft_by_class: unknown class {name!r}; the label map has: "
                    f"{', '.join(label_map.names)}"
                )
        return self


BRUSH_DRAFTS = DraftShapes(mode="brush")
POLYGON_DRAFTS = DraftShapes(mode="polygons")


def regions_from_mask(
    mask: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    shapes: DraftShapes,
    score_of: ScoreOf = lambda class_id, box: None,
    tools: Tools = OUR_TOOLS,
) -> list[Region]:
    """A mask as regions that `regions.mask_from_regions` paints back to exactly this mask.

    Args:
        mask: (H, W), uint8, class ids; 255 becomes no region.
        shapes: which; a project that lacks the tool for them gets the other one.
        score_of: what becomes the score of each region.
        tools: the project's names for its tools and classes.

    Raises:
        LabelMapError: a class id that is neither in the label map nor 255.
    """
    label_map.check(mask, "draft")
    mode = shapes.mode
    if tools.brush is None:
        mode = "polygons"
    elif tools.polygon is None:
        mode = "brush"
    draw = _Pen(label_map, tools, score_of, mask.shape[0], mask.shape[1])
    if mode == "polygons":
        return [
            draw.polygon(polygon.class_id, number, polygon.points)
            for number, polygon in enumerate(polygons_from_mask(mask))
        ]
    regions = []
    for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        of_class = mask == class_id
        if mode == "auto" and shapes.is_polygon(class_id, label_map):
            held, polygons = _held_by_polygons(of_class, shapes.tolerance)
            for number, points in enumerate(polygons):
                regions.append(draw.polygon(class_id, number, points))
            of_class = of_class & ~held
        if of_class.any():
            regions.append(draw.brush(class_id, of_class))
    return regions


def brush_region(painted: NDArray[np.bool_], name: str, tools: Tools = OUR_TOOLS) -> Region:
    """A brush region of class `name` over (H, W) bool pixels, without an id."""
    region = _region("brushlabels", tools.brush, tools, *painted.shape)
    label = tools.label_of(name)
    region["value"] = {"format": "rle", "rle": rle_from_mask(painted), "brushlabels": [label]}
    return region


def _held_by_polygons(
    of_class: NDArray[np.bool_], tolerance: float
) -> tuple[NDArray[np.bool_], list[Points]]:
    """The pixels that polygons hold, (H, W) bool, and those polygons."""
    held = np.zeros_like(of_class)
    polygons = []
    height, width = of_class.shape
    for x, y, piece in _pieces(of_class):
        corners = inner_polygon(piece, tolerance)
        if corners is None:
            continue
        points = percent_points(corners + np.array([x, y], dtype=np.int32), height, width)
        patch = patch_from_points(points, height, width, "draft")  # as it will be read
        if patch.area < _LEAST_HELD * np.count_nonzero(piece):
            continue
        window = np.s_[
            patch.y0 : patch.y0 + patch.painted.shape[0],
            patch.x0 : patch.x0 + patch.painted.shape[1],
        ]
        if (patch.painted & ~of_class[window]).any():
            continue
        held[window] |= patch.painted
        polygons.append(points)
    return held, polygons


def _pieces(of_class: NDArray[np.bool_]) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Its 4-connected pieces that are worth a polygon: x, y of the window, and the pixels in it."""
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats(
        of_class.astype(np.uint8), connectivity=4
    )
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in boxes[number, :5])
        if area >= _SMALLEST:
            yield x, y, numbers[y : y + height, x : x + width] == number


@dataclass(frozen=True, slots=True)
class _Pen:
    """Writes regions of one picture."""

    label_map: LabelMap
    tools: Tools
    score_of: ScoreOf
    height: int
    width: int

    def brush(self, class_id: int, painted: NDArray[np.bool_]) -> Region:
        region = brush_region(painted, self.label_map.names[class_id], self.tools)
        region["id"] = f"draft-{class_id}"
        return self._scored(region, self.score_of(class_id, None))

    def polygon(self, class_id: int, number: int, points: Points) -> Region:
        region = _region("polygonlabels", self.tools.polygon, self.tools, self.height, self.width)
        region["id"] = f"draft-{class_id}-{number}"
        region["value"] = {
            "points": [list(point) for point in points],
            "closed": True,
            "polygonlabels": [self.tools.label_of(self.label_map.names[class_id])],
        }
        x, y = zip(*points, strict=True)
        in_pixels = (
            min(x) * self.width / 100, min(y) * self.height / 100,
            max(x) * self.width / 100, max(y) * self.height / 100,
        )  # fmt: skip
        return self._scored(region, self.score_of(class_id, in_pixels))

    @staticmethod
    def _scored(region: Region, score: float | None) -> Region:
        if score is not None:
            region["score"] = round(score, 4)
        return region


def _region(kind: str, tool: str | None, tools: Tools, height: int, width: int) -> Region:
    if tool is None:
        raise LabelMapError(f"the project has no tool for regions of type {kind}")
    return Region(
        type=kind,
        from_name=tool,
        to_name=tools.image,
        original_width=width,
        original_height=height,
        image_rotation=0,
    )
