"""Which region is meant (INT-25, INT-26)."""

from collections.abc import Mapping, Sequence
from typing import Any

from annotation.assist.label_tools import label_tools
from annotation.assist.marks import Mark
from annotation.assist.targets import region_meant
from lifelong.records.prompts import Point
from tests.unit.annotation.assist.prompts import SIZE, box, click, rectangle_mask, stroke, text
from tests.unit.annotation.assist.seed_configs import OURS

LEFT = stroke(rectangle_mask(10, 10, 60, 60), "car", control="brush", to_name="picture", id="left")
RIGHT = stroke(
    rectangle_mask(100, 10, 150, 60), "road", control="brush", to_name="picture", id="right"
)


def meant(
    regions: Sequence[Mapping[str, Any]], *, label: str = "", at: Point | None = None
) -> str | None:
    def says(mark: Mark) -> bool:
        return label in ("", mark.labels[0])

    found = region_meant(
        label_tools(OURS), lambda: regions, image="picture", size=SIZE, says=says, under=at,
        without=["prompt"],
    )  # fmt: skip
    return found[0].region_id if found else None


def test_int_25_the_newest_one_under_the_click_or_else_the_newest() -> None:
    assert meant([LEFT, RIGHT]) == "right"
    assert meant([LEFT, RIGHT], at=Point(20, 20)) == "left"
    assert meant([LEFT, RIGHT], at=Point(80, 80)) == "right"
    assert meant([LEFT, RIGHT], label="car", at=Point(120, 20)) == "left"
    assert meant([LEFT], label="road") is None
    assert meant([]) is None


def test_int_25_prompts_notes_and_other_pictures_are_no_regions() -> None:
    others = [
        {**RIGHT, "id": "prompt"},
        {**RIGHT, "id": "other", "to_name": "map"},
        {**RIGHT, "id": "open prompt", "is_positive": True},
        click(20, 20, "car", control="kp", to_name="picture", id="click"),
        box(9, 9, 9, 9, "car", control="rect", to_name="picture", id="prompt box"),
        text("car", id="text"),
    ]
    assert meant([LEFT, *others]) == "left"


def test_int_26_a_region_that_cannot_be_read_gives_way_to_one_that_can() -> None:
    broken = {**RIGHT, "id": "broken", "value": {"touches": [], "brushlabels": ["road"]}}
    assert meant([LEFT, broken]) == "left"
