"""Which class a prompt's label says, and that none is guessed (INT-03, INT-04, INT-25)."""

import pytest

from annotation.assist.label_meanings import classes_of, meaning_of, said_by
from annotation.assist.label_tools import label_tools
from annotation.assist.question import Operation
from tests.unit.annotation.assist.seed_configs import config, tool


def looked_up(painted: list[str], prompts: list[str], said: str) -> str | None:
    """What the brush says for a click that says `said`."""
    xml = config(tool("BrushLabels", *painted), tool("KeyPointLabels", *prompts))
    tools = label_tools(xml)
    brush, point = tools.control("brushlabels"), tools.control("keypointlabels")
    assert brush is not None and point is not None
    meaning = meaning_of(tools, "image", point, said)
    only = len(classes_of(tools, "image", point)) == 1
    return said_by(brush, meaning.label, point, only_class=only)


@pytest.mark.parametrize(
    ("painted", "prompts", "said", "says"),
    [
        (["car", "road"], ["car", "road"], "road", "road"),
        (["car=c", "road=r"], ["car", "road"], "road", "r"),
        (["car", "road"], ["A=car", "B=road"], "road", "road"),
        (["car=1", "road=2"], ["A=1", "B=2"], "2", "2"),
        (["A=1_brush", "B=2_brush"], ["(+1)=1", "(+2)=2"], "2", "2_brush"),
        (["car_mask", "road_mask"], ["car_point", "road_point"], "road_point", "road_mask"),
        (["Car", "Road"], ["car", "road"], "road", "Road"),
        (["car", "road"], ["(+1)=1", "(-1)=-1", "(+2)=2"], "2", "road"),
        (["car", "road"], ["(+1)=1", "(-1)=-1", "(+2)=2"], "-1", "car"),
        (["cell"], ["object", "background"], "object", "cell"),
        (["cell"], ["object"], "", "cell"),
        # Nothing is guessed: neither the first label, nor one of two that fit.
        (["car", "road"], ["auto", "strasse"], "auto", None),
        (["car", "road"], ["car", "tree"], "tree", None),
        (["cell"], ["nucleus", "wall"], "wall", None),
        (["CAR", "Car"], ["car"], "car", None),
        (["car", "road"], ["0", "1"], "1", None),
        (["car", "road", "tree"], ["1", "2"], "2", None),
        (["car_door", "road"], ["car", "road"], "car", None),
        (["car", "road"], ["car"], "", None),
    ],
)
def test_int_04_the_class_is_looked_up_and_never_guessed(
    painted: list[str], prompts: list[str], said: str, says: str | None
) -> None:
    assert looked_up(painted, prompts, said) == says


def test_int_04_labels_that_each_task_brings_are_taken_at_their_word() -> None:
    xml = config(
        '<BrushLabels name="b" toName="image" value="$classes"/>', tool("KeyPointLabels", "car")
    )
    tools = label_tools(xml)
    brush, point = tools.control("b"), tools.control("keypointlabels")
    assert brush is not None
    assert said_by(brush, meaning_of(tools, "image", point, "car").label, point) == "car"


@pytest.mark.parametrize(
    ("label", "is_negative", "operation", "of_class"),
    [
        ("Negative", True, Operation.NEW, None),
        ("Negative car", True, Operation.NEW, "car"),
        ("Background_car", True, Operation.NEW, "car"),
        ("-car", True, Operation.NEW, "car"),
        ("x=-1", True, Operation.NEW, "1"),
        ("-", False, Operation.NEW, "-"),
        ("Eraser", False, Operation.SUBTRACT, None),
        ("erase: car", False, Operation.SUBTRACT, "car"),
        ("E=Subtract", False, Operation.SUBTRACT, None),
        ("Add", False, Operation.ADD, None),
        ("INTERSECT car", False, Operation.INTERSECT, "car"),
        ("Add tree", False, Operation.NEW, "Add tree"),  # no class that can be painted
        ("notebook", False, Operation.NEW, "notebook"),
    ],
)
def test_int_25_words_in_a_label(
    label: str, is_negative: bool, operation: Operation, of_class: str | None
) -> None:
    """INT-03, INT-25: only where no drawing tool offers the label as a class."""
    tools = label_tools(config(tool("BrushLabels", "car"), tool("KeyPointLabels", "car", label)))
    said = label.partition("=")[2] or label
    found = meaning_of(tools, "image", tools.control("keypointlabels"), said)
    assert (found.is_negative, found.operation) == (is_negative, operation)
    assert (found.label.said if found.label else None) == of_class
    value = label.partition("=")[0]
    offered = label_tools(
        config(tool("BrushLabels", "car", value), tool("KeyPointLabels", "car", label))
    )
    as_class = meaning_of(offered, "image", offered.control("keypointlabels"), said)
    assert not as_class.is_negative and as_class.operation is Operation.NEW
