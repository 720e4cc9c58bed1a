"""The way to the annotators and back, through one Label Studio project."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from annotation.pulling import Pulled, Pulling, PullStudio
from annotation.pushing import Pushing, PushStudio
from lifelong.annotation_config import LabelStudioSection
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import AnnotationTask, PreAnnotation


class Studio(PushStudio, PullStudio, Protocol):
    """What is asked of Label Studio; `annotation.label_studio.LabelStudio` does it."""


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
    ) -> None:
        """
        Raises:
            ConfigError: Label Studio could not show images from this storage.
        """
        self._pushing = Pushing(
            storage=storage,
            studio=studio,
            label_map=label_map,
            section=section,
            journal=journal,
        )
        self._pulling = Pulling(
            storage=storage, studio=studio, label_map=label_map, journal=journal, now=now
        )

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people; see `Pushing.push`."""
        return self._pushing.push(drafts)

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished; see `Pulling.pull`."""
        return self._pulling.pull(tasks)
