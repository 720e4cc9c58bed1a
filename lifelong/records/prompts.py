"""`Point`, `Box`, `Prompt` in pixels: what an annotator points at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A click: x to the right, y down, pixels from the top-left corner."""

    x: float
    y: float
    is_positive: bool = True  # False: this does not belong to the object


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, x0 <= x1 and y0 <= y1, pixels."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Clicks and boxes that mean one object."""

    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
