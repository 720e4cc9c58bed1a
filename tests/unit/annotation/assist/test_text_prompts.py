"""Text prompts: words, "like this", thresholds (INT-19, INT-26)."""

import pytest

from annotation.assist.label_tools import label_tools
from annotation.assist.marks import marks_of
from annotation.assist.text_prompts import TextPrompt, remembered, text_prompt, thresholds_from
from lifelong.errors import PromptError
from tests.unit.annotation.assist.prompts import number
from tests.unit.annotation.assist.seed_configs import config


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["car"], ("car",)),
        (["car, pole; traffic light.\nCAR"], ("car", "pole", "traffic light")),
        (["car", " pole "], ("car", "pole")),
        (["  like this ", "car"], ("car",)),
        (["things I like"], ("things I like",)),
        (["liken this"], ("liken this",)),
    ],
)
def test_int_19_words_and_back(typed: list[str], words: tuple[str, ...]) -> None:
    assert text_prompt(typed) == TextPrompt(words=words)
    assert text_prompt([remembered(words)]).words == words


@pytest.mark.parametrize(
    ("typed", "like"),
    [
        ("like this", ""),
        (" Like  THIS! ", ""),
        ("like: car", "car"),
        ("like:Bok  Choi.", "Bok Choi"),
    ],
)
def test_int_26_like_this_is_no_word(typed: str, like: str) -> None:
    assert text_prompt(["pole", typed]) == TextPrompt(is_example=True, like=like)


@pytest.mark.parametrize(
    "typed", [[], [""], [" ,;.\n"], ["x" * 2001], [",".join(map(str, range(65)))]]
)
def test_int_19_no_words_or_too_many_are_said(typed: list[str]) -> None:
    with pytest.raises(PromptError, match="text prompt: "):
        text_prompt(typed)


@pytest.mark.parametrize(
    ("name", "box", "text"),
    [
        ("box_threshold", 0.5, None),
        ("Score", 0.5, None),
        ("threshold", 0.5, None),
        ("TEXT_THRESHOLD", None, 0.5),
        ("count", None, None),
    ],
)
def test_int_19_a_number_is_told_apart_by_its_name(
    name: str, box: float | None, text: float | None
) -> None:
    tools = label_tools(config(f'<Number name="{name}" toName="image" defaultValue="0.1"/>'))
    found = thresholds_from(tools, marks_of([number(0.5, name), number(0.9, name)], "p"))
    assert (found.box, found.text) == (box, text)
    default = thresholds_from(tools, [])
    assert (default.box, default.text) == (box and 0.1, text and 0.1)


def test_int_19_a_threshold_is_a_share() -> None:
    tools = label_tools(config())
    with pytest.raises(PromptError, match="box: 30 is no threshold"):
        thresholds_from(tools, marks_of([number(30, "box")], "p"))
