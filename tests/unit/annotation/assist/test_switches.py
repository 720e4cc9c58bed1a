"""Switches as text: "false" is false (INT-06)."""

import pytest

from annotation.assist.switches import switches_from
from lifelong.errors import ConfigError
from lifelong.sections.assist import AssistSection


@pytest.mark.parametrize("yes", [True, "true", "True", " TRUE ", "1", "yes", "on", 1])
def test_int_06_yes_in_every_spelling(yes: object) -> None:
    switches = switches_from({"out_mask": yes, "out_poly": yes, "out_bbox": yes}, AssistSection())
    assert (switches.mask, switches.polygon, switches.box) == (True, True, True)


@pytest.mark.parametrize("no", [False, "false", "False", "0", "no", "off", 0])
def test_int_06_no_in_every_spelling(no: object) -> None:
    section = AssistSection(out_mask=True, out_poly=True, out_bbox=True)
    switches = switches_from({"out_mask": no, "out_poly": no, "out_bbox": no}, section)
    assert (switches.mask, switches.polygon, switches.box) == (False, False, False)


def test_what_a_project_does_not_say_the_section_says() -> None:
    section = AssistSection(out_poly=True, polygon_tolerance_px=2.5)
    switches = switches_from({"out_mask": "", "out_bbox": None, "device": "cuda:0"}, section)
    assert (switches.mask, switches.polygon, switches.box) == (None, True, None)
    assert switches.tolerance_px == 2.5
    assert switches_from({"polygon_tolerance_px": "0"}, section).tolerance_px == 0
    assert switches_from({"all_boxes": "yes"}, section).all_boxes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("out_mask", "maybe"),
        ("out_poly", 2),
        ("out_bbox", ["true"]),
        ("all_candidates", {}),
        ("polygon_tolerance_px", "wide"),
        ("polygon_tolerance_px", -1),
        ("polygon_tolerance_px", True),
        ("polygon_tolerance_px", "nan"),
        ("polygon_tolerance_px", 10**400),
    ],
)
def test_int_06_anything_else_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"extra parameter {key}="):
        switches_from({key: value}, AssistSection())
