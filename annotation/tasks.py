"""A pre-annotation as a task with a draft to correct, and an annotation back to a mask.

A task carries our own ids in its data (`SAMPLE`, `ROUND`): Label Studio gives a deleted task's id
to the next one, so its ids alone prove nothing.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from annotation.labeling_config import IMAGE
from annotation.regions import DraftMode, mask_from_regions, painted_regions, regions_from_mask
from annotation.studio_tasks import StudioAnnotation, StudioTask
from annotation.task_fields import ROUND, SAMPLE
from lifelong.errors import ShapeError
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import PreAnnotation


def model_version_of(round_number: int) -> str:
    """The name under which Label Studio shows the drafts of a round."""
    return f"round-{round_number}"


def task_json(
    draft: PreAnnotation,
    mask: NDArray[np.uint8],
    *,
    image_url: str,
    label_map: LabelMap,
    mode: DraftMode,
) -> dict[str, object]:
    """A task with the draft as its prediction, ready for Label Studio's import.

    Args:
        mask: (H, W), uint8, the draft; `draft.height` and `draft.width` say which size.

    Raises:
        ShapeError: the mask has another size than the record says.
        LabelMapError: the mask holds ids that are no class.
    """
    if mask.shape != (draft.height, draft.width):
        raise ShapeError(
            f"{draft.mask_key}: {mask.shape} pixels, its record says {(draft.height, draft.width)}"
        )
    regions = regions_from_mask(mask, label_map, mode=mode, scores=_class_scores(draft))
    return {
        "data": {
            IMAGE: image_url,
            SAMPLE: draft.sample_id,
            ROUND: draft.round_number,
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
) -> NDArray[np.uint8]:
    """What a person submitted, as (H, W) uint8 class ids; the rule is in `annotation/regions.py`.

    Raises:
        LabelMapError: an unknown label; names task, annotation and region.
        ShapeError: drawn on another size than `size`, or nothing is painted at all.
        CorruptRecordError: a region that cannot be read.
    """
    where = f"task {task.task_id}, annotation {annotation.annotation_id}"
    if not painted_regions(annotation.regions):
        raise ShapeError(f"{where}: submitted without a region; nothing to learn from")
    return mask_from_regions(annotation.regions, label_map, size=size, where=where)


def carries(data: Mapping[str, object], sample_id: str, round_number: int) -> bool:
    """Is this the data of the task for that sample of that round?"""
    return data.get(SAMPLE) == sample_id and str(data.get(ROUND)) == str(round_number)


def _told_of_erased(draft: PreAnnotation) -> dict[str, str]:
    """What an annotator should look for: classes that were seen and are nowhere in the draft."""
    if not draft.erased_classes:
        return {}
    return {"erased_classes": ", ".join(draft.erased_classes)}


def _class_scores(draft: PreAnnotation) -> dict[int, float]:
    """Mean score of each class's regions, by their area."""
    area: dict[int, int] = {}
    total: dict[int, float] = {}
    for region in draft.regions:
        area[region.class_id] = area.get(region.class_id, 0) + region.area
        total[region.class_id] = total.get(region.class_id, 0.0) + region.score * region.area
    return {class_id: total[class_id] / area[class_id] for class_id in area if area[class_id]}
