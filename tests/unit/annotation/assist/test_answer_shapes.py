"""In which tools an answer is drawn (INT-06)."""

import pytest

from annotation.assist.answer_shapes import Asked, drawn_labels, outputs_for
from annotation.assist.label_tools import Label, label_tools
from annotation.assist.question import Outputs
from annotation.assist.switches import Switches
from lifelong.errors import PromptError
from tests.unit.annotation.assist.seed_configs import WORDS, config, tool

SPLIT = config(tool("BrushLabels", "road", "sky"), tool("PolygonLabels", "car", "road"))
ONLY_PROMPTS = 'smartOnly="true"'


def outputs(xml: str, *labels: str, kind: str = "", switches: Switches = Switches()) -> Outputs:
    tools = label_tools(xml)
    asked = [Asked(key=one, label=Label(one), control=tools.control(kind)) for one in labels]
    return outputs_for(tools, "image", switches, asked)


def test_int_06_each_class_is_drawn_with_the_tool_that_has_it() -> None:
    assert outputs(SPLIT, "car").polygon and not outputs(SPLIT, "car").brush
    every = outputs(SPLIT, "road", "sky", "car")
    assert every.labels == {
        "brushlabels": {"road": "road", "sky": "sky"},
        "polygonlabels": {"car": "car"},
    }
    assert [label.value for label in drawn_labels(label_tools(SPLIT), "image")] == [
        "road", "sky", "car",
    ]  # fmt: skip


def test_int_06_a_shape_that_was_asked_for_and_is_not_there_leaves_the_others() -> None:
    assert outputs(WORDS, "Pot", switches=Switches(polygon=True)).brush == "label2"
    assert outputs(WORDS, "Pot", switches=Switches(mask=False)).box == "label"


def test_int_06_boxes_and_points_only_where_nothing_can_be_painted() -> None:
    boxes = config(tool("RectangleLabels", "car"), tool("KeyPointLabels", "car"))
    assert outputs(boxes, "car", kind="keypointlabels").box == "rectanglelabels"
    points = config(
        tool("KeyPointLabels", "car"), tool("RectangleLabels", "car", attributes=ONLY_PROMPTS)
    )
    assert outputs(points, "car", kind="rectanglelabels").keypoint == "keypointlabels"
    with pytest.raises(PromptError, match="no tool to draw an answer with"):
        outputs(points, "car", kind="keypointlabels")  # a point in answer to a point


def test_int_06_bitmasks_stand_in_for_the_brush() -> None:
    xml = config(tool("BitmaskLabels", "car"), tool("PolygonLabels", "car"))
    assert outputs(xml, "car").bitmask == "bitmasklabels"
    assert outputs(xml, "car", switches=Switches(mask=True)).bitmask == "bitmasklabels"
    assert outputs(xml, "car", switches=Switches(mask=False)).polygon == "polygonlabels"


def test_int_06_of_two_brushes_the_one_that_has_the_class() -> None:
    xml = config(
        '<BrushLabels name="stuff" toName="image"><Label value="sky"/></BrushLabels>',
        '<BrushLabels name="things" toName="image"><Label value="car"/></BrushLabels>',
    )
    assert outputs(xml, "car").brush == "things"
    assert outputs(xml, "sky").brush == "stuff"
