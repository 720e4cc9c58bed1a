"""The tools of a labelling config: what people can prompt with, and what an answer can be drawn in.

Names of tags are free, tags are told apart by their kind, and neither the spelling of a tag's name
(`KeypointLabels`, `KeyPointLabels`) nor that of an attribute matters, as in Label Studio.
A tool is smart unless it says otherwise: so is Label Studio's (`smart` of a <Label> says nothing).
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from lifelong.errors import ConfigError

SHAPES = ("keypoint", "rectangle", "brush", "bitmask", "polygon", "ellipse")
# Which of them can be a smart tool in Label Studio's editor.
SMART_SHAPES = frozenset({"keypoint", "rectangle", "brush", "bitmask"})

_LONGEST = 1_000_000  # characters of a config
_FALSE = frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class Label:
    """One class of a tool."""

    value: str
    alias: str = ""

    @property
    def said(self) -> str:
        """What a region says: Label Studio puts the alias before the value."""
        return self.alias or self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One tag that people label or prompt with."""

    tag: str  # as it is written, e.g. KeyPointLabels
    kind: str  # keypoint, rectangle, brush, bitmask, polygon, ellipse, textarea, number
    name: str
    images: tuple[str, ...]  # toName
    labels: tuple[Label, ...] = ()
    label_tag: str = ""  # of a bare tool (<Brush>) the <Labels> tag that says its labels
    has_own_labels: bool = False  # <BrushLabels>, not <Brush>
    labels_from_task: bool = False  # value="$…": each task brings its own
    smart: bool = True
    smart_only: bool = False  # prompts, and never draws
    default: str = ""  # of a <Number>

    @property
    def region_type(self) -> str:
        """`type` of its regions, and the key of their labels."""
        return f"{self.kind}labels" if self.has_own_labels else self.kind

    @property
    def is_smart(self) -> bool:
        """Does the editor ask a model after it was used?"""
        return (self.smart or self.smart_only) and self.kind in SMART_SHAPES | {"textarea"}

    @property
    def told(self) -> str:
        """For people."""
        return f'<{self.tag} name="{self.name}">'


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTools:
    """A labelling config, as far as interactive annotation is concerned."""

    images: tuple[tuple[str, str], ...]  # <Image> tags: name, and field of a task's data
    controls: tuple[Control, ...]  # in the order of the config

    @property
    def image(self) -> str:
        """The <Image> that most tools are for, the first of equals."""
        names = [name for name, _ in self.images]
        return max(names, key=lambda name: len(self.of_image(name)))

    @property
    def data_field(self) -> str:
        """Where a task's data has the address of that picture."""
        return self.field_of(self.image)

    def field_of(self, image: str) -> str:
        """Where a task's data has the address of the picture in the <Image> of this name.

        Raises:
            ConfigError: no such tag.
        """
        for name, data_field in self.images:
            if name == image:
                return data_field
        raise ConfigError(f"labelling config: there is no <Image> named {image!r}")

    def of_image(self, image: str) -> tuple[Control, ...]:
        """The tools for one picture, in the order of the config."""
        return tuple(control for control in self.controls if image in control.images)

    def control(self, name: str) -> Control | None:
        """The tool of that name."""
        return next((control for control in self.controls if control.name == name), None)


@lru_cache(maxsize=64)
def label_tools(config: str) -> LabelTools:
    """Read a labelling config.

    Args:
        config: XML, as Label Studio sends it with every request.

    Raises:
        ConfigError: not XML, with a DOCTYPE or entities of its own, or without a picture.
    """
    view = checked_xml(config)
    tags = [(str(tag.tag).lower(), tag, _attributes(tag)) for tag in view.iter()]
    images = []
    for kind, _, attributes in tags:
        shown = attributes.get("value", "")
        if kind == "image" and attributes.get("name") and shown.startswith("$"):
            images.append((attributes["name"], shown[1:]))
    if not images:
        several = any(kind == "image" and "valuelist" in found for kind, _, found in tags)
        raise ConfigError(
            "labelling config: "
            + ("<Image valueList> shows several pictures at once" if several else "no <Image>")
            + '; expected <Image name="…" value="$…"/>'
        )
    label_tags = [_label_tag(tag, found) for kind, tag, found in tags if kind == "labels"]
    controls = []
    for kind, tag, attributes in tags:
        control = _control(kind, tag, attributes, label_tags)
        if control is not None:
            controls.append(control)
    return LabelTools(images=tuple(images), controls=tuple(controls))


def checked_xml(config: str) -> ElementTree.Element:
    """Parse XML that others wrote.

    Entities that a document declares may grow without bound while they are put in, so none are
    read: a labelling config needs none.

    Raises:
        ConfigError: too long, with a DOCTYPE, or not XML.
    """
    if len(config) > _LONGEST:
        raise ConfigError(
            f"labelling config: {len(config)} characters, at most {_LONGEST} are read"
        )
    if "<!DOCTYPE" in config or "<!ENTITY" in config:
        raise ConfigError("labelling config: it declares a DOCTYPE or entities; remove them")
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"labelling config: not XML ({error})") from error


def _attributes(tag: ElementTree.Element) -> dict[str, str]:
    return {name.lower(): value for name, value in tag.attrib.items()}


def _label_tag(tag: ElementTree.Element, attributes: Mapping[str, str]) -> Control:
    """A <Labels> tag, as a control for the bare tools."""
    return Control(
        tag=str(tag.tag),
        kind="labels",
        name=attributes.get("name", ""),
        images=_images(attributes),
        labels=_labels(tag),
        labels_from_task=attributes.get("value", "").startswith("$"),
    )


def _control(
    kind: str,
    tag: ElementTree.Element,
    attributes: Mapping[str, str],
    label_tags: list[Control],
) -> Control | None:
    shape = kind.removesuffix("labels")
    is_shape = shape in SHAPES
    if not attributes.get("name") or not (is_shape or kind in ("textarea", "number")):
        return None
    images = _images(attributes)
    own = is_shape and kind.endswith("labels")
    labels, label_tag = _labels(tag), ""
    from_task = own and attributes.get("value", "").startswith("$")
    if is_shape and not own:
        for separate in label_tags:
            if set(separate.images) & set(images):
                labels, label_tag = separate.labels, separate.name
                from_task = separate.labels_from_task
                break
    return Control(
        tag=str(tag.tag),
        kind=shape if is_shape else kind,
        name=attributes["name"],
        images=images,
        labels=labels,
        label_tag=label_tag,
        has_own_labels=own,
        labels_from_task=from_task,
        smart=_is_on(attributes.get("smart"), default=True),
        smart_only=_is_on(attributes.get("smartonly"), default=False),
        default=attributes.get("defaultvalue", ""),
    )


def _images(attributes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in attributes.get("toname", "").split(",") if name.strip())


def _labels(tag: ElementTree.Element) -> tuple[Label, ...]:
    found = []
    for label in tag.iter():
        if str(label.tag).lower() == "label":
            attributes = _attributes(label)
            value, alias = attributes.get("value", ""), attributes.get("alias", "")
            if value or alias:
                found.append(Label(value or alias, alias))
    return tuple(found)


def _is_on(value: str | None, *, default: bool) -> bool:
    return default if value is None else value.strip().lower() not in _FALSE
