"""What a model found as Label Studio's regions, in the shapes that a question asks for.

An empty mask gives no region, and no region says a label that nobody asked for. Each has an id of
its own and keeps `origin: "prediction"` through the editor. The region of an operation has its
target's id: Label Studio's editor puts an accepted suggestion in the place of the region with the
same id, so that an erased part is gone instead of lying beside the old region.
"""

import math
import uuid
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from annotation.assist.bitmasks import data_url_from_mask
from annotation.assist.mask_rings import polygons_from_mask
from annotation.assist.operations import changed
from annotation.assist.question import Operation, Question
from annotation.assist.segmenter import Candidates, Found, Mask
from annotation.brush_rle import rle_from_mask
from annotation.polygons import Patch, patch_of
from annotation.regions import Region
from lifelong.errors import ModelOutputError, PromptError

_POINT_WIDTH = 0.5  # percent of the picture's width: how large the editor draws a key point

NewId = Callable[[], str]


def new_id() -> str:
    """32 random hex digits."""
    return uuid.uuid4().hex


def regions_from(
    question: Question,
    found: Candidates | Sequence[Found],
    *,
    new_id: NewId = new_id,
    keeps_id: bool = True,
) -> list[Region]:
    """Regions of whatever a model found.

    Args:
        keeps_id: has the answer of an operation its target's id?

    Raises:
        ModelOutputError: a mask of another size than the question's picture, or a label that was
            not asked for.
        PromptError: an operation that would change nothing, or leave nothing.
    """
    if isinstance(found, Candidates):
        return regions_from_candidates(question, found, new_id=new_id, keeps_id=keeps_id)
    return regions_from_found(question, found, new_id=new_id)


def regions_from_candidates(
    question: Question, found: Candidates, *, new_id: NewId = new_id, keeps_id: bool = True
) -> list[Region]:
    """Regions of one object that was pointed at; which candidate is meant, the question says."""
    count = len(found.masks)
    if count == 0:
        return []
    if question.operation is not Operation.NEW:
        return _operated(question, found, new_id=new_id, keeps_id=keeps_id)
    chosen = range(count) if question.all_candidates else [question.candidate % count]
    return [
        region
        for number in chosen
        for region in _drawn(
            question,
            found.masks[number],
            label=question.label,
            score=float(found.scores[number]),
            new_id=new_id,
        )
    ]


def regions_from_found(
    question: Question, found: Sequence[Found], *, new_id: NewId = new_id
) -> list[Region]:
    """Regions of everything that words, or an example, led to."""
    regions = []
    for each in found:
        if each.label not in question.labels:
            raise ModelOutputError(
                f"the model found {each.label!r}, asked for {', '.join(map(repr, question.labels))}"
            )
        drawn = _drawn(
            question, each.mask, label=each.label, score=float(each.score), new_id=new_id
        )
        for region in drawn:
            if each.phrase:
                region["meta"] = {"text": [each.phrase]}
        regions += drawn
    return regions


def _operated(
    question: Question, found: Candidates, *, new_id: NewId, keeps_id: bool
) -> list[Region]:
    target = question.target
    if target is None:
        raise PromptError(f"{question.operation.value}: there is no region to change")
    number = question.candidate % len(found.masks)
    _check_size(question, found.masks[number])
    mask = changed(question.operation, target.mask, found.masks[number])
    score = float(found.scores[number])
    regions = _drawn(question, mask, label=question.label, score=score, new_id=new_id)
    if keeps_id and regions and target.region_id:
        replaced = regions[0]["id"]
        for region in regions:
            if region["id"] == replaced:  # a bare tool's region is listed twice
                region["id"] = target.region_id
    return regions


def _drawn(
    question: Question, mask: Mask, *, label: str, score: float, new_id: NewId
) -> list[Region]:
    """One mask in every shape that can say its label."""
    _check_size(question, mask)
    patch = patch_of(mask)
    if patch.area == 0:
        return []
    outputs = question.outputs
    shapes: tuple[tuple[str, str, Callable[[], list[dict[str, object]]]], ...] = (
        ("brush", outputs.brush, lambda: [_brush(mask)]),
        ("bitmask", outputs.bitmask, lambda: [{"imageDataURL": data_url_from_mask(mask)}]),
        ("polygon", outputs.polygon, lambda: _polygons(mask, outputs.tolerance_px)),
        ("rectangle", outputs.box, lambda: [_box(patch, mask.shape)]),
        ("keypoint", outputs.keypoint, lambda: [_keypoint(patch, mask.shape)]),
    )
    regions = []
    for kind, control, values in shapes:
        said = outputs.labels.get(control, {}).get(label) if control else None
        if said is not None:
            for value in values():
                regions += _regions(
                    question, kind, control, value, said=said, score=score, new_id=new_id
                )
    return regions


def _regions(
    question: Question,
    kind: str,
    control: str,
    value: dict[str, object],
    *,
    said: str,
    score: float,
    new_id: NewId,
) -> list[Region]:
    """One region, or two of the same id where a <Labels> tag says the label of a bare tool."""
    label_tag = question.outputs.label_tags.get(control, "")
    region = Region(
        id=new_id(),
        type=kind if label_tag else f"{kind}labels",
        from_name=control,
        to_name=question.image,
        original_width=question.width,
        original_height=question.height,
        image_rotation=0,
        origin="prediction",
        value=value if label_tag else {**value, f"{kind}labels": [said]},
    )
    if math.isfinite(score):
        region["score"] = round(score, 4)
    if not label_tag:
        return [region]
    separate = region.copy()
    separate["type"] = "labels"
    separate["from_name"] = label_tag
    separate["value"] = {**value, "labels": [said]}
    return [region, separate]


def _brush(mask: Mask) -> dict[str, object]:
    return {"format": "rle", "rle": rle_from_mask(np.ascontiguousarray(mask))}


def _polygons(mask: Mask, tolerance_px: float) -> list[dict[str, object]]:
    return [
        {"points": points.tolist(), "closed": True}
        for points in polygons_from_mask(mask, tolerance_px=tolerance_px)
    ]


def _box(patch: Patch, shape: tuple[int, ...]) -> dict[str, object]:
    """The sides of the outermost pixels; on the picture's border 0 and 100 exactly."""
    height, width = shape
    rows, columns = patch.painted.shape
    x, wide = _span(patch.x0, columns, width)
    y, high = _span(patch.y0, rows, height)
    return {"x": x, "y": y, "width": wide, "height": high, "rotation": 0}


def _span(start: int, length: int, whole: int) -> tuple[float, float]:
    first = start / whole * 100
    if start + length == whole:
        return first, 100 - first
    return first, length / whole * 100


def _keypoint(patch: Patch, shape: tuple[int, ...]) -> dict[str, object]:
    """The middle of the pixel that lies deepest in the mask, so never beside it."""
    height, width = shape
    inside = np.pad(patch.painted.astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return {
        "x": (patch.x0 + int(column) + 0.5) / width * 100,
        "y": (patch.y0 + int(row) + 0.5) / height * 100,
        "width": _POINT_WIDTH,
    }


def _check_size(question: Question, mask: Mask) -> None:
    if mask.shape != (question.height, question.width) or mask.dtype != np.bool_:
        raise ModelOutputError(
            f"the model answered {mask.dtype} {mask.shape} for a picture of "
            f"{question.height}x{question.width}; expected bool of that shape"
        )
