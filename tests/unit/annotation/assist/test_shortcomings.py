"""What is wrong with a labelling config is said in words (INT-04)."""

import re

import pytest

from annotation.assist.shortcomings import shortcomings
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


def test_int_04_ours_and_seed_002s_need_nothing() -> None:
    assert shortcomings(OURS) == ()
    assert shortcomings(CATS) == ()
    assert shortcomings(WORDS) == ()


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (NO_POINT_LABELS, ["<KeyPointLabels> has no label, so no click can say what it is on"]),
        (VALUES, ['the first smart tool, .*add smart="false" to <BrushLabels>']),
        (
            ALIASES,
            [r"'\(-1\)' apart from", r"'\(-2\)' apart from", "the first smart tool"],
        ),
        (POLYGONS_ALONE, ["no tool to prompt with: add <KeyPointLabels>"]),
        (config(tool("KeyPointLabels", "car")), ["no tool that an answer can be drawn with"]),
        (
            config(tool("BrushLabels", attributes='smart="false"'), tool("KeyPointLabels", "car")),
            ["has no label, so no answer", "offers 'car'"],
        ),
        (
            config(tool("BrushLabels", "car", attributes='smart="false"')),
            ['smart="false" on <BrushLabels name="brushlabels">'],
        ),
        (
            config(tool("PolygonLabels", "car"), tool("KeyPointLabels", "car", "tree")),
            ["offers 'tree', which <PolygonLabels name=\"polygonlabels\"> cannot say"],
        ),
        ("<View/>", ["no <Image>"]),
        ("<View", ["not XML"]),
    ],
)
def test_int_04_what_stands_in_the_way_is_said(xml: str, words: list[str]) -> None:
    found = shortcomings(xml)
    assert len(found) == len(words), found
    for one, expected in zip(found, words, strict=True):
        assert re.search(expected, one), one
