"""Regions of JSON told apart: percent to pixels, labels, strokes (INT-02, INT-03)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.assist.bitmasks import data_url_from_mask
from annotation.assist.marks import box_of, is_positive, marks_of, mask_of, point_of
from lifelong.errors import PromptError
from tests.unit.annotation.assist.prompts import (
    SIZE,
    box,
    click,
    rectangle_mask,
    region,
    stroke,
)  # fmt: skip

MASK = rectangle_mask(10, 10, 60, 60)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 100), st.floats(0, 100))
def test_int_02_a_click_is_where_it_was_made(x: float, y: float) -> None:
    prompt = click(0, 0, "car")
    prompt["value"].update(x=x, y=y)
    (mark,) = marks_of([prompt], "prompt")
    point = point_of(mark, SIZE)
    assert (point.x, point.y) == pytest.approx((x * 2, y), abs=1e-9)
    assert 0 <= point.x < 200 and 0 <= point.y < 100


@settings(max_examples=100, deadline=None)
@given(st.floats(-360, 720), st.floats(1, 60), st.floats(1, 60))
def test_int_02_the_upright_box_holds_the_turned_one(
    angle: float, wide: float, high: float
) -> None:
    (mark,) = marks_of([box(100, 50, wide, high, "car", rotation=angle)], "prompt")
    found = box_of(mark, SIZE)
    turned = mask_of(mark, SIZE)
    rows, columns = np.nonzero(turned)
    assert (columns + 0.5 >= found.x0 - 1e-6).all() and (columns + 0.5 <= found.x1 + 1e-6).all()
    assert (rows + 0.5 >= found.y0 - 1e-6).all() and (rows + 0.5 <= found.y1 + 1e-6).all()


@pytest.mark.parametrize(
    ("flag", "positive"),
    [(True, True), (False, False), (None, True), ("false", False), ("True", True), (0, False)],
)
def test_int_03_the_flag_as_the_editor_and_as_others_write_it(flag: Any, positive: bool) -> None:
    (mark,) = marks_of([click(9, 9, "car", is_positive=flag)], "prompt")
    assert is_positive(mark) is positive


def test_int_02_strokes_polygons_and_bitmasks_are_masks() -> None:
    corners = [[5, 10], [29.5, 10], [29.5, 59], [5, 59]]
    shapes = [
        stroke(MASK, "car"),
        region("polygonlabels", "p", {"points": corners, "polygonlabels": ["car"]}),
        region("bitmasklabels", "m", {"imageDataURL": data_url_from_mask(MASK)}),
        box(10, 10, 50, 50, "car"),
    ]
    for mark in marks_of(shapes, "prompt"):
        assert np.array_equal(mask_of(mark, SIZE), MASK), mark.kind


def test_int_04_a_bare_tool_and_its_label_are_one_mark() -> None:
    shape = region("keypoint", "k", {"x": 5, "y": 5}, id="a")
    said = region("labels", "labels", {"x": 5, "y": 5, "labels": ["car"]}, id="a")
    (mark,) = marks_of([shape, said], "prompt")
    assert (mark.kind, mark.label()) == ("keypoint", "car")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (region("brushlabels", "b", {"format": "rle"}), "not saved yet"),
        (region("brushlabels", "b", {"rle": "text"}), "list of bytes"),
        (region("brushlabels", "b", {"rle": [0, 1, 2]}), "too short"),
        (region("polygonlabels", "p", {"points": [[1, 10**400]]}), "points"),
        (
            region("ellipselabels", "e", {"x": 1, "y": 1, "radiusX": 10**400, "radiusY": 1}),
            "radiusX",
        ),
        (region("ellipse", "e", {"x": 1}), "cannot be read"),
    ],
)
def test_strokes_that_cannot_be_read_are_named(shape: dict[str, Any], words: str) -> None:
    (mark,) = marks_of([shape], "prompt")
    with pytest.raises(PromptError, match=rf"prompt\[0\].*{words}"):
        mask_of(mark, SIZE)
