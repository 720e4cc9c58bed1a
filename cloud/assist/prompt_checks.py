"""Prompts held against the picture they are about: refused with a reason, or put in order."""

import math
from dataclasses import replace

from annotation.assist.segmenter import Wish
from cloud.assist.drawn_hints import around
from lifelong.errors import PromptError
from lifelong.records.prompts import Box, Point, Prompt


def checked_wish(wish: Wish, height: int, width: int) -> Wish:
    """The wish, with boxes cut to the picture.

    Args:
        height, width: of the upright picture, pixels.

    Raises:
        PromptError: nothing to go by; a point or box that the picture has no pixel at; a hint of
            another size, or an empty one.
    """
    prompt, drawn = wish.prompt, wish.drawn
    if drawn is not None:
        if drawn.shape != (height, width):
            raise PromptError(
                f"hint: {drawn.shape[1]} x {drawn.shape[0]} pixels; the picture has "
                f"{width} x {height}"
            )
        if not drawn.any():
            drawn = None
    if drawn is None and not prompt.points and not prompt.boxes:
        raise PromptError("nothing is pointed at; click on the object or draw a box around it")
    for point in prompt.points:
        _check_point(point, height, width)
    boxes = tuple(_cut(box, height, width) for box in prompt.boxes)
    return replace(wish, prompt=Prompt(points=prompt.points, boxes=boxes), drawn=drawn)


def one_box_each(prompt: Prompt) -> tuple[Prompt, ...]:
    """Prompts of at most one box, whose masks together are the object: SAM takes one at a time.

    Every box takes the points that lie in it; all boxes take the negative points that lie in
    none, and positive points that lie in none make a prompt of their own with those.
    """
    if len(prompt.boxes) <= 1:
        return (prompt,)
    free = [p for p in prompt.points if not any(_holds(box, p) for box in prompt.boxes)]
    away = tuple(p for p in free if not p.is_positive)
    parts = [
        Prompt(points=tuple(p for p in prompt.points if _holds(box, p)) + away, boxes=(box,))
        for box in prompt.boxes
    ]
    if any(p.is_positive for p in free):
        parts.append(Prompt(points=tuple(free)))
    return tuple(parts)


def with_box_of(drawn_wish: Wish) -> Prompt:
    """The prompt of a wish with a hint; of a hint alone its box, for no SAM was trained on masks
    without a point or a box."""
    prompt, drawn = drawn_wish.prompt, drawn_wish.drawn
    if drawn is None or prompt.points or prompt.boxes:
        return prompt
    return Prompt(boxes=(around(drawn),))


def _check_point(point: Point, height: int, width: int) -> None:
    if not (0 <= point.x <= width and 0 <= point.y <= height):  # NaN is neither
        raise PromptError(
            f"point at x {point.x:g}, y {point.y:g}: outside the picture, which has "
            f"{width} x {height} pixels"
        )


def _cut(box: Box, height: int, width: int) -> Box:
    corners = (box.x0, box.y0, box.x1, box.y1)
    where = f"box {box.x0:g}, {box.y0:g} to {box.x1:g}, {box.y1:g}"
    if not all(math.isfinite(corner) for corner in corners):
        raise PromptError(f"{where}: not numbers")
    cut = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, width), min(box.y1, height))
    if cut.x0 >= cut.x1 or cut.y0 >= cut.y1:
        raise PromptError(
            f"{where}: holds nothing of the picture, which has {width} x {height} pixels"
        )
    return cut


def _holds(box: Box, point: Point) -> bool:
    return box.x0 <= point.x <= box.x1 and box.y0 <= point.y <= box.y1
