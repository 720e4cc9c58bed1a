"""Which region of a task an eraser changes, and which one is the example of "like this".

The regions are those of the newest draft, annotation or prediction; the prompt itself and what
tools with smartOnly left behind are none. Of the regions of the class the newest one that lies
under the first positive click is meant, and where none does, the newest one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from annotation.assist.label_tools import LabelTools
from annotation.assist.marks import Mark, marks_of, mask_of
from annotation.assist.question import Target
from annotation.assist.segmenter import Mask
from lifelong.errors import PromptError
from lifelong.records.prompts import Point

Regions = Callable[[], Sequence[Mapping[str, object]]]  # of the task; read only where needed


def region_meant(
    tools: LabelTools,
    regions: Regions,
    *,
    image: str,
    size: tuple[int, int],
    says: Callable[[Mark], bool],
    under: Point | None,
    without: Iterable[str] = (),
) -> tuple[Target, Mark] | None:
    """The region that is meant, or None.

    Args:
        says: is a region of the class that is looked for?
        under: the first positive click, pixels.
        without: ids of regions that belong to the prompt.

    Raises:
        PromptError: the only regions that fit cannot be read.
    """
    excluded = set(without)
    fallback: tuple[Mark, Mask] | None = None
    unreadable: PromptError | None = None
    for mark in reversed(marks_of(regions(), "region")):
        if mark.region_id in excluded or not _is_region(tools, image, mark) or not says(mark):
            continue
        try:
            mask = mask_of(mark, size)
        except PromptError as error:
            unreadable = unreadable or error
            continue
        if not mask.any():
            continue
        if under is None or mask[int(under.y), int(under.x)]:
            return _target(mark, mask), mark
        fallback = fallback or (mark, mask)
    if fallback is None:
        if unreadable is not None:
            raise unreadable
        return None
    return _target(*fallback), fallback[0]


def covered(tools: LabelTools, regions: Regions, *, image: str, size: tuple[int, int]) -> Mask:
    """(H, W): what lies under a region of any class; regions that cannot be read are left out."""
    found = np.zeros(size, dtype=np.bool_)
    for mark in marks_of(regions(), "region"):
        if _is_region(tools, image, mark):
            try:
                found |= mask_of(mark, size)
            except PromptError:
                continue
    return found


def _is_region(tools: LabelTools, image: str, mark: Mark) -> bool:
    control = tools.control(mark.control)
    return (
        mark.is_shape
        and mark.kind != "keypoint"
        and mark.image in ("", image)
        and "is_positive" not in mark.region
        and not (control and control.smart_only)
        and len(mark.labels) == 1
    )


def _target(mark: Mark, mask: Mask) -> Target:
    return Target(region_id=mark.region_id, mask=mask, label=mark.labels[0])
