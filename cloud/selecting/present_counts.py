"""Pixels of classes, counted as classes of today: for reports, queries and triggers.

What is trained on or judged by is read by `lifelong/labels/readings.py`, which refuses what it
cannot read; here it is left out, since a report must not fail over one picture.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from lifelong.errors import LabelMapChangeError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.map_history import read_history
from lifelong.labels.readings import LabelReader
from lifelong.links.storage import Storage
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.samples import HardExample, Sample


class PresentCounts:
    """Reads the class ids of samples and of nodes' answers as those of one label map."""

    def __init__(self, reader: LabelReader, kb: KnowledgeBase) -> None:
        self._reader = reader
        self._kb = kb

    def sample(self, sample: Sample) -> Sample:
        """The sample with its pixels by classes of today; none where nobody can say."""
        try:
            return self._reader.counted(sample)
        except LabelMapChangeError:
            return replace(sample, class_pixels={})

    def pixels(self, pixels: Mapping[int, int], digest: str) -> Mapping[int, int] | None:
        """Pixels by classes of today, the unknown left out; None where nobody can say."""
        try:
            counted = self._reader.pixels(pixels, digest, "pixels of classes")
        except LabelMapChangeError:
            return None
        return {class_id: n for class_id, n in counted.items() if class_id != IGNORE_INDEX}

    def answered(
        self, example: HardExample, pixels: Mapping[int, int] | None
    ) -> Mapping[int, int] | None:
        """What a node's model saw; as it says where nobody knows the model."""
        version = self._kb.versions.get(example.version_id)
        if version is None or pixels is None:
            return pixels
        return self.pixels(pixels, version.label_map_digest)


def present_counts(storage: Storage, label_map: LabelMap, kb: KnowledgeBase) -> PresentCounts:
    """By the changes that storage keeps."""
    return PresentCounts(LabelReader(read_history(storage, label_map)), kb)


Counted = Callable[[Sample], Sample]


def as_written(sample: Sample) -> Sample:
    """The sample itself: where classes have never changed."""
    return sample
