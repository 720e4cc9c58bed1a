"""What of a running project an export may use: the rules of review, on tasks as they are read.

Rejected annotations, tasks that wait for a reviewer or an adjudicator, and audit tasks are left
out; labels that a project says by an alias are put back to the names of the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from annotation.labeling_config import classes_of
from annotation.regions import Region
from annotation.review.assessment import Assessor
from annotation.review.standing import Decision, Decisions, Standing
from annotation.studio_tasks import StudioAnnotation, StudioTask
from annotation.task_fields import ROUND, SAMPLE
from lifelong.errors import RecordError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.keys import draft_key
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import AnnotationTask
from lifelong.sections.review import ReviewSection


class ReadStudio(Protocol):
    """What is asked of Label Studio."""

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]: ...

    def label_config(self, project_id: int) -> str: ...


class CountedTasks:
    """The tasks of a project with the annotations that count, and no others."""

    def __init__(
        self, studio: ReadStudio, storage: Storage, label_map: LabelMap, rules: ReviewSection
    ) -> None:
        self._studio = studio
        self._storage = storage
        self._label_map = label_map
        self._rules = rules
        self._decisions = Decisions(storage)
        self._assessor = Assessor(
            storage=storage, label_map=label_map, rules=rules, classes_of=self._classes_of
        )
        self._classes: dict[int, Mapping[str, str]] = {}
        self._rounds: dict[RoundNumber, tuple[Mapping[SampleId, Sequence[Decision]], set[str]]] = {}

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        """The next tasks by id; those of which nothing counts have no annotations."""
        page = self._studio.submitted_after(project_id, task_id)
        return [self._counted(project_id, task) for task in page]

    def _counted(self, project_id: int, task: StudioTask) -> StudioTask:
        chosen = self._chosen(project_id, task)
        skips = tuple(one for one in task.annotations if one.is_skip)
        classes = self._classes_of(project_id)
        named = tuple(_named(one, classes) for one in chosen)
        predictions = tuple(
            replace(one, regions=_renamed(one.regions, classes)) for one in task.predictions
        )
        return replace(task, annotations=(*named, *skips), predictions=predictions)

    def _chosen(self, project_id: int, task: StudioTask) -> tuple[StudioAnnotation, ...]:
        submitted = tuple(one for one in task.annotations if not one.is_skip)
        sample, number = task.data.get(SAMPLE), task.data.get(ROUND)
        if not isinstance(sample, str) or not isinstance(number, int):
            return submitted  # not a task of ours: nothing was decided about it
        decisions, audited = self._of_round(RoundNumber(number))
        if sample in audited:
            return ()
        sample_id = SampleId(sample)
        try:
            stands = self._standing(project_id, task, sample_id, RoundNumber(number), decisions)
        except RecordError:
            return submitted  # the export names what cannot be read
        if stands.counted or self._rules.required:
            return stands.counted
        return () if stands.state == "adjudicate" else stands.live

    def _standing(
        self,
        project_id: int,
        task: StudioTask,
        sample_id: SampleId,
        number: RoundNumber,
        decisions: Mapping[SampleId, Sequence[Decision]],
    ) -> Standing:
        # The draft is read to compare annotations with; without a threshold nobody compares.
        is_compared = bool(self._rules.agree_below or self._rules.boundary_below)
        key = draft_key(number, sample_id)
        record = AnnotationTask(
            sample_id=sample_id,
            round_number=number,
            project_id=project_id,
            task_id=task.task_id,
            draft_key=key if is_compared and self._storage.exists(key) else "",
        )
        return self._assessor.assess(record, task, decisions.get(sample_id, ()))[0]

    def _of_round(
        self, number: RoundNumber
    ) -> tuple[Mapping[SampleId, Sequence[Decision]], set[str]]:
        if number not in self._rounds:
            audited = {
                key.split("/")[2].removesuffix(".json")
                for key in self._storage.keys(f"audits/{number}")
            }
            self._rounds[number] = (self._decisions.of_round(number), audited)
        return self._rounds[number]

    def _classes_of(self, project_id: int) -> Mapping[str, str]:
        if project_id not in self._classes:
            config = self._studio.label_config(project_id)
            self._classes[project_id] = classes_of(config, self._label_map)
        return self._classes[project_id]


def _named(annotation: StudioAnnotation, classes: Mapping[str, str]) -> StudioAnnotation:
    return replace(annotation, regions=_renamed(annotation.regions, classes))


def _renamed(regions: Sequence[Region], classes: Mapping[str, str]) -> tuple[Region, ...]:
    """Regions that say a class by its name."""
    renamed = []
    for region in regions:
        kind, value = region.get("type", ""), region.get("value")
        said = value.get(kind) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping) and isinstance(said, list):
            labels = [classes.get(str(label), label) for label in said]
            renamed.append(Region(**(region | {"value": {**value, kind: labels}})))
        else:
            renamed.append(region)
    return tuple(renamed)
