"""A task as Label Studio keeps it: data, predictions, annotations; read from its JSON.

The JSON is the same in listings, single answers and exports, but for how people are named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from annotation.page_marks import mark_of
from annotation.regions import Region
from lifelong.errors import CorruptRecordError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioProject:
    """A project as Label Studio has it."""

    project_id: int
    title: str
    label_config: str  # XML; "<View></View>" when nobody has set one


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioPrediction:
    """What Label Studio calls a prediction: our draft as regions."""

    prediction_id: int
    model_version: str
    score: float | None
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioAnnotation:
    """What one person submitted, or skipped."""

    annotation_id: int
    # Who made it on a page of ours, by name; else the e-mail, or "user 7" when nobody tells.
    annotator: str
    at: datetime | None  # UTC, last change; None when nobody knows
    is_skip: bool
    seconds: float | None  # Label Studio's lead time
    regions: tuple[Region, ...] = ()
    parent_prediction: int | None = None  # the prediction that the annotator began with


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioTask:
    """A task; predictions and annotations only when they were asked for."""

    task_id: int
    data: Mapping[str, object]
    meta: Mapping[str, object]  # attributes of the frame: site, camera, condition …
    updated_at: datetime | None  # UTC; moves with every annotation made, changed or deleted
    submitted: int  # annotations
    skipped: int  # annotations that say "skip"
    predictions: tuple[StudioPrediction, ...] = ()
    annotations: tuple[StudioAnnotation, ...] = ()
    drafts: int = 0  # saved by Label Studio by itself; nobody has submitted them

    @property
    def is_finished(self) -> bool:
        """Somebody has submitted or skipped it."""
        return self.submitted + self.skipped > 0


def begun_with(task: StudioTask, annotation: StudioAnnotation) -> tuple[Region, ...]:
    """The regions that an annotator began with; none when nobody knows, or there were none."""
    return next(
        (
            prediction.regions
            for prediction in task.predictions
            if prediction.prediction_id == annotation.parent_prediction
        ),
        (),
    )


def latest_submitted(task: StudioTask) -> StudioAnnotation | None:
    """Of several annotations the one changed last; skips count for nothing beside it."""
    submitted = [annotation for annotation in task.annotations if not annotation.is_skip]
    return max(submitted, key=_age, default=None)


def latest_first(task: StudioTask) -> list[StudioAnnotation]:
    """What each annotator submitted last, the newest first; skips count for nothing."""
    newest: dict[str, StudioAnnotation] = {}
    for annotation in sorted(task.annotations, key=_age, reverse=True):
        if not annotation.is_skip:
            newest.setdefault(annotation.annotator, annotation)
    return list(newest.values())


def studio_task(body: Mapping[str, object], email_of: Callable[[int], str]) -> StudioTask:
    """A task from its JSON.

    Args:
        email_of: the e-mail of a user id, asked where the JSON names people by id.

    Raises:
        CorruptRecordError: it has no id.
    """
    return StudioTask(
        task_id=_id(body, "task"),
        data=_mapping(body.get("data")),
        meta=_mapping(body.get("meta")),
        updated_at=moment(body.get("updated_at")),
        submitted=int(str(body.get("total_annotations") or 0)),
        skipped=int(str(body.get("cancelled_annotations") or 0)),
        predictions=tuple(_prediction(item) for item in _items(body, "predictions")),
        annotations=tuple(_annotation(item, email_of) for item in _items(body, "annotations")),
        drafts=len(_items(body, "drafts")),
    )


def without_prompts(task: StudioTask, tools: frozenset[str]) -> StudioTask:
    """The task without what tools of these names left in its annotations."""
    cleaned = tuple(
        replace(one, regions=tuple(r for r in one.regions if r.get("from_name") not in tools))
        for one in task.annotations
    )
    return replace(task, annotations=cleaned)


def moment(value: object) -> datetime | None:
    """A time from Label Studio's JSON, as UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def region_of(item: Mapping[str, object]) -> Region:
    """A region from its JSON; its content is checked where it is painted."""
    return cast(Region, dict(item))


def number_or_none(value: object) -> float | None:
    """A number from JSON, or None."""
    return float(value) if isinstance(value, int | float) else None


def _age(annotation: StudioAnnotation) -> tuple[datetime, int]:
    return (annotation.at or _EPOCH, annotation.annotation_id)


def _annotation(body: Mapping[str, object], email_of: Callable[[int], str]) -> StudioAnnotation:
    parent = body.get("parent_prediction")
    mark = mark_of(_items(body, "result"))
    return StudioAnnotation(
        annotation_id=_id(body, "annotation"),
        annotator=mark.by if mark else _person(body.get("completed_by"), email_of),
        at=moment(body.get("updated_at") or body.get("created_at")),
        is_skip=bool(body.get("was_cancelled")),
        seconds=number_or_none(body.get("lead_time")),
        regions=tuple(region_of(item) for item in _items(body, "result")),
        parent_prediction=parent if isinstance(parent, int) else None,
    )


def _prediction(body: Mapping[str, object]) -> StudioPrediction:
    return StudioPrediction(
        prediction_id=_id(body, "prediction"),
        model_version=str(body.get("model_version") or ""),
        score=number_or_none(body.get("score")),
        regions=tuple(region_of(item) for item in _items(body, "result")),
    )


def _person(completed_by: object, email_of: Callable[[int], str]) -> str:
    if isinstance(completed_by, Mapping):
        return str(completed_by.get("email") or f"user {completed_by.get('id')}")
    return email_of(completed_by) if isinstance(completed_by, int) else "unknown"


def _id(body: Mapping[str, object], noun: str) -> int:
    found = body.get("id")
    if not isinstance(found, int):
        raise CorruptRecordError(f"Label Studio's JSON: {noun} without an id ({str(body)[:80]} …)")
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _items(body: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = body.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
