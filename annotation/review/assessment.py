"""What people submitted for a task, read, compared with each other and with the draft.

`annotation/review/standing.py` has the rules; here are the pixels that they ask for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotation.polygons import Patch, paint_in_order
from annotation.regions import Region, labelled_patches, painted_regions, with_gains
from annotation.review.agreement import agreement, between, boundary_agreement
from annotation.review.consensus import consensus
from annotation.review.standing import Decision, Standing, standing
from annotation.studio_tasks import StudioAnnotation, StudioTask, begun_with
from lifelong.errors import ShapeError
from lifelong.links.storage import Storage
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask
from lifelong.sections.review import ReviewSection

Pieces = tuple[tuple[Region, int, Patch], ...]  # region, class id, its pixels as drawn


@dataclass(frozen=True, slots=True)
class Reading:
    """One annotation as pixels."""

    mask: NDArray[np.uint8]  # (H, W), class ids, 255 where nothing is painted
    pieces: Pieces


@dataclass(slots=True)
class Readings:
    """The annotations of one task as pixels, each read once and only when asked for."""

    read: Callable[[StudioAnnotation], Reading]
    draft: NDArray[np.uint8] | None  # (H, W); None when the task has none
    _known: dict[int, Reading] = field(default_factory=dict)

    def of(self, annotation: StudioAnnotation) -> Reading:
        """One of them.

        Raises:
            RecordError: it cannot be read; names task, annotation and region.
        """
        if annotation.annotation_id not in self._known:
            self._known[annotation.annotation_id] = self.read(annotation)
        return self._known[annotation.annotation_id]

    def between_people(self, ones: Sequence[StudioAnnotation]) -> tuple[float, float] | None:
        """Mean mIoU and boundary F between annotators; None when there is one alone."""
        return between([self.of(one).mask for one in ones]) if len(ones) > 1 else None

    def with_draft(self, one: StudioAnnotation) -> tuple[float, float] | None:
        """mIoU and boundary F of an annotation beside the draft; None without a draft."""
        if self.draft is None:
            return None
        mask = self.of(one).mask
        return (
            agreement(self.draft, mask).miou,
            boundary_agreement(self.draft, mask).mean_f,
        )


class Assessor:
    """Says how tasks stand."""

    def __init__(
        self,
        *,
        storage: Storage,
        label_map: LabelMap,
        rules: ReviewSection,
        classes_of: Callable[[int], Mapping[str, str]],
    ) -> None:
        """`classes_of` a project: what its labels mean, as `labeling_config.classes_of` reads."""
        self._storage = storage
        self._label_map = label_map
        self._rules = rules
        self._classes_of = classes_of

    def assess(
        self, task: AnnotationTask, full: StudioTask, decisions: Sequence[Decision]
    ) -> tuple[Standing, Readings]:
        """How a task stands, and what was submitted.

        Raises:
            RecordError: an annotation that had to be compared cannot be read.
        """
        readings = self.readings(task, full)
        stands = standing(
            full, decisions, self._rules, disagree=lambda ones: self._disagree(ones, readings)
        )
        return stands, readings

    def readings(self, task: AnnotationTask, full: StudioTask) -> Readings:
        """The annotations of a task, to be read when asked for."""
        draft = None
        if task.draft_key:
            draft = mask_from_png(self._storage.get(task.draft_key), task.draft_key)
        size = None if draft is None else (draft.shape[0], draft.shape[1])

        def read(annotation: StudioAnnotation) -> Reading:
            where = f"task {full.task_id}, annotation {annotation.annotation_id}"
            if not painted_regions(annotation.regions):
                raise ShapeError(f"{where}: submitted without a region; nothing to learn from")
            found, drawn_on = self.pieces(
                annotation.regions, task.project_id, size=size, where=where
            )
            seen = with_gains(found, begun_with(full, annotation), drawn_on, where)
            mask = paint_in_order([(class_id, patch) for _, class_id, patch in seen], *drawn_on)
            return Reading(mask, found)

        return Readings(read, draft)

    def pieces(
        self,
        regions: Sequence[Region],
        project_id: int,
        *,
        size: tuple[int, int] | None,
        where: str,
    ) -> tuple[Pieces, tuple[int, int]]:
        """Regions of a project with their classes and pixels, and the (height, width) under them.

        Raises:
            RecordError: as `annotation.regions.labelled_patches`.
        """
        found, drawn_on = labelled_patches(
            regions,
            self._label_map,
            size=size,
            where=where,
            classes=self._classes_of(project_id),
        )
        return tuple(found), drawn_on

    def merged(
        self, counted: Sequence[StudioAnnotation], readings: Readings
    ) -> tuple[NDArray[np.uint8], tuple[StudioAnnotation, ...]]:
        """The mask of a task, (H, W) uint8, and the annotations it is made of.

        Raises:
            RecordError: one of them cannot be read, or they are drawn on different sizes.
        """
        if self._rules.merge == "latest" or len(counted) == 1:
            return readings.of(counted[-1]).mask, (counted[-1],)
        return consensus([readings.of(one).mask for one in counted]), tuple(counted)

    def _disagree(self, ones: Sequence[StudioAnnotation], readings: Readings) -> bool:
        rules = self._rules
        if not rules.agree_below and not rules.boundary_below:
            return False
        if rules.compare == "draft":
            pairs = [readings.with_draft(one) for one in ones]
        else:
            pairs = [readings.between_people(ones)]
        return any(
            miou < rules.agree_below or outline < rules.boundary_below
            for miou, outline in (pair for pair in pairs if pair is not None)
        )
