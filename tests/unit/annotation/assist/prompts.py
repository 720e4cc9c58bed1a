"""Prompts as Label Studio's editor sends them, on a picture of 200 x 100 pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush_rle import rle_from_mask

HEIGHT, WIDTH = 100, 200
SIZE = (HEIGHT, WIDTH)


def region(kind: str, control: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": more.pop("id", "r1"),
        "type": kind,
        "from_name": control,
        "to_name": more.pop("to_name", "image"),
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "origin": "manual",
        "value": value,
        **more,
    }


def click(
    x: float, y: float, label: str, *, control: str = "keypointlabels", **more: Any
) -> dict[str, Any]:
    """A click at pixel (x, y); the editor adds `is_positive` and says the label twice."""
    value = {
        "x": x / WIDTH * 100,
        "y": y / HEIGHT * 100,
        "width": 0.2,
        "keypointlabels": [label],
        "labels": [label],
    }
    return region("keypointlabels", control, value, **more)


def box(
    x: float, y: float, wide: float, high: float, label: str, *,
    control: str = "rectanglelabels", rotation: float = 0, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    value = {
        "x": x / WIDTH * 100,
        "y": y / HEIGHT * 100,
        "width": wide / WIDTH * 100,
        "height": high / HEIGHT * 100,
        "rotation": rotation,
        "rectanglelabels": [label],
    }
    return region("rectanglelabels", control, value, **more)


def stroke(
    mask: NDArray[np.bool_], label: str, *, control: str = "brushlabels", **more: Any
) -> dict[str, Any]:
    value = {"format": "rle", "rle": rle_from_mask(mask), "brushlabels": [label]}
    return region("brushlabels", control, value, **more)


def text(*typed: str, control: str = "prompt", **more: Any) -> dict[str, Any]:
    """Of a text area the editor says no size."""
    found = region("textarea", control, {"text": list(typed)}, **more)
    del found["original_width"], found["original_height"], found["image_rotation"]
    return found


def number(value: float, control: str) -> dict[str, Any]:
    return {"id": control, "type": "number", "from_name": control, "value": {"number": value}}


def rectangle_mask(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask
