"""The way to the annotators and back, through one Label Studio project."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from annotation.pulling import Pulled, Pulling, PullStudio
from annotation.pushing import Pushing, PushStudio
from annotation.queue_order import QueueOrder
from annotation.review.audits import Audits
from annotation.review.blank_drafts import blanked, is_blank
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import AnnotationTask, PreAnnotation
from lifelong.sections.annotation import LabelStudioSection
from lifelong.sections.review import ReviewSection


class Studio(PushStudio, PullStudio, Protocol):
    """What is asked of Label Studio; `annotation.label_studio.LabelStudio` does it."""

    def set_annotators(self, project_id: int, count: int) -> None: ...


class Exchange:
    """Drafts out (`annotation/pushing.py`), corrections back (`annotation/pulling.py`).

    Every step may be repeated safely. `push` and `pull` raise LabelStudioUnavailableError and
    StorageUnavailableError when the other side is away; nothing is lost, call again.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        studio: Studio,
        label_map: LabelMap,
        section: LabelStudioSection,
        journal: Journal,
        now: Callable[[], datetime],
        webhook_secret: str = "",
        review: ReviewSection | None = None,
        audits: Audits | None = None,
        other_names: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            other_names: of classes as they were called before or after a change of the label map;
                see `annotation.project.ensure_project`.
            webhook_secret: what Label Studio's hints must carry; used with `webhook_url` only.
            audits: adds tasks with known answers to every round (`annotation/review/audits.py`).

        Raises:
            ConfigError: Label Studio could not show images from this storage.
        """
        self._storage = storage
        self._studio = studio
        self._rules = review or ReviewSection()
        self._audits = audits
        self._pushing = Pushing(
            storage=storage,
            studio=studio,
            label_map=label_map,
            section=section,
            journal=journal,
            webhook_secret=webhook_secret,
            other_names=other_names,
        )
        self._order = QueueOrder(studio, section.resort_at_once)
        self._pulling = Pulling(
            storage=storage,
            studio=studio,
            label_map=label_map,
            journal=journal,
            now=now,
            rules=self._rules,
            other_names=other_names,
        )

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people, some of them without a draft, with audits among them.

        Returns:
            One task a draft, in the drafts' order; audits are not among them.

        Raises:
            ProjectMismatchError: the project does not fit the label map.
        """
        if not drafts:
            return []
        offered = list(drafts) if self._audits is None else self._audits.among(drafts)
        pushed = self._pushing.push([self._as_shown(draft) for draft in offered])
        made = [
            replace(
                task,
                draft_key=draft.mask_key,
                drafted_by=drafted_by(draft),
                is_blank=self._is_blank(draft),
                label_map_digest=draft.label_map_digest,
            )
            for draft, task in zip(offered, pushed, strict=True)
        ]
        self._studio.set_annotators(made[0].project_id, self._rules.annotators)
        if self._audits is not None:
            made = self._audits.noted(made)
        by_sample = {(task.round_number, task.sample_id): task for task in made}
        return [by_sample[draft.round_number, draft.sample_id] for draft in drafts]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished; see `Pulling.pull`."""
        pulled = self._pulling.pull(tasks)
        if self._audits is not None:
            rounds = sorted({task.round_number for task in tasks})
            self._audits.score(rounds, self._studio, self._pulling.assessor)
        return pulled

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """Show the open tasks of a round in this order; see `annotation/queue_order.py`."""
        self._order.sort(tasks, order)

    def _is_blank(self, draft: PreAnnotation) -> bool:
        return is_blank(draft.sample_id, self._rules.blank_share)

    def _as_shown(self, draft: PreAnnotation) -> PreAnnotation:
        return blanked(draft, self._storage) if self._is_blank(draft) else draft


def drafted_by(draft: PreAnnotation) -> str:
    """The models behind a draft, as costs are counted by them."""
    return f"{draft.proposed_by}+{draft.labelled_by}"
