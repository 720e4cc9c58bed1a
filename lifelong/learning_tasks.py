"""`LearningTask`: a condition the model must keep; gives a picture to a seen task or not."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
