"""Masks as Label Studio's regions (INT-06, INT-07, INT-22, INT-23, INT-25)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.brush import decode_rle
from numpy.typing import NDArray

from annotation.assist.answers import regions_from
from annotation.assist.label_tools import label_tools
from annotation.assist.question import Operation, Outputs, Question, Target
from annotation.assist.questions import question_from
from annotation.assist.segmenter import Candidates, Found
from annotation.assist.switches import Switches
from annotation.regions import Region, mask_from_regions
from lifelong.errors import ModelOutputError, PromptError
from lifelong.records.label_map import LabelMap
from tests.camvid import camvid_masks
from tests.unit.annotation.assist.prompts import SIZE, click, rectangle_mask
from tests.unit.annotation.assist.seed_configs import CATS, config, tool
from tests.unit.annotation.maps import label_maps

CARS = LabelMap(names=("car", "road"), colours=((0, 0, 142), (128, 64, 128)))
MASK = rectangle_mask(10, 20, 61, 80)
MASK[30:40, 20:30] = False


def candidates(*masks: NDArray[np.bool_]) -> Candidates:
    scores = np.linspace(0.9, 0.5, len(masks), dtype=np.float32)
    return Candidates(masks=np.stack(masks), scores=scores)


def question(**outputs: Any) -> Question:
    names = {each for each in outputs.values() if isinstance(each, str)}
    return Question(
        height=100,
        width=200,
        image="image",
        label="car",
        outputs=Outputs(**outputs, labels={name: {"car": "car"} for name in names}),
    )


def painted(regions: list[Region]) -> NDArray[np.bool_]:
    read: NDArray[np.uint8] = mask_from_regions(regions, CARS, size=None, where="test")
    return np.asarray(read == 0)


def test_int_06_each_shape_is_a_region_that_label_studio_knows() -> None:
    found = regions_from(
        question(brush="b", polygon="p", box="r", keypoint="k", bitmask="m"), candidates(MASK)
    )
    assert [(one["type"], one["from_name"]) for one in found] == [
        ("brushlabels", "b"),
        ("bitmasklabels", "m"),
        ("polygonlabels", "p"),
        ("rectanglelabels", "r"),
        ("keypointlabels", "k"),
    ]
    for one in found:
        assert one["value"][one["type"]] == ["car"]
        assert one["to_name"] == "image" and one["origin"] == "prediction"
        assert (one["original_width"], one["original_height"]) == (200, 100)
        assert one["image_rotation"] == 0 and one["score"] == 0.9
    assert len({one["id"] for one in found}) == 5 and all(len(one["id"]) == 32 for one in found)


@pytest.mark.parametrize(
    ("switches", "shapes"),
    [
        (Switches(), ["brushlabels"]),
        (Switches(mask=True, box=True), ["brushlabels", "rectanglelabels"]),
        (Switches(mask=False, polygon=True), ["polygonlabels"]),
        (Switches(mask=False), ["polygonlabels"]),
        (Switches(mask=True, polygon=True, box=True, point=True),
         ["brushlabels", "polygonlabels", "rectanglelabels", "keypointlabels"]),
    ],
)  # fmt: skip
def test_int_06_the_switches_of_the_seeds_choose_the_shapes(
    switches: Switches, shapes: list[str]
) -> None:
    prompt = [click(30, 70, "cat", control="KeyPointLabels")]
    asked = question_from(label_tools(CATS), prompt, size=SIZE, switches=switches)
    assert [one["type"] for one in regions_from(asked, candidates(MASK))] == shapes


def test_int_06_everything_switched_off_is_said() -> None:
    off = Switches(mask=False, polygon=False, box=False)
    prompt = [click(30, 70, "cat", control="KeyPointLabels")]
    with pytest.raises(PromptError, match="switched off"):
        question_from(label_tools(CATS), prompt, size=SIZE, switches=off)


@settings(max_examples=80, deadline=None)
@given(label_maps(classes=2))
def test_int_07_brush_and_polygons_come_back_to_the_pixel(mask: NDArray[np.uint8]) -> None:
    wanted = mask == 0
    height, width = mask.shape
    for shape in ("brush", "polygon"):
        asked = replace(question(**{shape: "t"}), height=height, width=width)
        found = regions_from(asked, candidates(wanted))
        assert bool(found) == bool(wanted.any())
        if found:
            assert np.array_equal(painted(found), wanted)


def test_int_07_camvid_comes_back_through_brush_polygon_and_the_sdk() -> None:
    for name, classes in camvid_masks()[:3]:
        for class_id in np.unique(classes)[:-1].tolist():
            wanted = classes == class_id
            height, width = wanted.shape
            asked = replace(question(brush="b"), height=height, width=width)
            (brush,) = regions_from(asked, candidates(wanted))
            theirs = decode_rle(brush["value"]["rle"]).reshape(height, width, 4)[..., 3] > 127
            assert np.array_equal(theirs, wanted), (name, class_id)
            assert np.array_equal(painted([brush]), wanted)
            asked = replace(question(polygon="p"), height=height, width=width)
            assert np.array_equal(painted(regions_from(asked, candidates(wanted))), wanted)


def test_int_07_a_hole_survives_even_in_one_polygon() -> None:
    (region,) = regions_from(question(polygon="p"), candidates(MASK))
    points = region["value"]["points"]
    assert isinstance(points, list) and all(len(point) == 2 for point in points)  # never nested
    assert np.array_equal(painted([region]), MASK)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_int_22_boxes_have_the_sides_of_their_outermost_pixels(
    width: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, width - 1))
    last = data.draw(st.one_of(st.just(width - 1), st.integers(first, width - 1)))
    mask = np.zeros((2, width), dtype=np.bool_)
    mask[:, first : last + 1] = True
    asked = replace(question(box="r"), height=2, width=width)
    (region,) = regions_from(asked, candidates(mask))
    value: Any = region["value"]
    assert value["x"] == first / width * 100 and (value["y"], value["height"]) == (0, 100)
    end = value["x"] + value["width"]
    assert end == 100 if last == width - 1 else end == pytest.approx((last + 1) / width * 100)
    assert np.array_equal(painted([region]), mask)


@settings(max_examples=100, deadline=None)
@given(label_maps(classes=2))
def test_int_06_the_key_point_lies_in_the_mask(mask: NDArray[np.uint8]) -> None:
    wanted = mask == 0
    asked = replace(question(keypoint="k"), height=mask.shape[0], width=mask.shape[1])
    for region in regions_from(asked, candidates(wanted)):
        value: Any = region["value"]
        at = int(value["y"] / 100 * mask.shape[0]), int(value["x"] / 100 * mask.shape[1])
        assert wanted[at]
        inside = cv2.distanceTransform(np.pad(wanted.astype(np.uint8), 1), cv2.DIST_L2, 5)
        assert inside[at[0] + 1, at[1] + 1] >= inside.max() - 0.2


def test_int_06_a_bare_tool_lists_its_region_twice_as_label_studio_does() -> None:
    xml = config(
        tool("Labels", "car", "road"),
        '<Brush name="b" toName="image" smart="false"/><KeyPoint name="k" toName="image"/>',
    )
    prompt = click(30, 70, "", control="k", id="p")
    prompt["type"] = "keypoint"
    label = {**prompt, "type": "labels", "from_name": "labels", "value": {"labels": ["car"]}}
    asked = question_from(label_tools(xml), [prompt, label], size=SIZE)
    shape, said = regions_from(asked, candidates(MASK))
    assert (shape["type"], shape["from_name"]) == ("brush", "b")
    assert (said["type"], said["from_name"]) == ("labels", "labels")
    assert said["id"] == shape["id"] and said["value"]["labels"] == ["car"]
    assert np.array_equal(painted([shape, said]), MASK)


def test_an_empty_mask_gives_no_region() -> None:
    everything = question(brush="b", polygon="p", box="r", keypoint="k", bitmask="m")
    assert regions_from(everything, candidates(np.zeros(SIZE, dtype=np.bool_))) == []
    nothing = Candidates(masks=np.zeros((0, *SIZE), np.bool_), scores=np.zeros(0, np.float32))
    assert regions_from(everything, nothing) == []


def test_int_23_the_candidate_that_is_asked_for_or_all_of_them() -> None:
    masks = [rectangle_mask(0, 0, wide, 50) for wide in (10, 20, 30)]
    for number, mask in enumerate(masks):
        (region,) = regions_from(replace(question(brush="b"), candidate=number), candidates(*masks))
        assert np.array_equal(painted([region]), mask)
    every = regions_from(replace(question(brush="b"), all_candidates=True), candidates(*masks))
    assert [one["score"] for one in every] == [0.9, 0.7, 0.5]
    only = regions_from(replace(question(brush="b"), candidate=2), candidates(masks[0]))
    assert len(only) == 1  # a model that knows one candidate gives it again


def test_int_19_what_words_found_says_its_label_and_its_phrase() -> None:
    asked = replace(
        question(brush="b"),
        label="",
        words=("parked car",),
        labels=("car", "road"),
        outputs=Outputs(brush="b", box="r", labels={"b": {"car": "1_car"}, "r": {"road": "way"}}),
    )
    found = [
        Found(mask=MASK, label="car", phrase="parked car", score=0.5),
        Found(mask=MASK, label="road", phrase="", score=float("nan")),
    ]
    car, road = regions_from(asked, found)
    assert car["value"]["brushlabels"] == ["1_car"] and car["meta"] == {"text": ["parked car"]}
    assert road["value"]["rectanglelabels"] == ["way"] and "score" not in road
    with pytest.raises(ModelOutputError, match="'tree', asked for 'car', 'road'"):
        regions_from(asked, [Found(mask=MASK, label="tree", phrase="", score=0.5)])


def test_int_25_the_answer_of_an_operation_takes_the_place_of_its_target() -> None:
    asked = replace(
        question(brush="b"),
        operation=Operation.SUBTRACT,
        target=Target(region_id="there", mask=MASK, label="car"),
    )
    hole = rectangle_mask(40, 40, 50, 50)
    (region,) = regions_from(asked, candidates(hole))
    assert region["id"] == "there"
    assert np.array_equal(painted([region]), MASK & ~hole)
    (fresh,) = regions_from(asked, candidates(hole), keeps_id=False)
    assert fresh["id"] != "there"
    with pytest.raises(PromptError, match="nothing of the region; delete"):
        regions_from(asked, candidates(np.ones(SIZE, dtype=np.bool_)))


def test_int_25_a_polygon_that_is_cut_in_two_keeps_its_id_for_one_piece() -> None:
    asked = replace(
        question(polygon="p"),
        operation=Operation.SUBTRACT,
        target=Target(region_id="there", mask=rectangle_mask(0, 0, 90, 50), label="car"),
    )
    found = regions_from(asked, candidates(rectangle_mask(30, 0, 40, 50)))
    assert [one["id"] == "there" for one in found] == [True, False]
    values: list[Any] = [one["value"] for one in found]
    assert min(x for x, _ in values[0]["points"]) > min(x for x, _ in values[1]["points"])


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"\(9, 9\) for a picture of 100x200"):
        regions_from(question(brush="b"), candidates(np.ones((9, 9), dtype=np.bool_)))


def test_int_07_label_studios_own_coco_export_reads_a_polygon_with_a_hole(tmp_path: Path) -> None:
    """Nested points would make the whole project's export fail."""
    xml = config(tool("PolygonLabels", "car"))
    regions = regions_from(question(polygon="polygonlabels"), candidates(MASK))
    task = {
        "id": 1,
        "data": {"image": "street.png"},
        "annotations": [{"id": 1, "result": regions, "completed_by": 1}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    converter = Converter(xml, str(tmp_path), download_resources=False)
    converter.convert_to_coco(str(tmp_path / "tasks.json"), str(tmp_path / "out"), is_dir=False)
    (found,) = json.loads((tmp_path / "out" / "result.json").read_text())["annotations"]
    # A side lies 0.1 and 0.3 pixels inside the pixels it runs along.
    assert found["area"] == pytest.approx(50.6 * 59.6 - 10.4 * 10.4, abs=1)
    assert found["bbox"] == pytest.approx([10.1, 20.1, 50.6, 59.6], abs=0.1)
