"""Label Studio's regions as pixels: brush, polygon, rectangle, ellipse.

How regions become one mask: each is drawn by itself; then they are painted **from the largest to
the smallest number of pixels, equal ones in the order they are listed**, so a small thing on a
large one is seen whatever the order of work was. One thing comes before that: pixels that a person
added to a region of the draft (dragged a corner over them, painted them) belong to that region,
since that is what the edit was for; it needs the draft, which an export by itself may lack
(`with_gains`). Pixels without a region are 255. What only
prompted a model (key points, anything with `is_positive`, the tools named in `PROMPTS`) is dropped.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from annotation.brush_rle import mask_from_rle
from annotation.labeling_config import PROMPTS
from annotation.polygons import (
    Patch,
    paint_in_order,
    patch_from_points,
    patch_of,
)
from lifelong.errors import CorruptRecordError, LabelMapError, ShapeError
from lifelong.records.label_map import LabelMap

_LEAST = -1e9  # percent; what lies farther away is no place


class Region(TypedDict, total=False):
    """One entry of `result` in Label Studio's JSON; nobody checked it, so every reading does."""

    id: str
    type: str  # e.g. "brushlabels"
    from_name: str  # the tool
    to_name: str
    original_width: int  # pixels
    original_height: int  # pixels
    image_rotation: int  # degrees
    value: dict[str, object]  # geometry in percent of the image's size, and the label
    origin: str
    score: float
    is_positive: bool
    meta: dict[str, object]


LabelledPatch = tuple[Region, int, Patch]  # a region, its class id, its pixels

# Answers about the whole picture or about other regions; no pixels.
_WITHOUT_PIXELS = frozenset(
    {"choices", "textarea", "rating", "relation", "taxonomy", "number", "datetime", "pairwise"}
)


def mask_from_regions(
    regions: Sequence[Region],
    label_map: LabelMap,
    *,
    size: tuple[int, int] | None,
    where: str,
    classes: Mapping[str, str] | None = None,
    draft: Sequence[Region] = (),
) -> NDArray[np.uint8]:
    """Paint an annotation by the rule above.

    Args:
        size: (height, width) the image has, in pixels; None takes the regions' word.
        where: e.g. "task 7, annotation 9", for errors.
        classes: what a region says -> name of a class, where a project's labels have aliases
            (`labeling_config.Tools.classes`).
        draft: the regions that the annotator began with; none when nobody knows them.

    Returns:
        (H, W), uint8, class ids, 255 where there is no region.

    Raises:
        LabelMapError: a label that the label map does not know, or a region without one.
        ShapeError: drawn on an image of another size, or nothing says the size.
        CorruptRecordError: a region of a kind or content that cannot be read.
    """
    patches, size = labelled_patches(regions, label_map, size=size, where=where, classes=classes)
    patches = with_gains(patches, draft, size, where)
    return paint_in_order([(class_id, patch) for _, class_id, patch in patches], *size)


def labelled_patches(
    regions: Sequence[Region],
    label_map: LabelMap,
    *,
    size: tuple[int, int] | None,
    where: str,
    classes: Mapping[str, str] | None = None,
) -> tuple[list[LabelledPatch], tuple[int, int]]:
    """Each painted region with its class id and its pixels, in the order they are listed.

    Returns:
        The regions, and the (height, width) they were drawn on, pixels.

    Raises:
        LabelMapError, ShapeError, CorruptRecordError: as `mask_from_regions`.
    """
    found = []
    for region in painted_regions(regions):
        told = f"{where}, region {region.get('id', '?')}"
        size = _checked_size(region, size, told)
        class_id = label_map_id(region, label_map, told, classes=classes)
        found.append((region, class_id, _patch(region, *size, told)))
    if size is None:
        raise ShapeError(f"{where}: no region says how large the image is; annotate or skip it")
    return found, size


def with_gains(
    found: Sequence[LabelledPatch],
    draft: Sequence[Region],
    size: tuple[int, int],
    where: str,
) -> list[LabelledPatch]:
    """The same regions, each without the pixels that an edit gave to another one.

    A region is the draft's when it has its id. Where two edited regions gained the same pixel, the
    smaller one has it.

    Raises:
        CorruptRecordError: a region of the draft cannot be read.
    """
    before = {region.get("id"): region for region in draft if region.get("id")}
    owner = np.full(size, -1, dtype=np.int32)
    by_area = sorted(range(len(found)), key=lambda index: -found[index][2].area)
    for index in by_area:
        region, _, patch = found[index]
        old = before.get(region.get("id"))
        if old is None or _value(old) == _value(region):
            continue
        gained = np.zeros(size, dtype=np.uint8)
        patch.paint(gained, 1)
        _patch(old, *size, f"{where}, draft").paint(gained, 0)
        owner[gained.astype(np.bool_)] = index
    if (owner < 0).all():
        return list(found)
    resolved = []
    for index, (region, class_id, patch) in enumerate(found):
        height, width = patch.painted.shape
        taken = owner[patch.y0 : patch.y0 + height, patch.x0 : patch.x0 + width]
        left = patch.painted & ((taken < 0) | (taken == index))
        area = int(np.count_nonzero(left))
        resolved.append((region, class_id, Patch(patch.x0, patch.y0, left, area)))
    return resolved


def painted_regions(regions: Sequence[Region]) -> list[Region]:
    """The regions that mean pixels of a class: no prompts, no answers about the whole picture."""
    chosen = [
        region
        for region in regions
        if region.get("type") not in _WITHOUT_PIXELS
        and region.get("type") not in {"keypoint", "keypointlabels"}
        and "is_positive" not in region
        and region.get("from_name") not in PROMPTS
    ]
    # With a <Labels> tag beside a bare tool each shape is listed twice, once without its label.
    labelled = {region.get("id") for region in chosen if _labels(region)}
    return [r for r in chosen if _labels(r) or r.get("id") not in labelled]


def label_map_id(
    region: Region, label_map: LabelMap, where: str, *, classes: Mapping[str, str] | None = None
) -> int:
    """The class id of a region; `classes` as in `mask_from_regions`.

    Raises:
        LabelMapError: no label, several, or one that the label map does not know.
    """
    labels = _labels(region)
    if len(labels) != 1:
        raise LabelMapError(
            f"{where}: expected one label, found {labels or 'none'}; give it one class or delete it"
        )
    try:
        return label_map.id_of((classes or {}).get(labels[0], labels[0]))
    except LabelMapError as error:
        raise LabelMapError(f"{where}: {error}") from None


def region_patch(region: Region, *, size: tuple[int, int], where: str) -> Patch:
    """The pixels of one region on a picture of (height, width), a prompt's as any other's.

    Raises:
        ShapeError: drawn on an image of another size.
        CorruptRecordError: a region of a kind or content that cannot be read.
    """
    _checked_size(region, size, where)
    return _patch(region, *size, where)


def _labels(region: Region) -> list[str]:
    found = _value(region).get(region.get("type", ""))
    if isinstance(found, str):
        return [found]
    return [str(label) for label in found] if isinstance(found, list) else []


def _value(region: Region) -> Mapping[str, object]:
    value: object = region.get("value")
    return value if isinstance(value, Mapping) else {}


def _checked_size(region: Region, size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    drawn_on = (region.get("original_height"), region.get("original_width"))
    height, width = drawn_on
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise CorruptRecordError(f"{where}: no original_width and original_height")
    if size is not None and (height, width) != size:
        raise ShapeError(
            f"{where}: drawn on {width}x{height} pixels, the image has {size[1]}x{size[0]}"
        )
    if region.get("image_rotation", 0):
        raise CorruptRecordError(f"{where}: drawn on a rotated image; turn it back and draw again")
    return height, width


def _patch(region: Region, height: int, width: int, where: str) -> Patch:
    """The pixels of one region; its kind shows in the keys of `value`."""
    value = _value(region)
    if "rle" in value:
        rle = value["rle"]
        if not isinstance(rle, list):
            raise CorruptRecordError(f"{where}: brush RLE is a list of bytes")
        return patch_of(mask_from_rle(rle, height, width, where))
    if "points" in value:
        points = value["points"]
        if not isinstance(points, list) or not points:
            raise CorruptRecordError(f"{where}: a polygon needs points")
        return patch_from_points(points, height, width, where)
    if "radiusX" in value:
        x, y, radius_x, radius_y = _numbers(value, ("x", "y", "radiusX", "radiusY"), where)
        u, v = _own_axes((x, y), value, height, width, where)
        radius_x, radius_y = radius_x * width / 100, radius_y * height / 100
        return patch_of((u * radius_y) ** 2 + (v * radius_x) ** 2 <= (radius_x * radius_y) ** 2)
    if "width" in value:
        x, y, wide, high = _numbers(value, ("x", "y", "width", "height"), where)
        u, v = _own_axes((x, y), value, height, width, where)
        inside = (u >= 0) & (v >= 0) & (u < wide * width / 100) & (v < high * height / 100)
        return patch_of(inside)
    raise CorruptRecordError(
        f"{where}: a region of type {region.get('type')!r} cannot be read; use brush, polygon, "
        "rectangle or ellipse"
    )


def _own_axes(
    corner: tuple[float, float],
    value: Mapping[str, object],
    height: int,
    width: int,
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every pixel's centre in the axes of a shape that is turned clockwise about `corner`.

    Returns:
        Two (H, W) arrays, pixels: along the shape's width and along its height.
    """
    (rotation,) = _numbers({"rotation": 0, **value}, ("rotation",), where)
    angle = np.deg2rad(rotation)
    dx = np.arange(width)[None, :] + 0.5 - corner[0] * width / 100
    dy = np.arange(height)[:, None] + 0.5 - corner[1] * height / 100
    return dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)


def _numbers(value: Mapping[str, object], names: tuple[str, ...], where: str) -> list[float]:
    found = []
    for name in names:
        number = value.get(name)
        if not isinstance(number, int | float) or not _LEAST <= number <= -_LEAST:
            told = repr(number)[:40]
            raise CorruptRecordError(f"{where}: {name} is {told}, expected a number")
        found.append(float(number))
    return found
