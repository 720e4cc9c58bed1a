"""An annotator that knows the answer and works as a person does: only through Label Studio.

It opens tasks that nobody has finished, takes over the draft, repaints the classes that are wrong,
and submits. For tests of the loop it can also skip tasks, or delete them.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import brush_region
from annotation.regions import (
    Region,
    label_map_id,
    mask_from_regions,
    painted_regions,
)
from annotation.studio_tasks import StudioTask
from lifelong.errors import LabelStudioError, RecordError
from lifelong.links.journal import Journal
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

logger = logging.getLogger(__name__)

Truth = Callable[[Mapping[str, str]], NDArray[np.uint8] | None]

# What a person would take, so that a demonstration has plausible numbers to show.
_LOOK_SECONDS = 5.0
_REPAINT_SECONDS = 15.0  # a class


class Desk(Protocol):
    """What an annotator needs of Label Studio."""

    def open_tasks(self, project_id: int) -> list[StudioTask]: ...

    def create_annotation(
        self,
        task_id: int,
        regions: Sequence[Region],
        *,
        seconds: float,
        parent_prediction: int | None,
    ) -> int: ...

    def skip_task(self, task_id: int) -> None: ...

    def delete_task(self, task_id: int) -> None: ...


class ScriptedAnnotator:
    """Corrects the tasks of one project from masks that are known to be right."""

    def __init__(
        self,
        studio: Desk,
        project_id: int,
        label_map: LabelMap,
        truth: Truth,
        *,
        journal: Journal | None = None,
        skip: Collection[int] = (),
        delete: Collection[int] = (),
    ) -> None:
        """`truth` gets the attributes and data of a task (as text) and returns (H, W) uint8 class
        ids, or None when nobody can say: such a task is skipped. `skip` and `delete` count the
        tasks met, from 1.
        """
        self._studio = studio
        self._project_id = project_id
        self._label_map = label_map
        self._truth = truth
        self._journal = journal
        self._skip = frozenset(skip)
        self._delete = frozenset(delete)
        self._met = 0

    def work_once(self) -> int:
        """Finish every open task; returns how many.

        Raises:
            LabelStudioUnavailableError: Label Studio is away; what was submitted stays.
        """
        tasks = self._studio.open_tasks(self._project_id)
        for task in tasks:
            self._met += 1
            if self._met in self._delete:
                self._studio.delete_task(task.task_id)
                self._tell("task.deleted", task)
            elif self._met in self._skip:
                self._studio.skip_task(task.task_id)
                self._tell("task.skipped", task)
            else:
                self._finish(task)
        return len(tasks)

    def run(self, stop: threading.Event, poll_seconds: float) -> None:
        """Work until `stop` is set; a Label Studio that is away for a while is waited for."""
        while not stop.is_set():
            try:
                self.work_once()
            except LabelStudioError as error:
                logger.warning("scripted annotator waits: %s", error)
            stop.wait(poll_seconds)

    def _finish(self, task: StudioTask) -> None:
        truth = self._truth(
            {name: str(value) for name, value in {**task.meta, **task.data}.items()}
        )
        if truth is None or (truth == IGNORE_INDEX).all():
            self._studio.skip_task(task.task_id)
            self._tell("task.skipped", task)
            return
        newest = max(task.predictions, key=lambda one: one.prediction_id, default=None)
        draft = list(newest.regions) if newest is not None else []
        regions, repainted = corrected(draft, truth, self._label_map)
        self._studio.create_annotation(
            task.task_id,
            regions,
            seconds=_LOOK_SECONDS + _REPAINT_SECONDS * repainted,
            parent_prediction=newest.prediction_id if newest is not None else None,
        )
        self._tell("task.annotated", task)

    def _tell(self, event: str, task: StudioTask) -> None:
        logger.info("%s: task %d", event, task.task_id)
        if self._journal is not None:
            self._journal.event(event, task_id=task.task_id, by="scripted annotator")


def corrected(
    draft: Sequence[Region], truth: NDArray[np.uint8], label_map: LabelMap
) -> tuple[list[Region], int]:
    """The draft's regions with every wrong class repainted, and how many classes were touched.

    Regions of classes that are right keep their ids and shapes; a class that is not there loses
    its regions; one that is missing gets a new one.

    Args:
        truth: (H, W), uint8, class ids; 255 stays without a region.
    """
    size = (truth.shape[0], truth.shape[1])
    try:
        kept = painted_regions(draft)
        mask = mask_from_regions(kept, label_map, size=size, where="draft")
        ids = [label_map_id(region, label_map, "draft") for region in kept]
    except RecordError:  # a draft that cannot be read is thrown away
        kept, ids, mask = [], [], np.full(truth.shape, IGNORE_INDEX, dtype=np.uint8)
    present = set(np.unique(truth).tolist()) - {IGNORE_INDEX}
    wrong = {c for c in present | set(ids) if not np.array_equal(mask == c, truth == c)}
    regions = [region for region, c in zip(kept, ids, strict=True) if c not in wrong]
    regions += [_repainted(truth, c, label_map) for c in sorted(wrong & present)]
    if not np.array_equal(mask_from_regions(regions, label_map, size=size, where="truth"), truth):
        # Kept polygons were painted over by what is gone now: repaint everything.
        wrong = present | set(ids)
        regions = [_repainted(truth, c, label_map) for c in sorted(present)]
    return regions, len(wrong)


def _repainted(truth: NDArray[np.uint8], class_id: int, label_map: LabelMap) -> Region:
    region = brush_region(truth == class_id, label_map.names[class_id])
    region["id"] = uuid.uuid4().hex[:10]
    region["origin"] = "manual"
    return region
