"""In which of a project's tools an answer is drawn, and what it says there.

Where a project asks for shapes (`out_mask`, `out_poly`, `out_bbox`), an answer comes in each of
them that its config has a tool for. Where it asks for none, an object is **one** region: of the
brush, else of polygons, in whichever has its class; a box only where nothing can be painted, and a
point only where not even boxes can be drawn. A tool with smartOnly prompts and never answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotation.assist.label_meanings import PAINTED, answering, classes_of, said_by
from annotation.assist.label_tools import Control, Label, LabelTools
from annotation.assist.question import Outputs
from annotation.assist.switches import Switches
from lifelong.errors import PromptError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A class that an answer may have to say."""

    key: str  # by which name the question knows it
    label: Label | None
    control: Control | None  # of the prompt


def outputs_for(
    tools: LabelTools, image: str, switches: Switches, asked: Sequence[Asked]
) -> Outputs:
    """The tools for an answer that says one of `asked`.

    Raises:
        PromptError: none of them can be said, or there is no tool to draw with; says what to
            change.
    """
    shapes = _shapes(tools, image)
    chosen: dict[str, tuple[Control, Mapping[str, str]]] = {}
    for shape in _wanted(switches):
        found = _best(tools, image, shapes[shape], asked)
        if found is None and shape == "brush":
            shape, found = "bitmask", _best(tools, image, shapes["bitmask"], asked)
        if found is not None:
            chosen[shape] = found
    if not chosen:
        chosen = _by_default(tools, image, shapes, switches, asked)
    if not chosen:
        raise PromptError(_why_not(tools, image, shapes, switches, asked))
    names = {shape: control.name for shape, (control, _) in chosen.items()}
    return Outputs(
        brush=names.get("brush", ""),
        bitmask=names.get("bitmask", ""),
        polygon=names.get("polygon", ""),
        box=names.get("rectangle", ""),
        keypoint=names.get("keypoint", ""),
        labels={control.name: said for control, said in chosen.values()},
        label_tags={control.name: control.label_tag for control, _ in chosen.values()},
        tolerance_px=switches.tolerance_px,
    )


def drawn_labels(tools: LabelTools, image: str) -> list[Label]:
    """Every class that an answer can say, in the order of the config."""
    found: dict[str, Label] = {}
    for control in answering(tools, image) or _shapes(tools, image)["keypoint"]:
        for label in control.labels:
            found.setdefault(label.value, label)
    return list(found.values())


def _wanted(switches: Switches) -> list[str]:
    said = {
        "brush": switches.mask,
        "polygon": switches.polygon,
        "rectangle": switches.box,
        "keypoint": switches.point,
    }
    return [shape for shape, wanted in said.items() if wanted]


def _shapes(tools: LabelTools, image: str) -> dict[str, list[Control]]:
    shapes: dict[str, list[Control]] = {
        shape: [] for shape in ("brush", "bitmask", "polygon", "rectangle", "keypoint")
    }
    for control in tools.of_image(image):
        if control.kind in shapes and not control.smart_only:
            shapes[control.kind].append(control)
    return shapes


def _by_default(
    tools: LabelTools,
    image: str,
    shapes: Mapping[str, list[Control]],
    switches: Switches,
    asked: Sequence[Asked],
) -> dict[str, tuple[Control, Mapping[str, str]]]:
    """Each class in the first painting tool that has it."""
    forbidden = {
        "brush": switches.mask, "bitmask": switches.mask, "polygon": switches.polygon,
        "rectangle": switches.box, "keypoint": switches.point,
    }  # fmt: skip
    allowed = {s: c for s, c in shapes.items() if c and forbidden[s] is not False}
    by_points = any(each.control and each.control.kind == "keypoint" for each in asked)
    if any(shape in allowed for shape in PAINTED):
        order: Sequence[str] = PAINTED
    elif "rectangle" in allowed:
        order = ("rectangle",)
    else:
        order = () if by_points else ("keypoint",)  # a point in answer to a point says nothing
    chosen: dict[str, tuple[Control, Mapping[str, str]]] = {}
    left = list(asked)
    for shape in order:
        found = _best(tools, image, allowed.get(shape, []), left)
        if found is not None:
            chosen[shape] = found
            left = [each for each in left if each.key not in found[1]]
    return chosen


def _best(
    tools: LabelTools, image: str, controls: Sequence[Control], asked: Sequence[Asked]
) -> tuple[Control, Mapping[str, str]] | None:
    """The control that can say most of `asked`, the first of equals, and how it says them."""
    best: tuple[Control, Mapping[str, str]] | None = None
    for control in controls:
        said = {}
        for each in asked:
            label = said_by(control, each.label, each.control)
            if label is None and len(control.labels) == 1:
                only = len(classes_of(tools, image, each.control)) == 1
                label = said_by(control, each.label, each.control, only_class=only)
            if label is not None:
                said[each.key] = label
        if said and (best is None or len(said) > len(best[1])):
            best = control, said
    return best


def _why_not(
    tools: LabelTools,
    image: str,
    shapes: Mapping[str, list[Control]],
    switches: Switches,
    asked: Sequence[Asked],
) -> str:
    drawn = [control for controls in shapes.values() for control in controls]
    painting = list(answering(tools, image))
    if not painting:
        return (
            "the labelling config has no tool to draw an answer with; add <BrushLabels> or "
            "<PolygonLabels> without smartOnly"
        )
    off = [switches.mask, switches.polygon, switches.box]
    if any(one is False for one in off) and not any(off):
        told = ", ".join(control.told for control in drawn)
        return f"every shape that the labelling config has ({told}) is switched off by out_…=false"
    offers = "; ".join(
        f"{control.told} has {', '.join(repr(one.value) for one in control.labels) or 'none'}"
        for control in painting
    )
    said = [each.label for each in asked if each.label is not None]
    if not said:
        return f"the prompt says no label, and an answer needs one: {offers}; choose one first"
    return (
        f"label {said[0].said!r} of the prompt says none of the labels that an answer can have: "
        f"{offers}; give it one of these as value or alias"
    )
