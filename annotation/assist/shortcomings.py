"""What keeps a labelling config from working with the smart tool, in words, and what to change."""

from annotation.assist.label_meanings import PAINTED, answering, meaning_of, said_by
from annotation.assist.label_tools import Control, LabelTools, label_tools
from annotation.assist.question import Operation
from lifelong.errors import ConfigError


def shortcomings(config: str) -> tuple[str, ...]:
    """Everything about a labelling config that stands in the way, or that surprises people.

    Empty where every tool that can prompt reaches the model and gets an answer.
    """
    try:
        tools = label_tools(config)
    except ConfigError as error:
        return (str(error),)
    image = tools.image
    smart = [each for each in tools.of_image(image) if each.is_smart]
    found = [
        *_no_answer(tools, image),
        *_no_prompt(tools, image, smart),
        *(words for each in smart for words in _labels(tools, image, each)),
        *_brush_first(smart),
    ]
    return tuple(found)


def _no_answer(tools: LabelTools, image: str) -> list[str]:
    drawn = answering(tools, image)
    if not drawn:
        return [
            "no tool that an answer can be drawn with: add <BrushLabels> or <PolygonLabels> "
            f'toName="{image}" without smartOnly'
        ]
    if not any(control.labels or control.labels_from_task for control in drawn):
        told = " and ".join(control.told for control in drawn)
        return [f'{told} has no label, so no answer can be drawn: add <Label value="…"/> to it']
    return []


def _no_prompt(tools: LabelTools, image: str, smart: list[Control]) -> list[str]:
    if smart:
        return []
    off = [
        each
        for each in tools.of_image(image)
        if each.kind in ("keypoint", "rectangle", "brush", "bitmask", "textarea")
    ]
    if off:
        told = ", ".join(control.told for control in off)
        return [f'smart="false" on {told}, so nothing reaches the model: set it to "true" on one']
    return [
        "no tool to prompt with: add <KeyPointLabels> for clicks, <RectangleLabels> for boxes, or "
        "<TextArea> for words; a polygon cannot prompt in Label Studio"
    ]


def _labels(tools: LabelTools, image: str, control: Control) -> list[str]:
    if control.kind == "textarea" or control.labels_from_task:
        return []
    can = {"keypoint": "click", "rectangle": "box"}.get(control.kind, "stroke")
    drawn = answering(tools, image)
    if not control.labels:
        if control.has_own_labels:
            return [
                f"<{control.tag}> has no label, so no {can} can say what it is on: give it the "
                "labels of the drawing tool"
            ]
        if any(said_by(each, None, control) for each in drawn):
            return []
        return [f"{control.told} has no <Labels> beside it, so its {can} says no class: add one"]
    found = []
    for label in control.labels:
        meaning = meaning_of(tools, image, control, label.said)
        if meaning.is_negative and can == "click":
            found.append(
                f"{control.told}: the editor sends clicks with {label.value!r} apart from the "
                "others, so they take away from a region that is there already; Alt+click says "
                '"not this" while an object is being prompted'
            )
        if meaning.is_negative or meaning.operation is not Operation.NEW:
            continue
        only = len(control.labels) == 1
        if drawn and not any(said_by(o, meaning.label, control, only_class=only) for o in drawn):
            told = " nor ".join(output.told for output in drawn)
            found.append(
                f"{control.told} offers {label.value!r}, which {told} cannot say: add that label "
                "there, or give it the same alias"
            )
    return found


def _brush_first(smart: list[Control]) -> list[str]:
    shapes = [control for control in smart if control.kind != "textarea"]
    pointing = [control for control in shapes if control.kind in ("keypoint", "rectangle")]
    if not pointing or shapes[0].kind not in PAINTED:
        return []
    return [
        f"<{shapes[0].tag}> is the first smart tool, so the smart tool paints strokes until "
        f'another one is chosen from its menu: add smart="false" to <{shapes[0].tag}>'
    ]
