"""`FakeStudio`: a Label Studio in memory, with the methods and habits of the real one.

It gives a deleted task's id to the next one, never checks regions, and can be away or be cut off
in the middle of an import.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from annotation.page_marks import mark_of
from annotation.project_settings import Backend, Bucket
from annotation.queue_order import View
from annotation.regions import Region
from annotation.studio_tasks import (
    StudioAnnotation,
    StudioPrediction,
    StudioProject,
    StudioTask,
)
from annotation.task_fields import ROUND
from annotation.webhooks import Webhook
from lifelong.errors import LabelStudioRefusedError, LabelStudioUnavailableError


class FakeStudio:
    """Does what `annotation.label_studio.LabelStudio` does, without a server."""

    def __init__(self) -> None:
        self.is_up = True
        self.cut_import_after: int | None = None  # tasks; then it is away until `is_up` is set
        self.import_late = False  # the next import times out and arrives before the one after it
        self.projects: dict[int, StudioProject] = {}
        self.folders: dict[int, list[str]] = {}
        self.shown: dict[int, str] = {}
        self.annotators: dict[int, int] = {}  # project id -> people a task
        self.told: dict[int, dict[str, object]] = {}  # settings by project
        self.tabs: dict[int, tuple[int, View]] = {}  # id -> project, view; the same for the next
        self.hooks: dict[int, tuple[int, Webhook]] = {}
        self.stores: dict[int, tuple[int, Bucket]] = {}
        self.models: dict[int, tuple[int, Backend]] = {}
        self.dead_models: set[str] = set()  # addresses that do not answer
        self.writes = 0  # tasks whose data was replaced
        self.email = "annotator@cornerloop.example"
        self.unique_ids: set[str] = set()
        self._tasks: dict[int, tuple[int, StudioTask]] = {}  # task id -> project id, task
        self._late: list[tuple[int, list[Mapping[str, object]]]] = []
        self._annotations = 0
        self._now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def projects_titled(self, title: str) -> list[StudioProject]:
        self._answer()
        return [project for project in self.projects.values() if project.title == title]

    def create_project(self, title: str, label_config: str, instruction: str) -> int:
        self._answer()
        number = len(self.projects) + 1
        self.projects[number] = StudioProject(
            project_id=number, title=title, label_config=label_config
        )
        self.folders[number] = []
        return number

    def label_config(self, project_id: int) -> str:
        self._answer()
        return self.projects[project_id].label_config

    def set_label_config(self, project_id: int, label_config: str) -> None:
        self._answer()
        self.projects[project_id] = replace(self.projects[project_id], label_config=label_config)

    def local_folders(self, project_id: int) -> list[str]:
        self._answer()
        return list(self.folders[project_id])

    def add_local_folder(self, project_id: int, folder: Path) -> None:
        self._answer()
        self.folders[project_id].append(str(folder))

    def settings(self, project_id: int) -> Mapping[str, object]:
        self._answer()
        return dict(self.told.get(project_id, {}))

    def change_settings(self, project_id: int, changes: Mapping[str, object]) -> None:
        self._answer()
        self.told.setdefault(project_id, {}).update(changes)

    def buckets(self, project_id: int) -> list[Bucket]:
        self._answer()
        return [one for project, one in self.stores.values() if project == project_id]

    def save_bucket(self, project_id: int, bucket: Bucket) -> None:
        self._answer()
        number = bucket.storage_id or max(self.stores, default=0) + 1
        self.stores[number] = (project_id, replace(bucket, storage_id=number))

    def backends(self, project_id: int) -> list[Backend]:
        self._answer()
        return [one for project, one in self.models.values() if project == project_id]

    def save_backend(self, project_id: int, backend: Backend) -> None:
        self._answer()
        if backend.url in self.dead_models:
            raise LabelStudioRefusedError(f"{backend.url} does not answer")
        number = backend.backend_id or max(self.models, default=0) + 1
        self.models[number] = (project_id, replace(backend, backend_id=number))

    def views(self, project_id: int) -> list[View]:
        self._answer()
        return [one for project, one in self.tabs.values() if project == project_id]

    def save_view(self, project_id: int, view: View) -> None:
        self._answer()
        number = view.view_id or max(self.tabs, default=0) + 1
        self.tabs[number] = (project_id, replace(view, view_id=number))

    def delete_view(self, view_id: int) -> None:
        self._answer()
        self.tabs.pop(view_id, None)

    def webhooks(self, project_id: int) -> list[Webhook]:
        self._answer()
        return [one for project, one in self.hooks.values() if project == project_id]

    def save_webhook(self, project_id: int, webhook: Webhook) -> None:
        self._answer()
        number = webhook.webhook_id or max(self.hooks, default=0) + 1
        self.hooks[number] = (project_id, replace(webhook, webhook_id=number))

    def delete_webhook(self, webhook_id: int) -> None:
        self._answer()
        self.hooks.pop(webhook_id, None)

    def set_task_data(self, task_id: int, data: Mapping[str, object]) -> bool:
        self._answer()
        if task_id not in self._tasks:
            return False
        self.writes += 1
        project, task = self._tasks[task_id]
        self._tasks[task_id] = (project, replace(task, data=dict(data), updated_at=self._tick()))
        return True

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, object]]) -> None:
        self._answer()
        late, self._late = self._late, []
        for earlier_project, earlier in late:
            for body in earlier:
                self._add(earlier_project, body)
        if self.import_late:
            self.import_late = False
            self._late.append((project_id, list(tasks)))
            raise LabelStudioUnavailableError("the import timed out")
        for count, body in enumerate(tasks):
            if count == self.cut_import_after:
                self.cut_import_after, self.is_up = None, False
                raise LabelStudioUnavailableError("cut off in the middle of an import")
            self._add(project_id, body)

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]:
        self._answer()
        return [
            replace(task, predictions=(), annotations=())
            for task in self._of(project_id)
            if task.data.get(ROUND) == round_number
        ]

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]:
        self._answer()
        wanted = set(task_ids)
        return [task for task in self._of(project_id) if task.task_id in wanted]

    def open_tasks(self, project_id: int) -> list[StudioTask]:
        self._answer()
        return [task for task in self._of(project_id) if not task.is_finished]

    def task(self, task_id: int) -> StudioTask | None:
        self._answer()
        return self._tasks[task_id][1] if task_id in self._tasks else None

    def delete_task(self, task_id: int) -> None:
        self._answer()
        self._tasks.pop(task_id, None)

    def show_predictions(self, project_id: int, model_version: str) -> None:
        self._answer()
        versions = {p.model_version for task in self._of(project_id) for p in task.predictions}
        if model_version not in versions:
            raise LabelStudioRefusedError(f"no prediction of version {model_version!r}")
        self.shown[project_id] = model_version

    def shown_version(self, project_id: int) -> str:
        return self.shown.get(project_id, "")

    def create_annotation(
        self,
        task_id: int,
        regions: Sequence[Region],
        *,
        seconds: float,
        parent_prediction: int | None,
        unique_id: str | None = None,
    ) -> int:
        if unique_id is not None and unique_id in self.unique_ids:
            self._answer()
            raise LabelStudioRefusedError("answered 409: annotation with this unique id exists")
        made = self._annotate(
            task_id,
            tuple(regions),
            seconds=seconds,
            is_skip=False,
            parent_prediction=parent_prediction,
        )
        self.unique_ids |= {unique_id} if unique_id else set()
        return made

    def skip_task(self, task_id: int) -> None:
        self._annotate(task_id, (), seconds=None, is_skip=True)

    def set_annotators(self, project_id: int, count: int) -> None:
        self._answer()
        self.annotators[project_id] = count

    def annotation_json(self, annotation_id: int) -> dict[str, object]:
        self._answer()
        _, one = self._annotation(annotation_id)
        return {
            "id": one.annotation_id,
            "completed_by": one.annotator,
            "updated_at": str(one.at),
            "lead_time": one.seconds,
            "result": [dict(region) for region in one.regions],
        }

    def delete_annotation(self, annotation_id: int) -> None:
        self._answer()
        task, gone = self._annotation(annotation_id)
        kept = tuple(one for one in task.annotations if one is not gone)
        self._change(
            task.task_id,
            annotations=kept,
            submitted=sum(not one.is_skip for one in kept),
            skipped=sum(one.is_skip for one in kept),
        )

    def change_annotation(self, annotation_id: int, regions: Sequence[Region]) -> None:
        """Update an annotation as a person would."""
        task, old = self._annotation(annotation_id)
        new = replace(old, regions=tuple(regions), at=self._tick())
        self._change(
            task.task_id, annotations=tuple(new if a is old else a for a in task.annotations)
        )

    def save_draft(self, task_id: int, regions: Sequence[Region]) -> None:
        """What the browser does by itself while somebody works."""
        self._change(task_id, drafts=self._tasks[task_id][1].drafts + 1)

    def rename_prediction(self, prediction_id: int, model_version: str) -> None:
        self._answer()
        for _, task in list(self._tasks.values()):
            if any(one.prediction_id == prediction_id for one in task.predictions):
                changed = tuple(
                    replace(one, model_version=model_version)
                    if one.prediction_id == prediction_id
                    else one
                    for one in task.predictions
                )
                self._change(task.task_id, predictions=changed)

    def add_prediction(
        self, task_id: int, model_version: str, regions: Sequence[Region], score: float | None
    ) -> None:
        self._answer()
        task = self._tasks[task_id][1]
        made = StudioPrediction(
            prediction_id=task_id * 10 + len(task.predictions),
            model_version=model_version,
            score=score,
            regions=tuple(regions),
        )
        self._change(task_id, predictions=(*task.predictions, made))

    def close(self) -> None:
        return None

    def _annotation(self, annotation_id: int) -> tuple[StudioTask, StudioAnnotation]:
        for _, task in self._tasks.values():
            for one in task.annotations:
                if one.annotation_id == annotation_id:
                    return task, one
        raise LabelStudioRefusedError(f"no annotation {annotation_id}")

    def _change(self, task_id: int, **changes: Any) -> None:
        project, task = self._tasks[task_id]
        self._tasks[task_id] = (project, replace(task, updated_at=self._tick(), **changes))

    def _answer(self) -> None:
        if not self.is_up:
            raise LabelStudioUnavailableError("the fake Label Studio is away")

    def _of(self, project_id: int) -> list[StudioTask]:
        return [task for _, (project, task) in sorted(self._tasks.items()) if project == project_id]

    def _add(self, project_id: int, body: Mapping[str, Any]) -> None:
        task_id = max(self._tasks, default=0) + 1
        predictions = tuple(
            StudioPrediction(
                prediction_id=task_id * 10 + number,
                model_version=one["model_version"],
                score=one["score"],
                regions=tuple(cast(Region, dict(region)) for region in one["result"]),
            )
            for number, one in enumerate(body["predictions"])
        )
        task = StudioTask(
            task_id=task_id,
            data=body["data"],
            meta=body["meta"],
            updated_at=self._tick(),
            submitted=0,
            skipped=0,
            predictions=predictions,
        )
        self._tasks[task_id] = (project_id, task)

    def _annotate(
        self,
        task_id: int,
        regions: tuple[Region, ...],
        *,
        seconds: float | None,
        is_skip: bool,
        parent_prediction: int | None = None,
    ) -> int:
        self._answer()
        if task_id not in self._tasks:
            raise LabelStudioRefusedError(f"no task {task_id}")
        self._annotations += 1
        project, task = self._tasks[task_id]
        mark = mark_of(regions)
        made = StudioAnnotation(
            annotation_id=self._annotations,
            annotator=mark.by if mark else self.email,
            at=self._tick(),
            is_skip=is_skip,
            seconds=seconds,
            regions=regions,
            parent_prediction=parent_prediction,
        )
        changed = replace(
            task,
            annotations=(*task.annotations, made),
            submitted=task.submitted + (not is_skip),
            skipped=task.skipped + is_skip,
            updated_at=made.at,
        )
        self._tasks[task_id] = (project, changed)
        return made.annotation_id

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now
