"""What a rejection must not lose, in storage before Label Studio is told to forget it."""

import json
from collections.abc import Mapping

from annotation.regions import Region
from annotation.review.standing import review_folder
from annotation.studio_tasks import StudioPrediction, region_of
from lifelong.errors import ObjectExistsError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.samples import AnnotationTask
from lifelong.records.wire import dumps, json_object


def keep_annotation(
    storage: Storage, task: AnnotationTask, annotation_id: int, body: Mapping[str, object]
) -> str:
    """Keep a rejected annotation whole, as Label Studio told it; returns its key."""
    folder = review_folder(task.round_number, task.sample_id)
    key = f"{folder}/annotation-{annotation_id}.json"
    storage.put(key, json.dumps(body, ensure_ascii=False, sort_keys=True, default=str).encode())
    return key


def keep_first_draft(storage: Storage, task: AnnotationTask, draft: StudioPrediction) -> None:
    """Keep the machine's regions before a person's take their place; the first ones stay."""
    body = {
        "prediction_id": draft.prediction_id,
        "model_version": draft.model_version,
        "score": draft.score,
        "result": [dict(region) for region in draft.regions],
    }
    try:
        storage.put_if_absent(_draft_key(task), dumps(body))
    except ObjectExistsError:
        return


def first_draft(storage: Storage, task: AnnotationTask) -> tuple[Region, ...] | None:
    """The regions a task was first offered with; None when nothing was rejected yet.

    Raises:
        CorruptRecordError: the object is damaged.
    """
    key = _draft_key(task)
    try:
        body = json_object(storage.get(key), key)
    except ObjectNotFoundError:
        return None
    return tuple(region_of(item) for item in body.get("result", []))


def _draft_key(task: AnnotationTask) -> str:
    return f"{review_folder(task.round_number, task.sample_id)}/draft.json"
