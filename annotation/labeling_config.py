"""The labelling config of our projects: a `LabelMap` as XML, and whether a project still fits.

Brush and polygon are for painting; points and boxes are only for prompting a model (`smartOnly`),
so a stray click of theirs is never part of an annotation.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from lifelong.errors import ProjectMismatchError
from lifelong.records.label_map import LabelMap

IMAGE = "image"  # name of the <Image> tag and of the field in a task's data
BRUSH = "brush"
POLYGON = "polygon"
PROMPT_BOX = "prompt_box"
PROMPT_POINT = "prompt_point"
PROMPTS = frozenset({PROMPT_BOX, PROMPT_POINT})

INSTRUCTION = (
    "<p>Correct the draft. Where two regions overlap, the one with <b>fewer pixels</b> counts: "
    "erase what is wrong before you paint over it with a larger region. Pixels that no region "
    "covers are left out of training. Skip a picture that nobody could label.</p>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Control:
    """One tag that people label with."""

    tag: str
    name: str
    attributes: tuple[tuple[str, str], ...]


_CONTROLS = (
    # Brush is a smart tool by default and would then get the prompts.
    _Control(tag="BrushLabels", name=BRUSH, attributes=(("smart", "false"),)),
    _Control(
        tag="PolygonLabels",
        name=POLYGON,
        attributes=(
            ("smart", "false"),
            ("strokeWidth", "2"),
            ("pointSize", "small"),
            ("opacity", "0.4"),
        ),
    ),
    # Without smartOnly, choosing a label takes the plain tool and leaves stray points behind.
    _Control(
        tag="RectangleLabels",
        name=PROMPT_BOX,
        attributes=(("smart", "true"), ("smartOnly", "true")),
    ),
    _Control(
        tag="KeyPointLabels",
        name=PROMPT_POINT,
        attributes=(("smart", "true"), ("smartOnly", "true")),
    ),
)


def labeling_config(label_map: LabelMap) -> str:
    """The XML for a project: every class under every tool, in the label map's colours."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(
        view,
        "Image",
        {
            "name": IMAGE,
            "value": f"${IMAGE}",
            "zoom": "true",
            "zoomControl": "true",
            "rotateControl": "false",
        },
    )
    for control in _CONTROLS:
        element = ElementTree.SubElement(
            view, control.tag, {"name": control.name, "toName": IMAGE, **dict(control.attributes)}
        )
        for name, (red, green, blue) in zip(label_map.names, label_map.colours, strict=True):
            ElementTree.SubElement(
                element,
                "Label",
                {"value": name, "background": f"#{red:02x}{green:02x}{blue:02x}"},
            )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def check_fits(config: str, label_map: LabelMap, title: str) -> None:
    """Refuse a project whose config lacks our tools, or whose classes are others than ours.

    Colours, the order of classes and further tags are the project's own business.

    Raises:
        ProjectMismatchError: every difference in words, and what to do.
    """
    differences = _differences(config, label_map)
    if differences:
        raise ProjectMismatchError(
            f"Label Studio project {title!r} does not fit the label map: "
            f"{'; '.join(differences)}. Correct its labelling interface, or name another "
            "project under label_studio.project"
        )


def _differences(config: str, label_map: LabelMap) -> list[str]:
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        return [f"its labelling config is not XML ({error})"]
    image = view.find(f".//Image[@name='{IMAGE}']")
    if image is None or image.get("value") != f"${IMAGE}":
        found = [f'no <Image name="{IMAGE}" value="${IMAGE}"/>']
    else:
        found = []
    for control in _CONTROLS:
        element = view.find(f".//{control.tag}[@name='{control.name}']")
        if element is None:
            found.append(f'no <{control.tag} name="{control.name}">')
            continue
        if element.get("toName") != IMAGE:
            found.append(f"{control.name} is for {element.get('toName')!r}, not {IMAGE!r}")
        there = [label.get("value", "") for label in element.iter("Label")]
        missing = [name for name in label_map.names if name not in there]
        unknown = [name for name in there if name not in label_map]
        if missing:
            found.append(f"{control.name} has no class {', '.join(map(repr, missing))}")
        if unknown:
            found.append(f"{control.name} has unknown classes {', '.join(map(repr, unknown))}")
    return found
