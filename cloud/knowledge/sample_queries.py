"""Which samples of the knowledge base are asked for: by what they show and how they came.

A sample is joined with its example (`example_queries.py`), where it came from an edge: attributes,
scores, novelty, time, the model that was unsure. What is asked of the sample alone is
looked at first, so that few examples need be read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cloud.knowledge.example_queries import ExampleQuery
from cloud.knowledge.forget_scope import people
from cloud.selecting.present_counts import Counted, as_written
from lifelong.errors import ConfigError, CorruptRecordError, ObjectNotFoundError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.keys import example_record_key
from lifelong.records.samples import HardExample, Sample, Split
from lifelong.records.wire import from_json, json_object

_ASKS_NOTHING = ExampleQuery()
_NOTES = "reviews"  # reviewers say there why


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSample:
    """A sample with the example that it was, if it came from an edge."""

    sample: Sample
    example: HardExample | None
    notes: tuple[str, ...] = ()  # what reviewers wrote about it


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleQuery:
    """What a sample must be to be told of; empty fields ask nothing."""

    example: ExampleQuery = field(default_factory=ExampleQuery)
    class_id: int | None = None
    min_pixels: int = 1  # of that class
    task: str = ""
    split: Split | None = None
    device: str = ""
    annotator: str = ""
    trained: str = ""  # a version that was trained on or replayed it; a beginning will do
    text: str = ""  # in attributes, reasons or notes, whatever the case
    limit: int = 0  # 0: all

    def answer(
        self, kb: KnowledgeBase, storage: Storage, counted: Counted = as_written
    ) -> Iterator[FoundSample]:
        """The samples that fit, in the order they became known; `counted` reads their classes.

        Raises:
            StorageError: storage cannot be reached.
            CorruptRecordError: an example's record was damaged; names it.
        """
        used = self._used_by(kb)
        notes = _notes(storage) if self.text else {}
        count = 0
        for sample in map(counted, kb.samples.values()):
            if not self._fits_sample(sample) or (used is not None and sample.sample_id not in used):
                continue
            found = FoundSample(
                sample=sample,
                example=example_of(sample.sample_id, storage),
                notes=notes.get(sample.sample_id, ()),
            )
            if self._fits_example(found.example) and self._says(found):
                yield found
                count += 1
                if count == self.limit:
                    return

    def _fits_sample(self, sample: Sample) -> bool:
        return (
            (self.class_id is None or sample.class_pixels.get(self.class_id, 0) >= self.min_pixels)
            and self.task in ("", sample.learning_task)
            and self.split in (None, sample.split)
            and self.device in ("", sample.edge_id)
            and (not self.annotator or self.annotator in people(sample.annotator))
        )

    def _fits_example(self, example: HardExample | None) -> bool:
        asked = replace(self.example, order=_ASKS_NOTHING.order)
        if example is None:  # of a sample without one nothing of this is known
            return asked == _ASKS_NOTHING
        return asked.fits(example)

    def _says(self, found: FoundSample) -> bool:
        wanted = self.text.casefold()
        return not wanted or any(wanted in text.casefold() for text in _texts(found))

    def _used_by(self, kb: KnowledgeBase) -> frozenset[SampleId] | None:
        if not self.trained:
            return None
        versions = [v for key, v in kb.versions.items() if key.startswith(self.trained)]
        if not versions:
            raise ConfigError(
                f"--trained {self.trained!r}: no such version; see `cornerloop kb show`"
            )
        return frozenset(s for v in versions for s in (*v.trained_on, *v.replayed))


def example_of(sample_id: SampleId, storage: Storage) -> HardExample | None:
    """The example that a sample was; None for one that came with its labels."""
    key = example_record_key(sample_id)
    try:
        return from_json(HardExample, storage.get(key), key)
    except ObjectNotFoundError:
        return None


def range_of(text: str, option: str) -> tuple[float | None, float | None]:
    """`0.2..0.5`, `0.9..`, `..0.3` to the lowest and the highest number that is meant.

    Raises:
        ConfigError: something else, or the lowest is above the highest.
    """
    if not text:
        return None, None
    low, dots, high = text.partition("..")
    try:
        if not dots or not (low or high):
            raise ValueError
        ends = (float(low) if low else None, float(high) if high else None)
        if ends[0] is not None and ends[1] is not None and not ends[0] <= ends[1]:
            raise ValueError
    except ValueError as error:
        raise ConfigError(
            f"{option} {text!r}: write LOW..HIGH, e.g. 0.2..0.5, 0.9.., ..0.3"
        ) from error
    return ends


def as_row(found: FoundSample, names: Mapping[int, str]) -> dict[str, Any]:
    """One answer, JSON-ready; what only an example says is None without one.

    Args:
        names: of the classes.
    """
    sample, example = found.sample, found.example
    return {
        "sample": sample.sample_id,
        "task": sample.learning_task,
        "split": str(sample.split),
        "round": sample.round_number,
        "device": sample.edge_id,
        "annotator": sample.annotator,
        "image": sample.image_key,
        "mask": sample.mask_key,
        "pixels": {names.get(i, str(i)): n for i, n in sorted(sample.class_pixels.items())},
        "captured_at": example.captured_at.isoformat() if example else None,
        "model": example.version_id if example else None,
        "confidence": round(1.0 - example.score, 4) if example else None,
        "novelty": example.novelty if example else None,
        "attributes": dict(example.attributes) if example else {},
        "notes": list(found.notes),
    }


def _texts(found: FoundSample) -> Iterable[str]:
    yield from found.notes
    if found.example is not None:
        yield from found.example.reasons
        for name, value in found.example.attributes.items():
            yield f"{name}={value}"


def _notes(storage: Storage) -> dict[str, tuple[str, ...]]:
    """What reviewers wrote about each sample."""
    found: dict[str, tuple[str, ...]] = {}
    for key in storage.keys(_NOTES):
        parts = key.split("/")
        if len(parts) != 4 or not key.endswith(".json") or not parts[3][0].isdecimal():
            continue
        body = json_object(storage.get(key), key).get("record")
        if not isinstance(body, dict):
            raise CorruptRecordError(f"{key}: no decision")
        if reason := body.get("reason"):
            found[parts[2]] = (*found.get(parts[2], ()), str(reason))
    return found
