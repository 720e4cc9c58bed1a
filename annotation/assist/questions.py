"""A prompt of Label Studio as a `Question`: which object, of which class, drawn with which tool.

The editor sends every prompt that is still open, of one kind and one label, oldest first. Others
who speak its protocol may mix kinds; all of them then mean one object.

* A click near the one before, of the same sign, asks for the next candidate at that place.
* Of several boxes the newest counts, unless all are asked for.
* A stroke, a polygon or an ellipse is a hint of where the object lies.
* A prompt with negative points alone takes what they point at away from the region under them:
  the editor sends clicks with a label "Negative" apart from those with a class.
* Where shapes and words come together, the shapes are answered.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from annotation.assist.answer_shapes import Asked, drawn_labels, outputs_for
from annotation.assist.label_meanings import PAINTED, Meaning, meaning_of, said_by
from annotation.assist.label_tools import Control, Label, LabelTools
from annotation.assist.marks import (
    Mark,
    box_of,
    is_positive,
    marks_of,
    mask_of,
    point_of,
    texts_of,
)
from annotation.assist.question import Operation, Outputs, Question, Target
from annotation.assist.segmenter import Mask
from annotation.assist.switches import Switches
from annotation.assist.targets import Regions, region_meant
from annotation.assist.text_prompts import text_prompt, thresholds_from
from lifelong.errors import PromptError
from lifelong.records.prompts import Box, Point, Prompt

CANDIDATES = 3  # that a prompt may mean
_NEAR = 0.005  # of the picture's longer side: a second click as near as that is the same click


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A mark on the picture and what its label says."""

    mark: Mark
    control: Control | None
    meaning: Meaning


def question_from(
    tools: LabelTools,
    result: object,
    *,
    size: tuple[int, int],
    switches: Switches = Switches(),
    regions: Regions = tuple,
    image: str | None = None,
    model: str = "",
) -> Question:
    """Read one prompt.

    Args:
        tools: of the project's labelling config.
        result: `context.result` of the request, which nobody checked.
        size: (height, width) of the upright picture, pixels.
        image: name of that picture's <Image>; None: the one that `tools` is about.
        regions: what lies on the picture already, oldest first; called only where that is needed.
        model: by which of several models it shall be answered.

    Raises:
        PromptError: it cannot be read, or cannot be answered with this config; says why.
    """
    marks = marks_of(result, "prompt")
    image = tools.image if image is None else image
    _check_image(marks, image)
    shapes = [
        _Shape(mark=mark, control=control, meaning=meaning_of(tools, image, control, mark.label()))
        for mark in marks
        if mark.is_shape
        for control in [tools.control(mark.control)]
    ]
    if shapes:
        asking = _Asking(tools, image, size, switches, regions)
        return replace(asking.about_shapes(shapes), model=model)
    texts = [mark for mark in marks if mark.kind == "textarea"]
    if not texts:
        kinds = ", ".join(sorted({mark.kind or "?" for mark in marks})) or "nothing"
        raise PromptError(f"prompt: expected a point, box, stroke or text, got {kinds[:200]}")
    named = [mark for mark in texts if "prompt" in mark.control.lower()]
    typed = [text for mark in named or texts for text in texts_of(mark)]
    numbers = [mark for mark in marks if mark.kind == "number"]
    asking = _Asking(tools, image, size, switches, regions)
    return replace(asking.about_words(typed, numbers), model=model)


def question_from_words(
    tools: LabelTools,
    words: str,
    *,
    size: tuple[int, int],
    switches: Switches = Switches(),
    regions: Regions = tuple,
    model: str = "",
) -> Question:
    """A text prompt that did not come with the request: the one that a project remembers.

    Raises:
        PromptError: no words, or a config without a tool to draw an answer with.
    """
    asking = _Asking(tools, tools.image, size, switches, regions)
    return replace(asking.about_words([words], []), model=model)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One picture, and how a project wants its answers."""

    tools: LabelTools
    image: str
    size: tuple[int, int]
    switches: Switches
    regions: Regions

    def about_shapes(self, shapes: Sequence[_Shape]) -> Question:
        operation, wanted = _operation(shapes)
        prompt, candidate, drawn = self._pointed_at(shapes)
        question = Question(
            height=self.size[0],
            width=self.size[1],
            image=self.image,
            outputs=Outputs(),
            prompt=prompt,
            drawn=drawn,
            candidate=candidate,
            operation=operation,
        )
        if operation is Operation.NEW:
            asked = _class_asked(shapes)
            outputs = outputs_for(self.tools, self.image, self.switches, [asked])
            _check_one_class(self.tools, outputs, asked, shapes)
            every = self.switches.all_candidates
            return replace(question, outputs=outputs, label=asked.key, all_candidates=every)
        target, outputs = self._target(operation, wanted, shapes, prompt)
        return replace(question, outputs=outputs, label=target.label, target=target)

    def about_words(self, texts: Sequence[str], numbers: Sequence[Mark]) -> Question:
        typed = text_prompt(texts)
        question = Question(
            height=self.size[0], width=self.size[1], image=self.image, outputs=Outputs()
        )
        if typed.is_example:
            return self._like(question, typed.like)
        asked = [
            Asked(key=label.value, label=label, control=None)
            for label in drawn_labels(self.tools, self.image)
        ]
        outputs = outputs_for(self.tools, self.image, self.switches, asked)
        said = {key for labels in outputs.labels.values() for key in labels}
        others = [mark for mark in marks_of(self.regions(), "region") if mark.kind == "number"]
        return replace(
            question,
            outputs=outputs,
            words=typed.words,
            labels=tuple(each.key for each in asked if each.key in said),
            thresholds=thresholds_from(self.tools, [*reversed(numbers), *reversed(others)]),
        )

    def _like(self, question: Question, like: str) -> Question:
        """Everything that looks like the newest region, of the class `like` if that is said."""
        wanted = like.strip().lower()

        def says(mark: Mark) -> bool:
            label = _label_said(self.tools.control(mark.control), mark.labels[0])
            return not wanted or wanted in (label.value.lower(), label.alias.lower())

        found = region_meant(
            self.tools, self.regions, image=self.image, size=self.size, says=says, under=None
        )
        if found is None:
            told = f"of class {like.strip()!r} " if wanted else ""
            raise PromptError(
                f"there is no region {told}to look like; draw one, wait until it is saved "
                "(some seconds), and ask again"
            )
        target, mark = found
        control = self.tools.control(mark.control)
        label = _label_said(control, target.label)
        asked = Asked(key=label.value, label=label, control=control)
        outputs = outputs_for(self.tools, self.image, self.switches, [asked])
        return replace(
            question,
            outputs=outputs,
            label=asked.key,
            labels=(asked.key,),
            example=target.mask,
        )

    def _pointed_at(self, shapes: Sequence[_Shape]) -> tuple[Prompt, int, Mask | None]:
        """Points and boxes, how often the last click was repeated, and what was painted."""
        points: list[Point] = []
        boxes: list[Box] = []
        drawn: Mask | None = None
        for shape in shapes:
            if shape.mark.kind == "keypoint":
                point = point_of(shape.mark, self.size)
                is_negative = shape.meaning.is_negative or not point.is_positive
                points.append(replace(point, is_positive=not is_negative))
            elif shape.mark.kind == "rectangle":
                boxes.append(box_of(shape.mark, self.size))
            else:
                mask = mask_of(shape.mark, self.size)
                drawn = mask if drawn is None else drawn | mask
        if drawn is not None and not drawn.any():
            raise PromptError("prompt: the stroke painted no pixel; paint on the object")
        if not any(_is_positive(shape) for shape in shapes):
            points = [replace(point, is_positive=True) for point in points]
        elif any(s.meaning.is_negative and s.mark.kind != "keypoint" for s in shapes):
            raise PromptError("prompt: only points can say what is not meant; click there instead")
        points, candidate = _without_repeats(points, _NEAR * max(self.size))
        kept = boxes if self.switches.all_boxes else boxes[-1:]
        return Prompt(points=tuple(points), boxes=tuple(kept)), candidate, drawn

    def _target(
        self,
        operation: Operation,
        wanted: tuple[Label, Control | None] | None,
        shapes: Sequence[_Shape],
        prompt: Prompt,
    ) -> tuple[Target, Outputs]:
        """The region that is changed, and the tool that it was drawn with."""

        def says(mark: Mark) -> bool:
            if wanted is None:
                return True
            control = self.tools.control(mark.control)
            meant = said_by(control, *wanted) if control else None
            return mark.labels[0] in (meant, wanted[0].said)

        under = next((point for point in prompt.points if point.is_positive), None)
        found = region_meant(
            self.tools,
            self.regions,
            image=self.image,
            size=self.size,
            says=says,
            under=under,
            without=[shape.mark.region_id for shape in shapes],
        )
        if found is None:
            told = f"of class {wanted[0].value!r} " if wanted else ""
            raise PromptError(
                f"{operation.value}: there is no region {told}to change; draw one first, and wait "
                "until it is saved (some seconds)"
            )
        target, mark = found
        return target, self._outputs_of(target, mark)

    def _outputs_of(self, target: Target, mark: Mark) -> Outputs:
        """The tool a region was drawn with; of a box or an ellipse, which cannot hold the answer,
        the one that new regions are drawn with."""
        control = self.tools.control(mark.control)
        if control is None or control.kind not in PAINTED or control.smart_only:
            label = _label_said(control, target.label)
            asked = Asked(key=target.label, label=label, control=control)
            return outputs_for(self.tools, self.image, self.switches, [asked])
        return Outputs(
            brush=control.name if control.kind == "brush" else "",
            bitmask=control.name if control.kind == "bitmask" else "",
            polygon=control.name if control.kind == "polygon" else "",
            labels={control.name: {target.label: target.label}},
            label_tags={control.name: control.label_tag},
            tolerance_px=self.switches.tolerance_px,
        )


def prompted_image(tools: LabelTools, result: object) -> str:
    """Name of the <Image> that a prompt is about; what `tools` is about where it says none.

    Raises:
        PromptError: it cannot be read, or is about several.
    """
    said = {mark.image for mark in marks_of(result, "prompt") if mark.is_shape and mark.image}
    names = [name for name, _ in tools.images]
    if len(said) > 1 or not said <= set(names):
        told = ", ".join(map(repr, sorted(said)[:5]))
        raise PromptError(
            f"prompt: it is about {told[:200]}; expected one of {', '.join(map(repr, names))}"
        )
    return said.pop() if said else tools.image


def _check_image(marks: Sequence[Mark], image: str) -> None:
    for mark in marks:
        if mark.is_shape and mark.image not in ("", image):
            raise PromptError(
                f"{mark.where}: it is about {mark.image[:80]!r}; only {image!r} is answered"
            )


def _is_positive(shape: _Shape) -> bool:
    from_editor = shape.mark.kind != "keypoint" or is_positive(shape.mark)
    return from_editor and not shape.meaning.is_negative


def _operation(
    shapes: Sequence[_Shape],
) -> tuple[Operation, tuple[Label, Control | None] | None]:
    """What the prompt does, and of which class the region is that it does it to."""
    operations = {s.meaning.operation for s in shapes if s.meaning.operation is not Operation.NEW}
    if len(operations) > 1:
        told = " and ".join(sorted(one.value for one in operations))
        raise PromptError(f"prompt: {told} at once; send one after the other")
    of_class = [(s.meaning.label, s.control) for s in shapes if s.meaning.label is not None]
    if operations:
        named = [
            (s.meaning.label, s.control)
            for s in shapes
            if s.meaning.label is not None and s.meaning.operation is not Operation.NEW
        ]
        return operations.pop(), named[-1] if named else None
    if any(_is_positive(shape) for shape in shapes):
        return Operation.NEW, None
    return Operation.SUBTRACT, of_class[-1] if of_class else None


def _class_asked(shapes: Sequence[_Shape]) -> Asked:
    """The class that the newest positive prompt says."""
    for shape in reversed(shapes):
        label = shape.meaning.label
        if label is not None and _is_positive(shape):
            return Asked(key=label.said, label=label, control=shape.control)
    control = next((s.control for s in reversed(shapes) if s.control), None)
    return Asked(key="", label=None, control=control)


def _check_one_class(
    tools: LabelTools, outputs: Outputs, asked: Asked, shapes: Sequence[_Shape]
) -> None:
    for shape in shapes:
        label = shape.meaning.label
        if label is None or not _is_positive(shape) or label.said == asked.key:
            continue
        for name, labels in outputs.labels.items():
            output = tools.control(name)
            if output and said_by(output, label, shape.control) != labels.get(asked.key):
                raise PromptError(
                    f"prompt: it says {label.said!r} and {asked.key!r}; one object has one class"
                )


def _without_repeats(points: Sequence[Point], near: float) -> tuple[list[Point], int]:
    """The clicks that are not repeated, and which candidate repeating the last one asks for."""
    kept: list[Point] = []
    repeated = 0
    for point in points:
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.is_positive == point.is_positive
            and math.hypot(last.x - point.x, last.y - point.y) <= near
        ):
            repeated += 1
            continue
        kept.append(point)
        repeated = 0
    return kept, repeated % CANDIDATES


def _label_said(control: Control | None, said: str) -> Label:
    for label in control.labels if control else ():
        if label.said == said:
            return label
    return Label(said)
