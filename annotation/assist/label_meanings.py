"""What the label of a prompt says: a class, "not this", or "take that away".

A label means a class when a tool that answers are drawn with offers it. Only one that none of
them offers may mean something else:

* **not this**: its value or alias begins with a minus (`-1` is the negative of `1`), or it is
  called Negative, Background, …, alone or before a class (`Negative car`). So somebody who has a
  class "background" under the brush clicks it as a class, and marks what is none with Alt+click.
* **an operation**: Eraser, Erase, Subtract, Add, Intersect, alone or before a class.

Which label of a drawing tool says the class of a prompt is looked up from the surest to the least
sure way, and no way is taken that leaves a choice: the same value; the same alias; one's value as
the other's alias; an alias scheme (`1` and `1_brush`, `car_point` and `car_brush`); another
spelling of capitals; the number of the class, counted from one; and where both tools have one
label only, that one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from annotation.assist.label_tools import Control, Label, LabelTools
from annotation.assist.question import Operation

NEGATIVES = frozenset({"negative", "neg", "background", "bg", "exclude", "not"})
OPERATIONS = {
    "eraser": Operation.SUBTRACT,
    "erase": Operation.SUBTRACT,
    "subtract": Operation.SUBTRACT,
    "add": Operation.ADD,
    "intersect": Operation.INTERSECT,
    "intersection": Operation.INTERSECT,
}
PAINTED = ("brush", "bitmask", "polygon")  # what holds a mask; the order is that of preference

_SUFFIX = re.compile(
    r"_(brush|mask|bitmask|poly|polygon|rect|rectangle|box|bbox|keypoint|point|kp)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[\W_]*(\d{1,6})[\W_]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one prompt says beside where it is."""

    label: Label | None = None  # the class; None: not said
    is_negative: bool = False
    operation: Operation = Operation.NEW


def answering(tools: LabelTools, image: str) -> tuple[Control, ...]:
    """The tools that an answer can be drawn with: what paints, and only without that boxes."""
    drawn = [control for control in tools.of_image(image) if not control.smart_only]
    painting = tuple(control for control in drawn if control.kind in PAINTED)
    return painting or tuple(control for control in drawn if control.kind == "rectangle")


def meaning_of(tools: LabelTools, image: str, control: Control | None, said: str) -> Meaning:
    """What a prompt of this tool says with its label.

    Args:
        control: None where the config has no tool of that name; its labels mean what they say.
        said: "" for a prompt without a label.
    """
    if not said:
        return Meaning()
    label = _label_of(control, said)
    others = [each for each in answering(tools, image) if each is not control]
    offered = {text for each in others for one in each.labels for text in (one.value, one.alias)}
    if offered & {label.value, label.alias} - {""}:
        return Meaning(label=label)
    for text in (label.alias, label.value):
        if len(text) > 1 and text.startswith("-"):
            return Meaning(label=_label_of(control, text[1:].strip()), is_negative=True)
    for text in (label.alias, label.value):
        word, _, rest = re.sub(r"[\s_:\-]+", " ", text).strip().partition(" ")
        word = word.lower().strip("()[]")
        of_class = _label_of(control, text.strip()[-len(rest) :]) if rest else None
        if rest and not any(said_by(each, of_class, control) for each in others):
            continue
        if word in NEGATIVES:
            return Meaning(label=of_class, is_negative=True)
        if word in OPERATIONS:
            return Meaning(label=of_class, operation=OPERATIONS[word])
    return Meaning(label=label)


def said_by(
    output: Control,
    label: Label | None,
    prompt: Control | None,
    *,
    only_class: bool = False,
) -> str | None:
    """What a region of `output` must say to mean the class of a prompt; None: it cannot.

    Args:
        label: None for a prompt without one: then a tool with a single label says that.
        prompt: the tool that the label is of.
        only_class: is the label the only class of that tool?
    """
    if label is None:
        return output.labels[0].said if len(output.labels) == 1 else None
    if output.labels_from_task:
        return label.said
    texts = {text for text in (label.value, label.alias) if text}
    bases = {_base(text) for text in texts}
    ways: tuple[Callable[[Label], bool], ...] = (
        lambda one: one.value == label.value,
        lambda one: bool(one.alias) and one.alias == label.alias,
        lambda one: bool({one.value, one.alias} & texts),
        lambda one: bool({_base(one.value), _base(one.alias)} & bases - {""}),
        lambda one: bool(
            {_base(one.value).lower(), _base(one.alias).lower()}
            & {base.lower() for base in bases} - {""}
        ),
    )
    for fits in ways:
        found = {one.said for one in output.labels if fits(one)}
        if len(found) == 1:
            return found.pop()
        if found:
            return None  # two labels that fit equally well: neither is right for sure
    numbered = _by_number(output.labels, label, prompt)
    if numbered is not None:
        return numbered
    return output.labels[0].said if only_class and len(output.labels) == 1 else None


def classes_of(tools: LabelTools, image: str, control: Control | None) -> list[Label]:
    """The labels of a prompting tool that mean a class: no negatives, no operations."""
    found = []
    for label in control.labels if control else ():
        meaning = meaning_of(tools, image, control, label.said)
        if not meaning.is_negative and meaning.operation is Operation.NEW:
            found.append(label)
    return found


def _by_number(labels: Sequence[Label], label: Label, prompt: Control | None) -> str | None:
    """The n-th label for number n: seed 001's aliases count the classes from one.

    Only where the numbers of the prompts are exactly those of the labels, and these have none.
    """
    number = _first_number((label.alias, label.value))
    if number is None or prompt is None:
        return None
    if any(_first_number((one.alias, one.value)) is not None for one in labels):
        return None
    counted = {_first_number((one.alias.lstrip("-"), one.value)) for one in prompt.labels}
    if counted - {None} != set(range(1, len(labels) + 1)):
        return None
    return labels[number - 1].said


def _first_number(texts: Iterable[str]) -> int | None:
    for text in texts:
        found = _NUMBER.fullmatch(text)
        if found:
            return int(found[1])
    return None


def _label_of(control: Control | None, said: str) -> Label:
    labels = control.labels if control else ()
    for label in labels:
        if label.said == said:
            return label
    for label in labels:  # who calls this by hand may use a value where there is an alias
        if label.value == said:
            return label
    return Label(said)


def _base(text: str) -> str:
    """`car` of car_brush and of car_point."""
    return _SUFFIX.sub("", text)
