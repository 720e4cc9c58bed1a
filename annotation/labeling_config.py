"""The labelling config of our projects: a `LabelMap` as XML, and whether a project still fits.

Brush and polygon are for painting; points, boxes and text are only for prompting a model
(`smartOnly`), so a stray click of theirs is never part of an annotation. Beside the picture stands
a second one that shows where the draft is unsure, and a line of text for whoever works on it.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field

from annotation.task_fields import NOTE, PROMPT, UNSURE
from lifelong.errors import ProjectMismatchError
from lifelong.records.colours import css_colour
from lifelong.records.label_map import LabelMap

IMAGE = "image"  # name of the <Image> tag and of the field in a task's data
BRUSH = "brush"
POLYGON = "polygon"
PROMPT_BOX = "prompt_box"
PROMPT_POINT = "prompt_point"
PROMPT_TEXT = "prompt_text"
PREVIEW = "preview"
ERASER = "Eraser"  # no class: a prompt that takes away from the region it points at
PROMPTS = frozenset({PROMPT_BOX, PROMPT_POINT})

INSTRUCTION = (
    "<p>Correct the draft. What you add to a region of the draft belongs to it, whatever lay "
    "there. Of other regions that overlap the one with <b>fewer pixels</b> counts: erase what is "
    "wrong before you draw a new region over it. Pixels that no region covers are left out of "
    "training. Skip a picture that nobody could label.</p>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Control:
    """One tag that people label with."""

    tag: str
    name: str
    attributes: tuple[tuple[str, str], ...]


_CONTROLS = (
    # First, for the first tool is the one that is on when a task opens: with it a click chooses a
    # region and a corner can be dragged, with the brush neither can be done.
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
    # Brush is a smart tool by default and would then get the prompts.
    _Control(tag="BrushLabels", name=BRUSH, attributes=(("smart", "false"),)),
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
    ElementTree.SubElement(view, "Header", {"value": f"${NOTE}", "size": "5"})
    _image(view, IMAGE, f"${IMAGE}")
    for control in _CONTROLS:
        element = ElementTree.SubElement(
            view, control.tag, {"name": control.name, "toName": IMAGE, **dict(control.attributes)}
        )
        for name, colour in zip(label_map.names, label_map.colours, strict=True):
            ElementTree.SubElement(
                element, "Label", {"value": name, "background": css_colour(colour)}
            )
        if control.name in PROMPTS and ERASER not in label_map:
            ElementTree.SubElement(element, "Label", {"value": ERASER, "background": "#000000"})
    ElementTree.SubElement(
        view,
        "TextArea",
        {
            "name": PROMPT_TEXT,
            "toName": IMAGE,
            "value": f"${PROMPT}",
            "editable": "true",
            "rows": "1",
            "maxSubmissions": "1",
            "placeholder": "words to look for: parked car, pole",
        },
    )
    panels = ElementTree.SubElement(view, "Collapse", {"open": "false"})
    panel = ElementTree.SubElement(panels, "Panel", {"value": "Where the draft is unsure"})
    _image(panel, PREVIEW, f"${UNSURE}")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def _image(parent: ElementTree.Element, name: str, value: str) -> None:
    zoomed = {"zoom": "true", "zoomControl": "true", "rotateControl": "false"}
    ElementTree.SubElement(parent, "Image", {"name": name, "value": value, **zoomed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """By which names a project's labelling config calls what drafts are made of."""

    image: str  # name of the <Image> tag
    data_field: str  # where a task's data has the image's address
    brush: str | None
    polygon: str | None
    fields: frozenset[str] = frozenset()  # every field of a task's data that the config shows
    # What a region may say (a label's alias stands before its value) -> name of the class.
    classes: Mapping[str, str] = field(default_factory=dict)

    def label_of(self, name: str) -> str:
        """What a region must say to mean this class."""
        return next((said for said, meant in self.classes.items() if meant == name), name)


OUR_TOOLS = Tools(image=IMAGE, data_field=IMAGE, brush=BRUSH, polygon=POLYGON)


def tools_for(
    config: str, label_map: LabelMap, title: str, others: Mapping[str, str] | None = None
) -> Tools:
    """Find the tools of a project, ours or one that was set up by hand, by what they are.

    A project fits when it shows an image and can paint every class with a brush or with polygons.
    Its names, colours, the order of classes and further tags are its own business, and a label
    may stand for a class by its value or by its alias.

    Args:
        others: names from before or after a change of classes, and the class that each is here,
            "" for none; labels of these names may stay in the project.

    Raises:
        ProjectMismatchError: every difference in words, and what to do.
    """
    found, differences = _read(config, label_map, others or {})
    if differences or found is None:
        raise ProjectMismatchError(
            f"Label Studio project {title!r} does not fit the label map: "
            f"{'; '.join(differences)}. Correct its labelling interface, or name another "
            "project under label_studio.project"
        )
    return found


def classes_of(
    config: str, label_map: LabelMap, others: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """What the labels of a project's painting tools mean: what a region says -> class."""
    found, _ = _read(config, label_map, others or {})
    return found.classes if found is not None else {}


def prompting_tools(config: str) -> frozenset[str]:
    """Names of the tools that only prompt a model (`smartOnly`): what they leave in an annotation
    that is submitted with an open suggestion is no region of anybody's."""
    try:
        tags = list(ElementTree.fromstring(config).iter())
    except ElementTree.ParseError:
        return frozenset()
    attributes = [{key.lower(): value for key, value in tag.attrib.items()} for tag in tags]
    return frozenset(
        found["name"]
        for found in attributes
        if found.get("smartonly", "").lower() == "true" and found.get("name")
    )


def with_labels_added(config: str, label_map: LabelMap) -> str:
    """The XML with a label for every class that has none of its name, under each tool.

    Labels that are there stay: open tasks and annotations use them. Unchanged when none is
    missing, or when it is no XML.
    """
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError:
        return config
    ours = {control.tag.lower() for control in _CONTROLS}
    added = False
    for tag in view.iter():
        if _kind(tag) not in ours:
            continue
        labels = [label for label in tag.iter() if _kind(label) == "label"]
        there = {value for label in labels for value in (label.get("value"), label.get("alias"))}
        for name, colour in zip(label_map.names, label_map.colours, strict=True):
            if name not in there:
                told = {"value": name, "background": css_colour(colour)}
                ElementTree.SubElement(tag, "Label", told)
                added = True
    if not added:
        return config
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def _read(
    config: str, label_map: LabelMap, others: Mapping[str, str]
) -> tuple[Tools | None, list[str]]:
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        return None, [f"its labelling config is not XML ({error})"]
    images = [tag for tag in view.iter() if _kind(tag) == "image"]
    image = next(iter(sorted(images, key=lambda tag: tag.get("name") != IMAGE)), None)
    shown = image.get("value", "") if image is not None else ""
    if image is None or not image.get("name") or not shown.startswith("$"):
        return None, ['no <Image name="…" value="$…"/>']
    name = str(image.get("name"))
    differences: list[str] = []
    chosen: dict[str, str] = {}
    classes: dict[str, str] = {}
    for kind, ours in (("brushlabels", BRUSH), ("polygonlabels", POLYGON)):
        tags = [tag for tag in view.iter() if _kind(tag) == kind]
        for tag in sorted(tags, key=lambda tag: tag.get("name") != ours)[:1]:
            told = tag.get("name") or kind
            if tag.get("toName") != name:
                differences.append(f"{told} is for {tag.get('toName')!r}, not {name!r}")
            meant, wrong = _classes_of(tag, label_map, others)
            differences += [f"{told} {words}" for words in wrong]
            classes |= meant
            chosen[kind] = told
    if not chosen:
        differences.append("neither <BrushLabels> nor <PolygonLabels> to paint with")
    tools = Tools(
        image=name,
        data_field=shown[1:],
        brush=chosen.get("brushlabels"),
        polygon=chosen.get("polygonlabels"),
        fields=frozenset(
            value[1:] for tag in view.iter() if (value := tag.get("value", "")).startswith("$")
        ),
        classes=classes,
    )
    return tools, differences


def _classes_of(
    tag: ElementTree.Element, label_map: LabelMap, others: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What its labels mean, and what is wrong with them."""
    meant: dict[str, str] = {}
    formerly: dict[str, str] = {}
    unknown = []
    for label in tag.iter():
        if _kind(label) != "label":
            continue
        value, alias = label.get("value", ""), label.get("alias", "")
        known = next((one for one in (value, alias) if one in label_map), None)
        other = next((one for one in (value, alias) if one in others), None)
        if known is None and other is not None:
            if others[other]:
                formerly[alias or value] = others[other]
        elif known is None:
            unknown.append(value)
        else:
            meant[alias or value] = known
    # A label of the class's own name comes first: drafts are offered under that.
    meant |= {said: name for said, name in formerly.items() if said not in meant}
    missing = [name for name in label_map.names if name not in meant.values()]
    wrong = []
    if missing:
        wrong.append(f"has no class {', '.join(map(repr, missing))}")
    if unknown:
        wrong.append(f"has unknown classes {', '.join(map(repr, unknown))}")
    return meant, wrong


def _kind(tag: ElementTree.Element) -> str:
    """Label Studio does not mind how a tag's name is spelled: KeypointLabels, KeyPointLabels."""
    return str(tag.tag).lower()
