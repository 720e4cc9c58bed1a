"""A pre-annotation as a task with a draft to correct, and an annotation back to a mask.

A task carries our own ids in its data (`SAMPLE`, `ROUND`): Label Studio gives a deleted task's id
to the next one, so its ids alone prove nothing.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import Box, DraftShapes, ScoreOf, regions_from_mask
from annotation.labeling_config import OUR_TOOLS, Tools
from annotation.regions import mask_from_regions, painted_regions
from annotation.studio_tasks import StudioAnnotation, StudioTask, begun_with
from annotation.task_fields import NOTE, PROMPT, ROUND, SAMPLE, UNSURE
from lifelong.errors import ShapeError
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import PreAnnotation, RegionScore


def model_version_of(round_number: int) -> str:
    """The name under which Label Studio shows the drafts of a round."""
    return f"round-{round_number}"


def task_json(
    draft: PreAnnotation,
    mask: NDArray[np.uint8],
    *,
    image_url: str,
    label_map: LabelMap,
    shapes: DraftShapes,
    unsure_url: str = "",
    tools: Tools = OUR_TOOLS,
) -> dict[str, object]:
    """A task with the draft as its prediction, ready for Label Studio's import.

    Args:
        mask: (H, W), uint8, the draft; `draft.height` and `draft.width` say which size.
        unsure_url: address of the picture that shows where the draft is unsure; "" when there is
            none: then the plain picture stands there.
        tools: the project's own names for its tools.

    Raises:
        ShapeError: the mask has another size than the record says.
        LabelMapError: the mask holds ids that are no class.
    """
    if mask.shape != (draft.height, draft.width):
        raise ShapeError(
            f"{draft.mask_key}: {mask.shape} pixels, its record says {(draft.height, draft.width)}"
        )
    regions = regions_from_mask(
        mask, label_map, shapes=shapes, score_of=_score_of(draft), tools=tools
    )
    return {
        # Label Studio refuses a task without a field that the project's config shows.
        "data": dict.fromkeys(sorted(tools.fields), "")
        | {
            tools.data_field: image_url,
            SAMPLE: draft.sample_id,
            ROUND: draft.round_number,
            NOTE: "",
            PROMPT: "",
            UNSURE: unsure_url or image_url,
        },
        "meta": dict(draft.attributes) | _told_of_erased(draft),
        "predictions": [
            {
                "model_version": model_version_of(draft.round_number),
                "score": draft.score,
                "result": regions,
            }
        ],
    }


def mask_from_annotation(
    task: StudioTask,
    annotation: StudioAnnotation,
    label_map: LabelMap,
    *,
    size: tuple[int, int] | None,
    classes: Mapping[str, str] | None = None,
) -> NDArray[np.uint8]:
    """What a person submitted, as (H, W) uint8 class ids; the rule is in `annotation/regions.py`,
    as is what `classes` means.

    Raises:
        LabelMapError: an unknown label; names task, annotation and region.
        ShapeError: drawn on another size than `size`, or nothing is painted at all.
        CorruptRecordError: a region that cannot be read.
    """
    where = f"task {task.task_id}, annotation {annotation.annotation_id}"
    if not painted_regions(annotation.regions):
        raise ShapeError(f"{where}: submitted without a region; nothing to learn from")
    return mask_from_regions(
        annotation.regions,
        label_map,
        size=size,
        where=where,
        classes=classes,
        draft=begun_with(task, annotation),
    )


def carries(data: Mapping[str, object], sample_id: str, round_number: int) -> bool:
    """Is this the data of the task for that sample of that round?"""
    return data.get(SAMPLE) == sample_id and str(data.get(ROUND)) == str(round_number)


def _told_of_erased(draft: PreAnnotation) -> dict[str, str]:
    """What an annotator should look for: classes that were seen and are nowhere in the draft."""
    if not draft.erased_classes:
        return {}
    return {"erased_classes": ", ".join(draft.erased_classes)}


def _score_of(draft: PreAnnotation) -> ScoreOf:
    """A polygon is as sure as the smallest piece of its class that it lies in; a brush region is
    as sure as its class's pieces are on average, by area."""
    pieces: dict[int, list[RegionScore]] = {}
    for region in draft.regions:
        pieces.setdefault(region.class_id, []).append(region)

    def score_of(class_id: int, box: Box | None) -> float | None:
        of_class = pieces.get(class_id, [])
        if not of_class:
            return None
        around = [piece for piece in of_class if box is not None and _lies_in(box, piece.box)]
        if around:
            return min(around, key=lambda piece: piece.area).score
        area = sum(piece.area for piece in of_class)
        return sum(piece.score * piece.area for piece in of_class) / max(area, 1)

    return score_of


def _lies_in(inner: Box, outer: tuple[int, int, int, int]) -> bool:
    x0, y0, x1, y1 = outer
    # A polygon runs around pixels, at most one pixel outside the inclusive box.
    return x0 - 1 <= inner[0] and y0 - 1 <= inner[1] and inner[2] <= x1 + 2 and inner[3] <= y1 + 2
