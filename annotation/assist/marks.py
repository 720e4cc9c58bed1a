"""What a prompt's regions say, read from JSON that nobody checked: points, boxes, strokes, words.

Label Studio counts percent of the original picture, from its top-left corner. A box may be turned
about its top-left corner, clockwise; what holds it, upright, is taken then, for the models know
upright boxes only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from annotation.assist.bitmasks import mask_from_data_url
from annotation.assist.label_tools import SHAPES
from annotation.assist.segmenter import Mask
from annotation.regions import Region, region_patch
from lifelong.errors import CorruptRecordError, PromptError, ShapeError
from lifelong.records.prompts import Box, Point

_FARTHEST = 1e6  # percent; what lies farther away is no place
_MOST_MARKS = 10_000  # of one prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One region, told apart from the JSON it came in."""

    region_id: str
    kind: str  # keypoint, rectangle, brush, bitmask, polygon, ellipse, textarea, number, or other
    control: str  # from_name
    image: str  # to_name
    labels: tuple[str, ...]  # as they are said; none, one, or several
    value: Mapping[str, object] = field(repr=False)
    region: Mapping[str, object] = field(repr=False)
    where: str  # for errors

    @property
    def is_shape(self) -> bool:
        """Does it lie somewhere on the picture?"""
        return self.kind in SHAPES

    def label(self) -> str:
        """What it says, "" for nothing.

        Raises:
            PromptError: several labels at once.
        """
        if len(self.labels) > 1:
            told = ", ".join(map(repr, self.labels[:5]))
            raise PromptError(f"{self.where}: it has several labels ({told}); choose one")
        return self.labels[0] if self.labels else ""


def marks_of(result: object, where: str) -> list[Mark]:
    """Every region of a list of Label Studio's, in its order.

    A bare tool beside a <Labels> tag lists a region twice, once with the label: these are one.

    Raises:
        PromptError: not a list of objects; names `where` and which one.
    """
    if not isinstance(result, Sequence) or isinstance(result, str | bytes):
        raise PromptError(f"{where}: expected a list of regions, got a {type(result).__name__}")
    if len(result) > _MOST_MARKS:
        raise PromptError(f"{where}: {len(result)} regions, at most {_MOST_MARKS} are read")
    found: list[Mark] = []
    separate: dict[str, tuple[str, ...]] = {}  # id -> labels of its <Labels> entry
    for number, region in enumerate(result):
        mark = _mark(region, f"{where}[{number}]")
        if mark.kind == "labels":
            separate[mark.region_id] = mark.labels
        else:
            found.append(mark)
    if not separate:
        return found
    return [_labelled(mark, separate.get(mark.region_id, ())) for mark in found]


def point_of(mark: Mark, size: tuple[int, int]) -> Point:
    """A click in pixels, not rounded; positive where nothing says that it is negative.

    Args:
        size: (height, width), pixels.

    Raises:
        PromptError: no numbers, or not on the picture.
    """
    _check_size(mark, size)
    height, width = size
    x, y = _number(mark, "x"), _number(mark, "y")
    if not (0 <= x <= 100 and 0 <= y <= 100):
        raise PromptError(
            f"{mark.where}: the point ({x:g} %, {y:g} %) lies outside the picture; click inside it"
        )
    # The last edge of the picture has no pixel of its own.
    x, y = min(x / 100 * width, math.nextafter(width, 0)), y / 100 * height
    return Point(x, min(y, math.nextafter(height, 0)), is_positive=is_positive(mark))


def is_positive(mark: Mark) -> bool:
    """False where the editor says so (Alt+click); a mark that says nothing is positive.

    Raises:
        PromptError: neither true nor false.
    """
    given = mark.region.get("is_positive")
    said = given.strip().lower() if isinstance(given, str) else given
    if said is None or said in (True, "true", "1"):
        return True
    if said in (False, "false", "0"):
        return False
    raise PromptError(f"{mark.where}: is_positive is {_told(given)}; expected true or false")


def box_of(mark: Mark, size: tuple[int, int]) -> Box:
    """A box in pixels, upright, cut to the picture.

    Raises:
        PromptError: no numbers, without an area, or not on the picture.
    """
    _check_size(mark, size)
    height, width = size
    x, y = _number(mark, "x") / 100 * width, _number(mark, "y") / 100 * height
    wide, high = _number(mark, "width") / 100 * width, _number(mark, "height") / 100 * height
    turned = math.radians(_number(mark, "rotation", 0.0) % 360)
    cos, sin = math.cos(turned), math.sin(turned)
    corners = [(0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)]
    xs = [x + u * cos - v * sin for u, v in corners]
    ys = [y + u * sin + v * cos for u, v in corners]
    x0, x1 = max(min(xs), 0.0), min(max(xs), float(width))
    y0, y1 = max(min(ys), 0.0), min(max(ys), float(height))
    if x1 <= x0 or y1 <= y0:
        why = "has no area" if wide * high == 0 else "lies outside the picture"
        raise PromptError(f"{mark.where}: the box {why}; draw it around the object")
    return Box(x0, y0, x1, y1)


def mask_of(mark: Mark, size: tuple[int, int]) -> Mask:
    """The pixels of a stroke, polygon, box, ellipse: (height, width), bool.

    Raises:
        PromptError: it cannot be read, or was drawn on a picture of another size.
    """
    _check_size(mark, size)
    try:
        if mark.kind == "bitmask":
            return mask_from_data_url(mark.value.get("imageDataURL"), size, mark.where)
        if "touches" in mark.value or (mark.kind == "brush" and "rle" not in mark.value):
            raise PromptError(
                f"{mark.where}: brush strokes that were not saved yet; submit or update first"
            )
        patch = region_patch(cast("Region", dict(mark.region)), size=size, where=mark.where)
    except (CorruptRecordError, ShapeError) as error:
        raise PromptError(str(error)) from error
    mask = np.zeros(size, dtype=np.bool_)
    rows, columns = patch.painted.shape
    mask[patch.y0 : patch.y0 + rows, patch.x0 : patch.x0 + columns] = patch.painted
    return mask


def texts_of(mark: Mark) -> list[str]:
    """What stands in a text area, oldest first."""
    given = mark.value.get("text")
    texts = given if isinstance(given, list) else [given]
    return [text for text in texts if isinstance(text, str)]


def number_of(mark: Mark) -> float | None:
    """What stands in a <Number>, None for nothing.

    Raises:
        PromptError: no number.
    """
    return _number(mark, "number") if mark.value.get("number") is not None else None


def _mark(region: object, where: str) -> Mark:
    if not isinstance(region, Mapping):
        raise PromptError(f"{where}: expected a region, got a {type(region).__name__}")
    value = region.get("value")
    value = value if isinstance(value, Mapping) else {}
    kind = _text(region.get("type")).lower()
    labels = value.get(_text(region.get("type")))
    if not labels and (kind == "labels" or kind.removesuffix("labels") in SHAPES):
        labels = value.get("labels")
    labels = [labels] if isinstance(labels, str) else labels
    if kind != "labels" and kind.removesuffix("labels") in SHAPES:
        kind = kind.removesuffix("labels")
    listed = labels if isinstance(labels, list) else []
    said = [text for text in listed if isinstance(text, str) and text]
    return Mark(
        region_id=_text(region.get("id")),
        kind=kind,
        control=_text(region.get("from_name")),
        image=_text(region.get("to_name")),
        labels=tuple(said),
        value=value,
        region=region,
        where=f"{where} ({kind})" if kind else where,
    )


def _labelled(mark: Mark, labels: tuple[str, ...]) -> Mark:
    if mark.labels or not labels:
        return mark
    return Mark(
        region_id=mark.region_id, kind=mark.kind, control=mark.control, image=mark.image,
        labels=labels, value=mark.value, region=mark.region, where=mark.where,
    )  # fmt: skip


def _check_size(mark: Mark, size: tuple[int, int]) -> None:
    """The editor must see the picture as it is seen here, or every percent means another place."""
    drawn_on = (mark.region.get("original_height"), mark.region.get("original_width"))
    if all(isinstance(length, int) for length in drawn_on) and drawn_on != size:
        raise PromptError(
            f"{mark.where}: drawn on {_told(drawn_on[1])}x{_told(drawn_on[0])} pixels, the picture "
            f"has {size[1]}x{size[0]}; open the task again"
        )
    if mark.region.get("image_rotation"):
        raise PromptError(f"{mark.where}: the picture is rotated; turn it back and prompt again")


def _number(mark: Mark, name: str, default: float | None = None) -> float:
    given = mark.value.get(name, default)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise PromptError(f"{mark.where}: {name} is {_told(given)}; expected a number")
    if not -_FARTHEST <= given <= _FARTHEST:
        raise PromptError(f"{mark.where}: {name} is {_told(given)}; no such place")
    return float(given)


def _text(given: object) -> str:
    """Text as it is, numbers as text (an id may be one), anything else as none."""
    if isinstance(given, str):
        return given
    return str(given) if type(given) is int and abs(given) < 1 << 63 else ""


def _told(given: object) -> str:
    if isinstance(given, int) and abs(given) >= 1 << 63:
        return "a very large number"
    return repr(given) if isinstance(given, int | float) else repr(given)[:40]
