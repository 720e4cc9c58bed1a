"""`LearningTask`: a condition the model must keep; what a picture's task is called by now.

A name comes from the frame's attribute; `lifelong/allocation.py` finds one by data. Names change:
conditions found in data get one later, and tasks that turn out to be the same are merged.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lifelong.records.conditions import ConditionRuling, TaskMerge, Verdict
from lifelong.records.ids import SampleId
from lifelong.records.samples import Sample

# Which attributes of a frame make its learning task, and what it is called without any of them.
DEFINING_ATTRIBUTES = ("condition",)
GENERAL = "general"

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningTask:
    """A condition such as night or fog, and the samples that stand for it."""

    name: str
    samples: tuple[SampleId, ...]
    class_pixels: Mapping[int, int] = field(default_factory=dict)  # class id -> pixels in all


class TaskNames:
    """What learning tasks are called by now, after every naming and every merge.

    Samples keep the name that was written with them; whoever reads them asks here.
    """

    def __init__(
        self, rulings: Iterable[ConditionRuling] = (), merges: Iterable[TaskMerge] = ()
    ) -> None:
        """Later rulings win; merges hold in the order of their numbers."""
        self._merges = sorted(merges, key=lambda merge: merge.number)
        self._named: dict[SampleId, str] = {}
        for ruling in sorted(rulings, key=lambda ruling: ruling.number):
            for sample_id in ruling.pictures:
                if ruling.verdict is Verdict.NAMED:
                    self._named[sample_id] = ruling.name
                else:
                    self._named.pop(sample_id, None)

    def now(self, task: str) -> str:
        """Today's name of what was called `task`.

        Merges hold one after the other, so that a name may be taken up again and no circle
        arises: after fog -> mist, then mist -> haze, both are called haze.
        """
        for merge in self._merges:
            if task in merge.tasks:
                task = merge.into
        return task

    def all_of(self, samples: Mapping[str, Sample]) -> dict[str, Sample]:
        """Samples by id as `of` answers them."""
        if not self._merges and not self._named:
            return dict(samples)
        return {key: self.of(sample) for key, sample in samples.items()}

    def of(self, sample: Sample) -> Sample:
        """A sample with today's name of its learning task.

        What was given to no condition belongs to the one that its picture was found to show.
        """
        written = sample.learning_task
        if written == GENERAL:
            written = self._named.get(sample.sample_id, GENERAL)
        task = self.now(written)
        return sample if task == sample.learning_task else replace(sample, learning_task=task)


def task_name(
    attributes: Mapping[str, str], defining: tuple[str, ...] = DEFINING_ATTRIBUTES
) -> str:
    """The learning task of a picture with these attributes, fit for a folder's name.

    >>> task_name({"condition": "Heavy Rain", "site": "north"})
    'heavy-rain'
    >>> task_name({"condition": "night", "site": "north"}, ("site", "condition"))
    'north-night'
    >>> task_name({})
    'general'
    """
    values = (attributes.get(name, "").strip().lower() for name in defining)
    parts = [_NOT_IN_NAMES.sub("-", value).strip("-.") for value in values]
    return "-".join(part for part in parts if part) or GENERAL


def learning_tasks(samples: Iterable[Sample]) -> dict[str, LearningTask]:
    """The learning tasks that samples belong to, in the order they were met."""
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        members.setdefault(sample.learning_task, []).append(sample)
    return {name: _task(name, group) for name, group in members.items()}


def is_unseen(attributes: Mapping[str, str], known: Iterable[str]) -> bool:
    """Is this picture of a condition that no known learning task stands for (Sedna: unseen)?"""
    return task_name(attributes) not in set(known)


def _task(name: str, samples: list[Sample]) -> LearningTask:
    pixels: dict[int, int] = {}
    for sample in samples:
        for class_id, count in sample.class_pixels.items():
            pixels[class_id] = pixels.get(class_id, 0) + count
    ids = tuple(sample.sample_id for sample in samples)
    return LearningTask(name=name, samples=ids, class_pixels=dict(sorted(pixels.items())))
