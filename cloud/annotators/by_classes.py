"""The way to people when classes have changed: every task keeps the classes it was offered with.

New drafts go out with the present label map. What people do in a task from before the change is
read with the label map of that task, and its annotation says so; whoever trains on it reads it as
what it became. So a round in which people are at work goes on as it began.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud.loop import Annotators, Pulled
from lifelong.labels.map_history import LabelMapHistory
from lifelong.records.ids import SampleId
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation, Skip


@dataclass(frozen=True, slots=True)
class _Pulled:
    """Implements the loop's `Pulled`."""

    annotations: tuple[Annotation, ...]
    skips: tuple[Skip, ...]


class AnnotatorsByClasses:
    """Annotators of several label maps as one; implements the loop's `Annotators`."""

    def __init__(self, history: LabelMapHistory, make: Callable[[LabelMap], Annotators]) -> None:
        """Args: `make` opens the way to people for a label map; asked once for each."""
        self._history = history
        self._make = make
        self._made: dict[str, Annotators] = {}
        self._of(history.current)  # what is wrong with the configuration is said at once

    @property
    def present(self) -> Annotators:
        """The way to people for the present label map."""
        return self._of(self._history.current)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts; those of an earlier label map were offered before a restore."""
        places: dict[str, list[int]] = {}
        for place, draft in enumerate(drafts):
            where = f"draft of sample {draft.sample_id}"
            drawn = self._history.map_of(draft.label_map_digest, where)
            places.setdefault(drawn.digest, []).append(place)
        made: dict[int, AnnotationTask] = {}
        for digest, some in places.items():
            at = self._of(self._history.map_of(digest, "drafts"))
            made |= zip(some, at.push([drafts[place] for place in some]), strict=True)
        return [made[place] for place in range(len(drafts))]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What is finished, each task read with its own classes.

        Raises:
            LabelMapChangeError: a task of a label map that nobody knows.
        """
        found = [at.pull(group) for at, group in self._by_classes(tasks)]
        return _Pulled(
            annotations=tuple(one for pulled in found for one in pulled.annotations),
            skips=tuple(one for pulled in found for one in pulled.skips),
        )

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """Show the open tasks in this order; what that takes is the same for all classes."""
        self.present.sort(tasks, order)

    def _by_classes(
        self, tasks: Sequence[AnnotationTask]
    ) -> list[tuple[Annotators, list[AnnotationTask]]]:
        groups: dict[str, list[AnnotationTask]] = {}
        for task in tasks:
            where = f"task {task.task_id} of round {task.round_number}"
            painted = self._history.map_of(task.label_map_digest, where)
            groups.setdefault(painted.digest, []).append(task)
        return [
            (self._of(self._history.map_of(digest, "tasks")), group)
            for digest, group in groups.items()
        ]

    def _of(self, label_map: LabelMap) -> Annotators:
        if label_map.digest not in self._made:
            self._made[label_map.digest] = self._make(label_map)
        return self._made[label_map.digest]
