"""Pictures out of Label Studio: an export file, JSON or JSON-MIN, or a project as it stands.

Only what somebody submitted counts: drafts, predictions and skips never become a picture.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from annotation.exports.image_names import ImageNames, renamed
from annotation.exports.picture_items import Item, LeftOut, Refused, sha256_of
from annotation.exports.scene_splits import SPLITS
from annotation.formats.label_studio_json import Entry, entries_of_export, task_of_entries
from annotation.labelled_pictures import (
    LabelledPicture,
    Provenance,
    picture_from_annotation,
    picture_from_mask,
)
from annotation.review.consensus import consensus
from annotation.studio_tasks import StudioTask, latest_submitted
from annotation.task_fields import SAMPLE
from lifelong.errors import LifelongError, RecordError, ShapeError
from lifelong.links.durable_files import UNFINISHED
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import MAX_PIXELS

Annotations = Literal["latest", "all", "consensus"]

_IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSource:
    """The tasks of an export file."""

    path: Path
    label_map: LabelMap
    annotations: Annotations = "latest"  # which of several annotations of a task
    names: ImageNames = field(default_factory=ImageNames)
    kind: str = "label-studio"

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        """Annotated tasks; those that nobody has submitted are left out.

        Raises:
            CorruptRecordError: the file is no export.
        """
        for number, entries in enumerate(entries_of_export(self.path)):
            where = f"{self.path.name}, entry {number}"
            try:
                task = task_of_entries(_numbered(entries, number), where)
                where = f"task {task.task_id}"
                submitted = tuple(one for one in task.annotations if not one.is_skip)
                if not submitted:
                    why = "skipped" if task.annotations else "not annotated"
                    yield LeftOut(where=where, why=why)
                    continue
                reference = image_reference(task)
                # What we wrote ourselves says its name; nobody has to guess it.
                is_ours = SAMPLE in task.data or task.meta.get("split") in SPLITS
                told = task.meta.get("name") if is_ours else None
                name = self.names.name_of(str(told) if told else reference, where)
            except LifelongError as error:
                yield Refused(where=where, error=str(error))
                continue
            yield from self._items_of(replace(task, annotations=submitted), reference, name)

    def _items_of(self, task: StudioTask, reference: str, name: str) -> Iterator[Item]:
        common = Item(
            where=f"task {task.task_id}",
            name=name,
            base=name,
            scene=str(task.meta.get("scene") or task.meta.get("site") or ""),
            split=split if (split := str(task.meta.get("split"))) in SPLITS else "",
            image=reference,
        )
        if self.annotations == "all":
            for one in task.annotations:
                yield replace(
                    common,
                    where=f"{common.where}, annotation {one.annotation_id}",
                    name=renamed(name, f"-annotation-{one.annotation_id}"),
                    payload=replace(task, annotations=(one,)),
                )
        elif self.annotations == "consensus":
            yield replace(common, payload=task)
        else:
            latest = latest_submitted(task)
            chosen = () if latest is None else (latest,)
            yield replace(common, payload=replace(task, annotations=chosen))

    def read(self, item: Item) -> LabelledPicture:
        """The picture of one task.

        Raises:
            LabelMapError, ShapeError, CorruptRecordError: as `picture_from_annotation`; annotations
                of different sizes have no consensus.
        """
        task = item.payload
        assert isinstance(task, StudioTask)
        _check_pixels(task, item.where)
        pictures = [
            picture_from_annotation(item.name, task, one, self.label_map, image=item.image)
            for one in task.annotations
        ]
        if len(pictures) == 1:
            return replace(pictures[0], scene=item.scene)
        return replace(_agreed(item, pictures, self.label_map), scene=item.scene)

    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256_of(self.path)


def _check_pixels(task: StudioTask, where: str) -> None:
    """A few bytes can claim a picture of any size; nobody paints it to find out."""
    for annotation in task.annotations:
        for region in annotation.regions:
            sides = (region.get("original_width"), region.get("original_height"))
            width, height = (side if isinstance(side, int) else 0 for side in sides)
            if width * height > MAX_PIXELS:
                raise ShapeError(
                    f"{where}: drawn on {width}x{height} pixels, more than the {MAX_PIXELS} that "
                    "are read"
                )


def _numbered(entries: tuple[Entry, ...], number: int) -> tuple[Entry, ...]:
    """Files for an import have no ids yet: tasks and annotations get their places instead."""
    if len(entries) > 1 or "id" in entries[0] or "annotation_id" in entries[0]:
        return entries
    found = entries[0].get("annotations")
    annotations = [
        {"id": place, **one}
        for place, one in enumerate(found if isinstance(found, list) else [], start=1)
        if isinstance(one, Mapping)
    ]
    return ({**entries[0], "id": number, "annotations": annotations, "predictions": []},)


def image_reference(task: StudioTask) -> str:
    """Where a task's image lies: the field `image`, or the only field that looks like one.

    Raises:
        RecordError: no such field, or several; names the task and its fields.
    """
    value = task.data.get(_IMAGE)
    if isinstance(value, str):
        return value
    found = [
        text
        for name, text in task.data.items()
        if isinstance(text, str)
        and not name.startswith("cornerloop")
        and ("/" in text or Path(text).suffix)
    ]
    if len(found) == 1:
        return found[0]
    raise RecordError(
        f"task {task.task_id}: which of the fields {', '.join(task.data) or '(none)'} is the "
        "image? Its data should have one named 'image'"
    )


def _agreed(item: Item, pictures: list[LabelledPicture], label_map: LabelMap) -> LabelledPicture:
    """Several annotations of one task as one picture without instances."""
    sizes = {(picture.height, picture.width) for picture in pictures}
    if len(sizes) > 1:
        raise RecordError(f"{item.where}: annotated on images of different sizes {sorted(sizes)}")
    told = [picture.provenance for picture in pictures]
    times = [one.annotated_at for one in told if one.annotated_at is not None]
    return picture_from_mask(
        item.name,
        consensus([picture.mask() for picture in pictures]),
        label_map,
        image=item.image,
        provenance=Provenance(
            task_id=told[0].task_id,
            annotator=", ".join(sorted({one.annotator for one in told if one.annotator})),
            annotated_at=max(times, default=None),
            model_version=told[0].model_version,
        ),
    )


class SubmittedTasks(Protocol):
    """What is asked of a running Label Studio; `annotation.label_studio.LabelStudio` does it."""

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        """The next tasks by id that somebody submitted."""


def snapshot(studio: SubmittedTasks, project_id: int, path: Path) -> int:
    """Write what people have submitted so far as an export file; returns the number of tasks.

    People go on working: two looks at a project are two data sets, so an export works on one.
    A page of tasks is in memory at a time; the file is whole or absent.

    Raises:
        LabelStudioError: Label Studio failed.
    """
    temporary = path.with_name(f"{UNFINISHED}{path.name}")
    count, last = 0, 0
    with temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        while page := studio.submitted_after(project_id, last):
            for task in sorted(page, key=lambda task: task.task_id):
                file.write(",\n" if count else "\n")
                json.dump(_as_exported(task), file, ensure_ascii=False)
                count, last = count + 1, max(last, task.task_id)
        file.write("\n]\n")
    temporary.replace(path)
    return count


def _as_exported(task: StudioTask) -> Mapping[str, object]:
    """A task as Label Studio's JSON export has it, as far as we read it."""
    begun = {one.parent_prediction for one in task.annotations}
    return {
        "id": task.task_id,
        "data": dict(task.data),
        "meta": dict(task.meta),
        "updated_at": task.updated_at.isoformat() if task.updated_at else None,
        "annotations": [
            {
                "id": one.annotation_id,
                "completed_by": {"email": one.annotator},
                "updated_at": one.at.isoformat() if one.at else None,
                "was_cancelled": one.is_skip,
                "lead_time": one.seconds,
                "parent_prediction": one.parent_prediction,
                "result": list(one.regions),
            }
            for one in task.annotations
        ],
        # Which model drafted; and the draft where somebody began with it: what was added to one of
        # its regions belongs to that region.
        "predictions": [
            {
                "id": one.prediction_id,
                "model_version": one.model_version,
                "score": one.score,
                "result": list(one.regions) if one.prediction_id in begun else [],
            }
            for one in task.predictions
        ],
    }
