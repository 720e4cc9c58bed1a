"""Drafts go out to people: tasks with predictions, each sample of a round once.

A task is found again by the sample and round in its data, never by its id alone. A push that was
cut off, on our side or on Label Studio's, is completed by the next one without twins.
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol, cast

from annotation.draft_regions import DraftShapes
from annotation.project import (
    ImageAddresses,
    OurProject,
    Projects,
    ensure_project,
    ensure_readable,
)
from annotation.project_settings import (
    Settings,
    bucket_of,
    ensure_backend,
    ensure_bucket,
    ensure_settings,
)
from annotation.queue_order import OrderStudio, ensure_view, first_place
from annotation.studio_tasks import StudioTask
from annotation.task_fields import RANK, SAMPLE
from annotation.tasks import model_version_of, task_json
from annotation.webhooks import Webhooks, ensure_webhook
from lifelong.errors import LabelStudioError, LabelStudioRefusedError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask, PreAnnotation
from lifelong.sections.annotation import LabelStudioSection

logger = logging.getLogger(__name__)

_BATCH = 100  # drafts whose masks are in memory at a time


class PushStudio(Projects, Settings, OrderStudio, Webhooks, Protocol):
    """What is asked of Label Studio to offer tasks."""

    def import_tasks(self, project_id: int, tasks: Sequence[dict[str, object]]) -> None: ...

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def delete_task(self, task_id: int) -> None: ...

    def show_predictions(self, project_id: int, model_version: str) -> None: ...


class Pushing:
    """The way out; every call may be repeated."""

    def __init__(
        self,
        *,
        storage: Storage,
        studio: PushStudio,
        label_map: LabelMap,
        section: LabelStudioSection,
        journal: Journal,
        webhook_secret: str,
        other_names: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            other_names: as `ensure_project` takes them.
            webhook_secret: what Label Studio's hints must carry; used with `webhook_url` only.

        Raises:
            ConfigError: Label Studio could not show images from this storage.
            LabelMapError: the section names a class that does not exist.
        """
        self._storage = storage
        self._studio = studio
        self._label_map = label_map
        self._section = section
        self._journal = journal
        self._webhook_secret = webhook_secret
        self._other_names = other_names
        self._bucket = bucket_of(storage.url)
        self._told_keys: set[int] = set()  # projects that know the bucket's present keys
        self._told_password: set[int] = set()  # projects that know the model's present password
        self._addresses = ImageAddresses(storage.url, section.local_files_root)
        self._shapes = DraftShapes(
            mode=section.draft,
            tolerance=section.polygon_tolerance_px,
            by_class=section.draft_by_class,
        ).checked(label_map)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people; those that are already there stay as they are.

        Returns:
            One task a draft, in the drafts' order.

        Raises:
            ProjectMismatchError: the project does not fit the label map.
        """
        if not drafts:
            return []
        project = ensure_project(
            self._studio, self._section.project, self._label_map, self._other_names
        )
        self._prepare(project.project_id, [draft.image_key for draft in drafts])
        tasks = []
        ordered = sorted(drafts, key=lambda draft: draft.round_number)
        for number, of_round in groupby(ordered, key=lambda draft: draft.round_number):
            tasks += self._push_round(project, number, list(of_round))
        self._connect(project.project_id, ordered[-1].round_number)
        found = {(task.round_number, task.sample_id): task for task in tasks}
        return [found[draft.round_number, draft.sample_id] for draft in drafts]

    def _prepare(self, project_id: int, image_keys: list[str]) -> None:
        """What a project needs before there are tasks in it."""
        ensure_settings(self._studio, project_id)
        ensure_readable(self._studio, project_id, self._addresses, image_keys)
        if self._bucket is not None:
            keys_sent = project_id in self._told_keys
            ensure_bucket(self._studio, project_id, self._bucket, keys_sent=keys_sent)
            self._told_keys.add(project_id)

    def _connect(self, project_id: int, newest: RoundNumber) -> None:
        """What a project needs besides tasks with drafts: order, model, hints.

        People can work without model and hints, so Label Studio's refusal is only told.
        """
        ensure_view(self._studio, project_id, newest)
        refusals = []
        if self._section.ml_backend:
            refusal = ensure_backend(
                self._studio,
                project_id,
                self._section.ml_backend,
                password_sent=project_id in self._told_password,
            )
            refusals.append(refusal)
            if not refusal:
                self._told_password.add(project_id)
        try:
            ensure_webhook(
                self._studio,
                project_id,
                url=self._section.webhook_url,
                secret=self._webhook_secret,
            )
        except LabelStudioRefusedError as error:
            refusals.append(f"no hints from Label Studio: {error}")
        for refusal in filter(None, refusals):
            logger.warning("project %d: %s", project_id, refusal)
            self._journal.event("project.refused", project_id=project_id, reason=refusal)

    def _push_round(
        self, project: OurProject, number: RoundNumber, drafts: list[PreAnnotation]
    ) -> list[AnnotationTask]:
        project_id = project.project_id
        there = self._tasks_by_sample(project_id, number)
        missing = list({d.sample_id: d for d in drafts if d.sample_id not in there}.values())
        places = {draft.sample_id: first_place(i) for i, draft in enumerate(drafts)}
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            self._studio.import_tasks(
                project_id, [self._task_json(d, project, places[d.sample_id]) for d in batch]
            )
        self._studio.show_predictions(project_id, model_version_of(number))
        # Label Studio's own word on what arrived: an earlier request may have come through late.
        there = self._tasks_by_sample(project_id, number)
        lost = [draft.sample_id for draft in drafts if draft.sample_id not in there]
        if lost:
            raise LabelStudioError(
                f"Label Studio took {len(lost)} tasks of round {number} but does not list them "
                f"({lost[0]} …); look at project {project_id}"
            )
        for draft in missing:
            self._journal.event(
                "task.pushed",
                sample_id=draft.sample_id,
                round_number=number,
                project_id=project_id,
                task_id=there[draft.sample_id].task_id,
            )
        logger.info("pushed %d tasks of round %d, %d are new", len(drafts), number, len(missing))
        return [
            AnnotationTask(
                sample_id=draft.sample_id,
                round_number=number,
                project_id=project_id,
                task_id=there[draft.sample_id].task_id,
                draft_key=draft.mask_key,
            )
            for draft in drafts
        ]

    def _task_json(
        self, draft: PreAnnotation, project: OurProject, place: str
    ) -> dict[str, object]:
        mask = mask_from_png(self._storage.get(draft.mask_key), draft.mask_key)
        body = task_json(
            draft,
            mask,
            image_url=self._addresses.url(draft.image_key),
            unsure_url=self._addresses.url(draft.unsure_key) if draft.unsure_key else "",
            label_map=self._label_map,
            shapes=self._shapes,
            tools=project.tools,
        )
        return body | {"data": {**cast(Mapping[str, object], body["data"]), RANK: place}}

    def _tasks_by_sample(self, project_id: int, number: RoundNumber) -> dict[str, StudioTask]:
        """The round's tasks; of twins the one with work in it, or the oldest, is kept.

        Twins appear when a request of ours timed out while Label Studio still carried it out.
        """
        by_sample: dict[str, StudioTask] = {}
        listed = self._studio.round_tasks(project_id, number)
        for task in sorted(listed, key=lambda task: (not task.is_finished, task.task_id)):
            sample_id = str(task.data.get(SAMPLE))
            if sample_id not in by_sample:
                by_sample[sample_id] = task
            elif not task.is_finished:
                logger.warning("task %d is a twin of %s: deleted", task.task_id, sample_id)
                self._studio.delete_task(task.task_id)
        return by_sample
