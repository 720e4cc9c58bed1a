"""Labelling configs: tools by their kind, whatever they are called (INT-04)."""

import pytest

from annotation.assist.label_tools import label_tools
from lifelong.errors import ConfigError
from tests.unit.annotation.assist.seed_configs import (
    ALIASES,
    CATS,
    NO_POINT_LABELS,
    OURS,
    POLYGONS_ALONE,
    VALUES,
    WORDS,
    config,
    tool,
)  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "kinds"),
    [
        (ALIASES, {"brush": "brush", "tag2": "keypoint", "tag4": "rectangle"}),
        (VALUES, {"tag": "brush", "tag2": "keypoint", "tag3": "rectangle"}),
        (
            CATS,
            {
                "KeyPointLabels": "keypoint",
                "RectangleLabels": "rectangle",
                "PolygonLabels": "polygon",
                "BrushLabels": "brush",
            },
        ),
        (
            NO_POINT_LABELS,
            {
                "KeyPointLabels": "keypoint",
                "RectangleLabels": "rectangle",
                "PolygonLabels": "polygon",
                "BrushLabels": "brush",
            },
        ),
        (WORDS, {"prompt": "textarea", "label": "rectangle", "label2": "brush"}),
        (POLYGONS_ALONE, {"labels": "polygon"}),
    ],
)
def test_int_04_every_config_of_the_seeds_is_read(seed: str, kinds: dict[str, str]) -> None:
    tools = label_tools(seed)
    assert {control.name: control.kind for control in tools.controls} == kinds
    assert tools.image == "image" and tools.data_field == "image"


def test_int_04_names_of_tools_pictures_and_fields_are_free() -> None:
    tools = label_tools(OURS)
    assert (tools.image, tools.data_field) == ("picture", "shot")
    kp = tools.control("kp")
    assert kp is not None and kp.smart_only and kp.region_type == "keypointlabels"
    assert [label.said for label in kp.labels] == ["car", "road"]
    brush = tools.control("brush")
    assert brush is not None and not brush.is_smart
    assert tools.control("nobody") is None


def test_int_04_aliases_are_what_regions_say() -> None:
    points = label_tools(ALIASES).control("tag2")
    assert points is not None
    assert [label.said for label in points.labels] == ["1", "-1", "2", "-2"]
    assert points.is_smart  # nobody said that it is not


def test_int_04_a_bare_tool_takes_the_labels_beside_it() -> None:
    tools = label_tools(
        config(
            tool("Labels", "car", "road"),
            '<Brush name="b" toName="image"/><KeyPoint name="k" toName="image" SmartOnly="TRUE"/>',
        )
    )
    brush, point = tools.control("b"), tools.control("k")
    assert brush is not None and point is not None
    assert brush.label_tag == "labels" and brush.region_type == "brush"
    assert [label.value for label in brush.labels] == ["car", "road"]
    assert point.smart_only


def test_the_picture_is_the_one_that_the_tools_are_for() -> None:
    tools = label_tools(
        '<View><Image name="preview" value="$map"/><Image name="main" value="$photo"/>'
        '<BrushLabels name="b" toName="main"><Label value="car"/></BrushLabels></View>'
    )
    assert (tools.image, tools.data_field, tools.field_of("preview")) == ("main", "photo", "map")
    with pytest.raises(ConfigError, match="'other'"):
        tools.field_of("other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not XML"),
        ("<View>", "not XML"),
        ("<View>\ud800</View>", "not XML"),
        ("<View/>", "no <Image>"),
        ('<View><Image name="i" value="photo.jpg"/></View>', "no <Image>"),
        ('<View><Image name="i" valueList="$photos"/></View>', "several pictures"),
        (f"<View>{'x' * 1_000_001}</View>", "at most 1000000"),
        (
            '<!DOCTYPE v [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><View>&b;</View>',
            "DOCTYPE or entities",
        ),
    ],
)
def test_what_is_no_config_of_a_picture_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"labelling config: .*{words}"):
        label_tools(text)
