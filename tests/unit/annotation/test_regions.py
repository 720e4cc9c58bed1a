"""Regions to masks and back (CNV-02, CNV-03, CNV-04): brush, polygon, rectangle, ellipse."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from annotation.draft_regions import DraftShapes, brush_region, regions_from_mask
from annotation.regions import Region, mask_from_regions
from lifelong.errors import CorruptRecordError, LabelMapError, ShapeError
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps


def a_region(kind: str, value: Mapping[str, object], label: str = "car", **more: Any) -> Region:
    fields = {
        "id": "r1",
        "type": kind,
        "from_name": "tool",
        "original_width": 20,
        "original_height": 10,
        "value": {**value, kind: [label]},
    }
    return cast(Region, fields | more)


def painted(*regions: Region) -> NDArray[np.uint8]:
    return mask_from_regions(regions, SMALL_MAP, size=(10, 20), where="task 7")


@settings(max_examples=100, deadline=None)
@given(label_maps(classes=4))
@pytest.mark.parametrize("mode", ["brush", "polygons"])
def test_cnv_02_no_edit_round_trip_is_exact(mode: Any, mask: NDArray[np.uint8]) -> None:
    regions = regions_from_mask(mask, CITYSCAPES, shapes=DraftShapes(mode=mode))
    ids = [region["id"] for region in regions]
    assert len(set(ids)) == len(ids)
    back = mask_from_regions(regions, CITYSCAPES, size=mask.shape, where="task 7")  # type: ignore[arg-type]
    assert np.array_equal(back, mask)


@pytest.mark.parametrize("mode", ["brush", "polygons"])
def test_cnv_02_camvid_comes_back_exactly(mode: Any) -> None:
    for name, mask in camvid_masks():
        regions = regions_from_mask(mask, CITYSCAPES, shapes=DraftShapes(mode=mode))
        back = mask_from_regions(regions, CITYSCAPES, size=None, where=name)
        assert np.array_equal(back, mask), name


def test_brush_drafts_have_one_region_a_class_and_carry_its_score() -> None:
    mask = np.array([[0, 2, 0, 255]], dtype=np.uint8)
    first, second = regions_from_mask(
        mask, SMALL_MAP, shapes=DraftShapes(mode="brush"), score_of=lambda c, box: {2: 0.75}.get(c)
    )
    assert (first["id"], second["id"]) == ("draft-0", "draft-2")
    assert "score" not in first
    assert second["score"] == 0.75


def test_a_rectangle_covers_the_pixels_whose_centre_it_holds() -> None:
    box = a_region("rectanglelabels", {"x": 10, "y": 20, "width": 25, "height": 30})
    expected = np.full((10, 20), 255, dtype=np.uint8)
    expected[2:5, 2:7] = 1
    assert np.array_equal(painted(box), expected)


def test_a_rectangle_turned_by_90_degrees_turns_about_its_corner() -> None:
    box = a_region("rectanglelabels", {"x": 50, "y": 20, "width": 20, "height": 20, "rotation": 90})
    expected = np.full((10, 20), 255, dtype=np.uint8)
    expected[2:6, 8:10] = 1  # 4 wide and 2 high; clockwise: it hangs down to the left
    assert np.array_equal(painted(box), expected)


def test_an_ellipse_is_filled_about_its_centre() -> None:
    ellipse = a_region("ellipselabels", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 30})
    mask = painted(ellipse)
    assert mask[5, 6] == mask[5, 13] == mask[2, 10] == 1
    assert mask[5, 4] == mask[1, 10] == mask[2, 6] == 255
    assert np.count_nonzero(mask == 1) == pytest.approx(np.pi * 5 * 3, abs=4)


def test_cnv_03_smaller_regions_lie_on_top_whatever_the_order() -> None:
    large = a_region("rectanglelabels", {"x": 0, "y": 0, "width": 100, "height": 100}, "road")
    small = a_region("rectanglelabels", {"x": 10, "y": 20, "width": 25, "height": 30}, "car")
    assert np.array_equal(painted(large, small), painted(small, large))
    assert (painted(small, large) == 1).sum() == 15


def test_cnv_03_of_equal_regions_the_later_one_lies_on_top() -> None:
    box = {"x": 0, "y": 0, "width": 100, "height": 100}
    first = a_region("rectanglelabels", dict(box), "road")
    second = a_region("rectanglelabels", dict(box), "person")
    assert (painted(first, second) == 2).all()


@pytest.mark.parametrize(
    "prompt",
    [
        a_region("keypointlabels", {"x": 5, "y": 5, "width": 1}),
        a_region("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9}, is_positive=True),
        a_region(
            "rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9}, from_name="prompt_box"
        ),
        cast(Region, {"type": "choices", "from_name": "weather", "value": {"choices": ["rain"]}}),
    ],
)
def test_prompts_and_answers_without_pixels_are_dropped(prompt: Region) -> None:
    assert (painted(prompt) == 255).all()


def test_a_shape_listed_with_and_without_its_label_is_painted_once() -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 100}
    bare = cast(Region, {**a_region("rectangle", value), "value": value})
    labelled = a_region("labels", value, "person")
    assert (painted(bare, labelled)[:, :10] == 2).all()


@pytest.mark.parametrize("label", ["unicorn", "Car", "car ", "", "0"])
def test_cnv_04_an_unknown_label_is_never_painted_as_class_0(label: str) -> None:
    box = a_region("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9}, label)
    with pytest.raises(LabelMapError, match="task 7, region r1"):
        painted(box)


def test_cnv_04_a_region_needs_exactly_one_label() -> None:
    box = a_region("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9})
    none = cast(Region, {**box, "value": {"x": 0, "y": 0, "width": 9, "height": 9}})
    two = cast(Region, {**box, "value": {**box["value"], "rectanglelabels": ["car", "road"]}})
    for region in (none, two):
        with pytest.raises(LabelMapError, match="expected one label"):
            painted(region)


def test_cnv_04_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"task 7, region .*12x6 pixels, the image has 20x10"):
        painted(brush_region(np.ones((6, 12), dtype=np.bool_), "car"))


def test_cnv_04_without_regions_and_size_there_is_no_mask() -> None:
    with pytest.raises(ShapeError, match="task 7"):
        mask_from_regions([], SMALL_MAP, size=None, where="task 7")
    assert (mask_from_regions([], SMALL_MAP, size=(2, 3), where="task 7") == 255).all()


@pytest.mark.parametrize(
    "region",
    [
        a_region("brushlabels", {"rle": "AAAA"}),
        a_region("brushlabels", {"rle": [1, 2]}),
        a_region("polygonlabels", {"points": []}),
        a_region("polygonlabels", {"points": "round"}),
        a_region("rectanglelabels", {"x": None, "y": 0, "width": 9, "height": 9}),
        a_region("ellipselabels", {"x": 1, "y": 0, "radiusX": 9, "radiusY": float("inf")}),
        a_region("bitmasklabels", {"imageDataURL": "data:image/png;base64,"}),
        a_region("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9}, image_rotation=90),
        a_region("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9}, original_width=None),
    ],
)
def test_cnv_04_what_cannot_be_read_names_the_region(region: Region) -> None:
    with pytest.raises(CorruptRecordError, match="task 7, region r1"):
        painted(region)


def test_a_draft_with_foreign_ids_is_refused() -> None:
    with pytest.raises(LabelMapError):
        regions_from_mask(
            np.array([[7]], dtype=np.uint8), SMALL_MAP, shapes=DraftShapes(mode="brush")
        )


def _square(y: int, x: int, side: int, name: str, region_id: str) -> Region:
    painted = np.zeros((20, 20), dtype=np.bool_)
    painted[y : y + side, x : x + side] = True
    region = brush_region(painted, name)
    region["id"] = region_id
    return region


def test_cnv_03_what_an_edit_added_to_a_region_belongs_to_it() -> None:
    """The editor shows a dragged outline on top of a smaller region, and so is it read."""
    draft = [_square(0, 0, 10, "car", "a"), _square(0, 12, 4, "person", "b")]
    edited = [_square(0, 0, 14, "car", "a"), draft[1]]
    mask = mask_from_regions(edited, SMALL_MAP, size=None, where="here", draft=draft)
    assert (mask[:4, 12:14] == 1).all()  # gained
    assert (mask[:4, 14:16] == 2).all()  # the rest of it stays
    untold = mask_from_regions(edited, SMALL_MAP, size=None, where="here")
    assert (untold[:4, 12:16] == 2).all()  # without the draft the smaller one counts


def test_cnv_03_of_two_edits_the_smaller_has_what_both_gained() -> None:
    draft = [_square(0, 0, 8, "car", "a"), _square(0, 14, 4, "person", "b")]
    edited = [_square(0, 0, 15, "car", "a"), _square(0, 12, 6, "person", "b")]
    mask = mask_from_regions(edited, SMALL_MAP, size=None, where="here", draft=draft)
    assert (mask[:6, 12:18] == 2).sum() == 32  # all but what b had before and a gained
    assert (mask[:6, :12] == 1).all()


def test_cnv_03_an_edit_that_only_took_away_changes_no_other_rule() -> None:
    draft = [_square(0, 0, 16, "road", "a"), _square(2, 2, 4, "car", "b")]
    edited = [_square(0, 0, 15, "road", "a"), draft[1]]
    mask = mask_from_regions(edited, SMALL_MAP, size=None, where="here", draft=draft)
    assert (mask[2:6, 2:6] == 1).all()
    assert (mask[15] == 255).all()


def test_cnv_03_a_new_region_follows_the_rule_of_size() -> None:
    draft = [_square(2, 2, 4, "car", "b")]
    edited = [draft[0], _square(0, 0, 16, "road", "new")]
    mask = mask_from_regions(edited, SMALL_MAP, size=None, where="here", draft=draft)
    assert (mask[2:6, 2:6] == 1).all()
