"""Prompts of the editor as questions (INT-02, 03, 04, 05, 06, 19, 23, 25)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.assist.label_tools import label_tools
from annotation.assist.question import Operation, Question
from annotation.assist.questions import prompted_image, question_from, question_from_words
from annotation.assist.switches import Switches
from annotation.assist.text_prompts import remembered
from lifelong.errors import PromptError
from lifelong.records.prompts import Box, Point
from tests.unit.annotation.assist.prompts import (
    SIZE,
    box,
    click,
    number,
    rectangle_mask,
    region,
    stroke,
    text,
)  # fmt: skip
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

TWO = config(
    tool("BrushLabels", "car", "road"),
    tool("KeyPointLabels", "car", "road", "Negative", "Eraser", "Add car", "Intersect"),
    tool("RectangleLabels", "car", "road", "Eraser", attributes='smartOnly="true"'),
)
LEFT = rectangle_mask(10, 10, 60, 60)
RIGHT = rectangle_mask(100, 10, 150, 60)


def asked(xml: str, prompt: Any, **more: Any) -> Question:
    return question_from(label_tools(xml), prompt, size=SIZE, **more)


def signs(question: Question) -> list[bool]:
    return [point.is_positive for point in question.prompt.points]


def test_int_02_points_of_both_signs_are_pixels_that_nobody_rounds() -> None:
    question = asked(
        TWO,
        [click(33.3, 44.4, "car", is_positive=True), click(120.7, 9.1, "car", is_positive=False)],
    )
    first, second = question.prompt.points
    assert (first.x, first.y) == pytest.approx((33.3, 44.4), abs=1e-9)
    assert (second.x, second.y) == pytest.approx((120.7, 9.1), abs=1e-9)
    assert signs(question) == [True, False]
    assert (question.height, question.width, question.image) == (100, 200, "image")
    assert question.outputs.brush == "brushlabels" and question.label == "car"


def test_int_02_kinds_that_come_together_mean_one_object() -> None:
    question = asked(
        TWO,
        [
            box(10, 10, 50, 50, "car"),
            click(20, 20, "car"),
            click(90, 90, "car", is_positive=False),
            stroke(LEFT, "car"),
        ],
    )
    assert question.prompt.boxes == (Box(10, 10, 60, 60),)
    assert signs(question) == [True, False]
    assert question.drawn is not None and np.array_equal(question.drawn, LEFT)


def test_int_02_the_last_edge_of_the_picture_is_clicked_in_its_last_pixel() -> None:
    (point,) = asked(TWO, [click(200, 100, "car")]).prompt.points
    assert int(point.x) == 199 and int(point.y) == 99


def test_int_02_two_strokes_are_one_hint() -> None:
    drawn = asked(TWO, [stroke(LEFT, "car"), stroke(RIGHT, "car")]).drawn
    assert drawn is not None and np.array_equal(drawn, LEFT | RIGHT)


def test_int_03_a_missing_flag_is_positive() -> None:
    assert signs(asked(TWO, [click(20, 20, "car")])) == [True]
    assert signs(asked(TWO, [click(20, 20, "car", is_positive=None)])) == [True]


def test_int_03_a_negative_alias_belongs_to_its_class() -> None:
    question = asked(
        ALIASES,
        [
            click(20, 20, "1", control="tag2"),
            click(90, 90, "-1", control="tag2", is_positive=True),
            box(5, 5, 100, 90, "1", control="tag4"),
        ],
    )
    assert signs(question) == [True, False]
    assert question.outputs.labels == {"brush": {"1": "1_brush"}}
    assert question.label == "1"


@pytest.mark.parametrize("name", ["Negative", "negative", "Background", "bg", "no car=-car"])
def test_int_03_a_label_of_that_name_is_negative_where_it_is_no_class(name: str) -> None:
    xml = config(tool("BrushLabels", "car"), tool("KeyPointLabels", "car", name))
    said = name.partition("=")[2] or name
    question = asked(xml, [click(20, 20, "car"), click(90, 90, said, is_positive=True)])
    assert signs(question) == [True, False] and question.label == "car"


def test_int_03_background_that_can_be_painted_is_a_class() -> None:
    xml = config(
        tool("BrushLabels", "car", "background"), tool("KeyPointLabels", "car", "background")
    )
    question = asked(
        xml, [click(20, 20, "background"), click(90, 90, "background", is_positive=False)]
    )
    assert signs(question) == [True, False]
    assert question.outputs.labels == {"brushlabels": {"background": "background"}}


@pytest.mark.parametrize(
    "prompt",
    [
        click(20, 20, "Negative", is_positive=True),
        click(20, 20, "car", is_positive=False),
        click(20, 20, "-1", control="tag2"),
    ],
)
def test_int_03_negative_clicks_alone_take_away_from_the_region_under_them(
    prompt: dict[str, Any],
) -> None:
    xml, label, control = (
        (ALIASES, "1_brush", "brush") if "-1" in str(prompt) else (TWO, "car", "brushlabels")
    )
    there = [
        stroke(LEFT, label, control=control, id="left"),
        stroke(RIGHT, label, control=control, id="right"),
    ]
    question = asked(xml, [prompt], regions=lambda: there)
    assert question.operation is Operation.SUBTRACT and signs(question) == [True]
    assert question.target is not None and question.target.region_id == "left"
    assert question.outputs.labels == {control: {label: label}}


@pytest.mark.parametrize(
    ("xml", "prompt", "control", "says"),
    [
        (ALIASES, click(9, 9, "2", control="tag2"), "brush", "2_brush"),
        (ALIASES, box(9, 9, 9, 9, "2", control="tag4"), "brush", "2_brush"),
        (VALUES, click(9, 9, "Orange", control="tag2"), "tag", "Orange"),
        (VALUES, box(9, 9, 9, 9, "Banana", control="tag3"), "tag", "Banana"),
        (CATS, click(9, 9, "person", control="KeyPointLabels"), "BrushLabels", "person"),
        (CATS, box(9, 9, 9, 9, "cat", control="RectangleLabels"), "BrushLabels", "cat"),
        (
            NO_POINT_LABELS,
            box(9, 9, 9, 9, "label 1", control="RectangleLabels"),
            "BrushLabels",
            "label 1",
        ),
        (WORDS, box(9, 9, 9, 9, "Pot", control="label"), "label2", "Pot"),
    ],
)
def test_int_04_every_prompt_of_the_seeds_gets_its_class(
    xml: str, prompt: dict[str, Any], control: str, says: str
) -> None:
    question = asked(xml, [prompt])
    assert question.outputs.brush == control
    assert question.outputs.labels[control][question.label] == says


def test_int_05_the_newest_box_wins_unless_all_are_asked_for() -> None:
    boxes = [box(10, 10, 20, 20, "car"), box(100, 50, 40, 40, "car")]
    assert asked(TWO, boxes).prompt.boxes == (Box(100, 50, 140, 90),)
    every = asked(TWO, boxes, switches=Switches(all_boxes=True))
    assert every.prompt.boxes == (Box(10, 10, 30, 30), Box(100, 50, 140, 90))


def test_int_05_boxes_are_turned_upright_and_cut_to_the_picture() -> None:
    (turned,) = asked(TWO, [box(100, 20, 40, 10, "car", rotation=90)]).prompt.boxes
    assert (turned.x0, turned.y0, turned.x1, turned.y1) == pytest.approx((90, 20, 100, 60))
    (cut,) = asked(TWO, [box(190, 90, 50, 50, "car")]).prompt.boxes
    assert (cut.x0, cut.y0, cut.x1, cut.y1) == pytest.approx((190, 90, 200, 100))
    (backwards,) = asked(TWO, [box(60, 60, -50, -50, "car")]).prompt.boxes
    assert (backwards.x0, backwards.y1) == pytest.approx((10, 60))


def test_int_23_a_repeated_click_asks_for_the_next_candidate() -> None:
    at = [click(50, 50, "car"), click(50.6, 50, "car"), click(50, 50.5, "car")]
    found = [asked(TWO, at[:count]) for count in (1, 2, 3)]
    assert [question.candidate for question in found] == [0, 1, 2]
    assert [len(question.prompt.points) for question in found] == [1, 1, 1]
    assert asked(TWO, [*at, click(50, 50, "car")]).candidate == 0  # three, and around again
    elsewhere = asked(TWO, [*at, click(80, 50, "car")])
    assert elsewhere.candidate == 0 and len(elsewhere.prompt.points) == 2
    other_sign = asked(TWO, [at[0], click(50, 50, "car", is_positive=False)])
    assert signs(other_sign) == [True, False] and other_sign.candidate == 0


def test_int_23_every_candidate_where_that_is_asked_for() -> None:
    assert asked(TWO, [click(9, 9, "car")], switches=Switches(all_candidates=True)).all_candidates


@pytest.mark.parametrize(
    ("label", "operation"),
    [
        ("Eraser", Operation.SUBTRACT),
        ("Add car", Operation.ADD),
        ("Intersect", Operation.INTERSECT),
    ],
)
def test_int_25_a_label_of_that_name_changes_the_region_under_the_click(
    label: str, operation: Operation
) -> None:
    there = [
        stroke(LEFT, "car", id="left"),
        stroke(RIGHT, "car", id="right"),
        stroke(LEFT, "road", id="road"),
        click(20, 20, label, id="the prompt itself"),
    ]
    question = asked(TWO, [click(20, 20, label, id="p")], regions=lambda: there)
    assert question.operation is operation and question.target is not None
    wanted = "left" if label == "Add car" else "road"  # the newest one, of the class if one is said
    assert question.target.region_id == wanted
    assert np.array_equal(question.target.mask, LEFT)


def test_int_25_where_no_region_lies_under_the_click_the_newest_is_meant() -> None:
    there = [stroke(LEFT, "car", id="left"), stroke(RIGHT, "car", id="right")]
    question = asked(TWO, [click(80, 80, "Add car", id="p")], regions=lambda: there)
    assert question.target is not None and question.target.region_id == "right"
    erased = asked(TWO, [box(90, 0, 20, 90, "Eraser")], regions=lambda: there)
    assert erased.target is not None and erased.target.region_id == "right"


def test_int_25_without_a_region_the_operation_says_so() -> None:
    with pytest.raises(PromptError, match="subtract: there is no region to change"):
        asked(TWO, [click(20, 20, "Eraser")])
    unsaved = stroke(LEFT, "car", id="left")
    unsaved["value"] = {"format": "rle", "touches": [{"points": [1, 2]}], "brushlabels": ["car"]}
    with pytest.raises(PromptError, match="not saved yet"):
        asked(TWO, [click(20, 20, "Eraser")], regions=lambda: [unsaved])


def test_int_25_what_the_brush_can_paint_is_no_eraser() -> None:
    xml = config(tool("BrushLabels", "car", "Eraser"), tool("KeyPointLabels", "car", "Eraser"))
    question = asked(xml, [click(20, 20, "Eraser")])
    assert question.operation is Operation.NEW and question.label == "Eraser"


def test_int_25_a_box_that_is_eaten_into_is_answered_with_the_brush() -> None:
    xml = config(
        tool("BrushLabels", "car"), tool("KeyPointLabels", "Eraser"), tool("RectangleLabels", "car")
    )
    question = asked(
        xml, [click(20, 20, "Eraser", id="p")], regions=lambda: [box(10, 10, 50, 50, "car", id="b")]
    )
    assert question.target is not None and np.array_equal(question.target.mask, LEFT)
    assert question.outputs.brush == "brushlabels" and question.outputs.box == ""


def test_int_19_words_are_parted_and_thresholds_read() -> None:
    question = asked(
        OURS,
        [
            text("Parked car, pole;\n parked  CAR. ", control="words"),
            number(0.25, "text_threshold"),
        ],
        regions=lambda: [number(0.4, "box_threshold"), number(0.9, "text_threshold")],
    )
    assert question.words == ("Parked car", "pole")
    assert question.labels == ("car", "road")
    assert (question.thresholds.box, question.thresholds.text) == (0.4, 0.25)
    again = question_from_words(label_tools(OURS), remembered(question.words), size=SIZE)
    assert again.words == question.words and again.labels == question.labels
    assert again.thresholds.box == 0.3  # the tag's defaultValue


def test_int_19_words_answer_in_the_tools_of_seed_004() -> None:
    question = asked(WORDS, [text("bok choi")])
    assert question.labels == ("Bok Choi", "Pot")
    assert question.outputs.brush == "label2" and question.outputs.box == ""
    both = asked(WORDS, [text("pot")], switches=Switches(mask=True, box=True))
    assert (both.outputs.brush, both.outputs.box) == ("label2", "label")


@pytest.mark.parametrize(("typed", "label"), [("like this", "road"), ("Like: CAR.", "car")])
def test_int_26_like_this_takes_the_newest_region_of_the_class(typed: str, label: str) -> None:
    there = [
        stroke(LEFT, "car", control="brush", to_name="picture"),
        stroke(RIGHT, "road", control="brush", to_name="picture"),
    ]
    question = asked(OURS, [text(typed, control="words")], regions=lambda: there)
    assert question.words == () and question.label == label and question.labels == (label,)
    assert question.example is not None
    assert np.array_equal(question.example, LEFT if label == "car" else RIGHT)
    with pytest.raises(PromptError, match=r"no region .*to look like"):
        asked(OURS, [text(typed, control="words")])


def test_a_picture_beside_the_one_that_was_fetched_is_not_answered() -> None:
    xml = OURS.replace("</View>", '<Image name="map" value="$map"/></View>')
    prompt = [click(9, 9, "car", control="kp", to_name="map")]
    assert prompted_image(label_tools(xml), prompt) == "map"
    with pytest.raises(PromptError, match="'map'"):
        asked(xml, prompt)
    with pytest.raises(PromptError, match="'nowhere'"):
        prompted_image(label_tools(xml), [click(9, 9, "car", to_name="nowhere")])


@pytest.mark.parametrize(
    ("xml", "prompt", "words"),
    [
        (TWO, None, "expected a list of regions"),
        (TWO, [], "expected a point, box, stroke or text, got nothing"),
        (TWO, [7], r"prompt\[0\]: expected a region, got a int"),
        (TWO, [region("choices", "c", {"choices": ["x"]})], "got choices"),
        (TWO, [click(-1, 9, "car")], "outside the picture"),
        (TWO, [click(9, 101, "car")], "outside the picture"),
        (TWO, [box(300, 9, 9, 9, "car")], "outside the picture"),
        (TWO, [box(9, 9, 0, 9, "car")], "no area"),
        (TWO, [click(9, 9, "car", original_width=400)], "drawn on 400x100 pixels"),
        (TWO, [click(9, 9, "car", image_rotation=90)], "rotated"),
        (TWO, [click(9, 9, "car", is_positive="perhaps")], "is_positive is 'perhaps'"),
        (TWO, [click(9, 9, "tree")], "'tree' of the prompt says none"),
        (TWO, [click(9, 9, "")], "says no label"),
        (TWO, [click(9, 9, "car"), click(90, 9, "road")], "one object has one class"),
        (TWO, [click(9, 9, "Eraser"), click(90, 9, "Add car")], "at once"),
        (TWO, [stroke(np.zeros(SIZE, dtype=np.bool_), "car")], "painted no pixel"),
        (TWO, [stroke(np.zeros((9, 9), dtype=np.bool_), "car")], "RLE holds"),
        (POLYGONS_ALONE, [click(9, 9, "car")], "says none"),
        (config(tool("KeyPointLabels", "car")), [click(9, 9, "car")], "no tool to draw"),
        (WORDS, [text(" ,; ")], "no words"),
        (WORDS, [text("x" * 2001)], "2001 characters"),
        (WORDS, [text("pot"), number(7, "score")], "7 is no threshold"),
    ],
)
def test_what_cannot_be_answered_is_said_in_words(xml: str, prompt: Any, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        asked(xml, prompt)


def test_several_labels_at_once_are_not_reduced_to_the_first() -> None:
    prompt = click(9, 9, "car")
    prompt["value"]["keypointlabels"] = ["car", "road"]
    with pytest.raises(PromptError, match="several labels"):
        asked(TWO, [prompt])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**400, "1", "car", "rle", "keypointlabels", -5, 50, [0, 1], {}]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["x", "y", "width", "rle", "points", "text", "value", "type", "labels"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip
BROKEN = [
    click(20, 20, "car"),
    box(20, 20, 30, 30, "car"),
    stroke(LEFT, "car"),
    region("polygonlabels", "p", {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": ["car"]}),
    region("ellipselabels", "e", {"x": 50, "y": 50, "radiusX": 9, "radiusY": 9}),
    region("bitmasklabels", "m", {"imageDataURL": "data:image/png;base64,AAAA"}),
    region("labels", "labels", {"labels": ["car"]}),
    text("pot"),
    number(0.3, "box_threshold"),
    click(20, 20, "Eraser"),
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_int_02_no_json_breaks_the_reading(data: st.DataObject) -> None:
    """INT-02, INT-19: whatever is sent is a question or a PromptError."""
    regions = []
    for _ in range(data.draw(st.integers(1, 3))):
        broken = dict(data.draw(st.sampled_from(BROKEN)))
        broken["value"] = dict(broken["value"])
        for _ in range(data.draw(st.integers(0, 2))):
            inside = broken["value"] if data.draw(st.booleans()) else broken
            if isinstance(inside, dict) and inside:
                inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(JSON)
        regions.append(broken)
    prompt = data.draw(st.one_of(JSON, st.just(regions)))
    there = data.draw(st.sampled_from([[], regions, [stroke(LEFT, "car", id="left")]]))
    try:
        question = asked(
            data.draw(st.sampled_from([TWO, OURS, WORDS])), prompt, regions=lambda: there
        )
    except PromptError as error:
        assert len(str(error)) > 10
        return
    for point in question.prompt.points:
        assert isinstance(point, Point) and 0 <= point.x < 200 and 0 <= point.y < 100
    assert (
        question.prompt.points
        or question.prompt.boxes
        or question.words
        or (question.drawn is not None or question.example is not None)
    )
