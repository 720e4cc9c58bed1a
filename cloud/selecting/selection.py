"""Which hard examples go to people, within the round's budget, and who of them comes next."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cloud.selecting.doubts import MEMBERS, EnsembleDoubts
from cloud.selecting.picture_features import LENGTH, Features, KeptFeatures
from cloud.selecting.present_counts import PresentCounts
from cloud.selecting.values import score_of, uncertainties
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.picture_values import best_first, class_weights, rarity
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.samples import HardExample, Sample, Split
from lifelong.sections.queue import QueueSection

logger = logging.getLogger(__name__)

Strategy = Callable[
    [Sequence[HardExample], Sequence[HardExample], VersionId | None, int], list[int]
]


class Queue:
    """Orders waiting examples by `queue.strategy`; ties go to the older one, then by id.

    Everything it reads of pictures is kept in storage, so a new process orders as fast as the old
    one, and the same. What cannot be read costs an example its novelty or rarity, never its place
    in the queue; the journal names it once.
    """

    def __init__(
        self,
        *,
        section: QueueSection,
        kb: KnowledgeBase,
        storage: Storage,
        journal: Journal,
        bundle: Callable[[VersionId], ModelBundle],
        counts: PresentCounts | None = None,
    ) -> None:
        """
        Args:
            bundle: the bundle of a version, for the strategy "bald".
            counts: reads pixels of older label maps as what they became; None: there is only one.
        """
        self._counts = counts
        self._section = section
        self._kb = kb
        self._journal = journal
        self._features = KeptFeatures(storage)
        self._doubts = EnsembleDoubts(storage, bundle)
        self._told: set[str] = set()
        self._ordered: tuple[object, tuple[SampleId, ...]] | None = None
        self._centres: dict[SampleId, NDArray[np.float32]] = {}
        strategies: Mapping[str, Strategy] = {
            "expected_value": self._by_value,
            "entropy": partial(_by_score, "entropy"),
            "margin": partial(_by_score, "margin"),
            "bald": self._by_disagreement,
            "random": self._at_random,
            "oldest": _by_age,
        }
        self._strategy = strategies[section.strategy]

    def choose(
        self,
        waiting: Iterable[HardExample],
        *,
        incumbent: VersionId | None,
        budget: int,
        at_least: int,
    ) -> tuple[HardExample, ...]:
        """The best examples in order, at most `budget`; none while too few wait.

        Leftovers of earlier models fill up a round that the incumbent's own doubts have begun;
        they begin none. Also none while more pictures are new than `queue.read_at_once`: those
        are read now, and the next look goes on.
        """
        examples = sorted(waiting, key=_age)
        fresh = [example for example in examples if example.version_id == incumbent]
        if len(fresh) < at_least:
            return ()
        self._kb.refresh()
        if not self._read_some(examples, incumbent):
            return ()
        order = self._strategy(examples, (), incumbent, budget)
        chosen = tuple(examples[index] for index in order)
        self._journal.event(
            "queue.chosen",
            strategy=self._section.strategy,
            waiting=len(examples),
            sample_ids=[str(example.sample_id) for example in chosen],
        )
        return chosen

    def order(
        self,
        open_: Iterable[HardExample],
        *,
        done: Sequence[HardExample],
        incumbent: VersionId | None,
    ) -> tuple[SampleId, ...]:
        """The order in which people should take what is open, after what is done.

        Asked again about the same examples it answers from memory: people take minutes.
        """
        examples = sorted(open_, key=_age)
        asked = (_ids(examples), _ids(done), incumbent)
        if self._ordered is None or self._ordered[0] != asked:
            self._kb.refresh()
            order = self._strategy(examples, done, incumbent, len(examples))
            self._ordered = (asked, tuple(examples[index].sample_id for index in order))
        return self._ordered[1]

    # -- strategies --------------------------------------------------------------------------

    def _by_value(
        self,
        examples: Sequence[HardExample],
        done: Sequence[HardExample],
        incumbent: VersionId | None,
        count: int,
    ) -> list[int]:
        """Uncertainty x novelty x rarity with diversity, by the rules of
        `cloud/selecting/values.py` and `lifelong/picture_values.py`."""
        labelled: dict[int, int] = {}
        for sample in self._taught():
            known = sample if self._counts is None else self._counts.sample(sample)
            for class_id, pixels in known.class_pixels.items():
                labelled[class_id] = labelled.get(class_id, 0) + pixels
        features = [self._features_of(example) for example in (*examples, *done)]
        answered = [
            self._answered(example, one.class_pixels)
            for example, one in zip((*examples, *done), features, strict=True)
        ]
        for seen_classes in answered[len(examples) :]:
            for class_id, pixels in (seen_classes or {}).items():
                labelled[class_id] = labelled.get(class_id, 0) + pixels
        weights = class_weights(labelled)
        worth = uncertainties(examples, incumbent) * np.array(
            [rarity(pixels, weights) for pixels in answered[: len(examples)]]
        )
        points = _rows([one.descriptor for one in features])
        seen = points[len(examples) :]
        centres = np.concatenate([self._known_pictures(), seen[np.isfinite(seen).all(axis=1)]])
        return best_first(
            worth,
            points[: len(examples)],
            centres,
            count=count,
            oldest_every=self._section.oldest_every,
        )

    def _by_disagreement(
        self,
        examples: Sequence[HardExample],
        done: Sequence[HardExample],
        incumbent: VersionId | None,
        count: int,
    ) -> list[int]:
        """BALD by the incumbent; without one by recorded entropy."""
        if incumbent is None:
            return _by_score("entropy", examples, done, incumbent, count)
        values = []
        for example in examples:
            value, reason = self._doubts.of(example, incumbent)
            self._tell(example.sample_id, (reason,) if reason else ())
            values.append(value)
        return sorted(range(len(examples)), key=lambda index: (-values[index], index))[:count]

    def _at_random(
        self,
        examples: Sequence[HardExample],
        _done: Sequence[HardExample],
        _incumbent: VersionId | None,
        count: int,
    ) -> list[int]:
        """An order that only the seed and the ids decide."""

        def draw(index: int) -> bytes:
            text = f"{self._section.seed}:{examples[index].sample_id}"
            return hashlib.sha256(text.encode()).digest()

        return sorted(range(len(examples)), key=draw)[:count]

    # -- reading -----------------------------------------------------------------------------

    def _read_some(self, examples: Sequence[HardExample], incumbent: VersionId | None) -> bool:
        """Look at pictures for the first time, some at once; True when none is left unread."""
        left = self._section.read_at_once
        if self._section.strategy == "expected_value":
            for example in examples:
                if not self._features.knows(example.sample_id):
                    if left == 0:
                        return False
                    left -= 1
                    self._features_of(example)
            for sample in self._taught():
                if sample.sample_id not in self._centres:
                    if left == 0 and not self._features.knows(sample.sample_id):
                        return False
                    left -= not self._features.knows(sample.sample_id)
                    self._centre(sample)
        elif self._section.strategy == "bald" and incumbent is not None:
            for example in examples:
                if not self._doubts.knows(example, incumbent):
                    if left <= 0:
                        return False
                    left -= MEMBERS  # looks of the network at the picture
                    self._doubts.of(example, incumbent)
        return True

    def _answered(
        self, example: HardExample, pixels: Mapping[int, int] | None
    ) -> Mapping[int, int] | None:
        return pixels if self._counts is None else self._counts.answered(example, pixels)

    def _taught(self) -> list[Sample]:
        """What the knowledge base teaches; hold-out samples teach nothing."""
        return [s for s in self._kb.samples.values() if s.split is Split.TRAIN]

    def _known_pictures(self) -> NDArray[np.float64]:
        for sample in self._taught():
            if sample.sample_id not in self._centres:
                self._centre(sample)
        rows = _rows(list(self._centres.values()))
        return rows[np.isfinite(rows).all(axis=1)]

    def _centre(self, sample: Sample) -> None:
        features = self._features.of(sample.sample_id, sample.image_key)
        self._tell(sample.sample_id, features.reasons)
        numbers = features.descriptor
        self._centres[sample.sample_id] = _unread() if numbers is None else numbers

    def _features_of(self, example: HardExample) -> Features:
        features = self._features.of(example.sample_id, example.image_key, example.mask_key)
        self._tell(example.sample_id, features.reasons)
        return features

    def _tell(self, sample_id: SampleId, reasons: Sequence[str]) -> None:
        if reasons and sample_id not in self._told:
            self._told.add(sample_id)
            logger.warning("queue: sample %s cannot be judged: %s", sample_id, "; ".join(reasons))
            self._journal.event("queue.unread", sample_id=sample_id, reasons=list(reasons))


def without(
    examples: Iterable[HardExample], taken: Iterable[Sequence[HardExample]]
) -> list[HardExample]:
    """Examples that no earlier round has taken."""
    gone: set[SampleId] = {example.sample_id for group in taken for example in group}
    return [example for example in examples if example.sample_id not in gone]


def _by_score(
    name: str,
    examples: Sequence[HardExample],
    _done: Sequence[HardExample],
    incumbent: VersionId | None,
    count: int,
) -> list[int]:
    """Most unsure first, what the incumbent was unsure of before all others.

    Scores of different model versions cannot be compared.
    """

    def rank(index: int) -> tuple[bool, float, int]:
        example = examples[index]
        return (example.version_id != incumbent, -score_of(example, name), index)

    return sorted(range(len(examples)), key=rank)[:count]


def _by_age(
    examples: Sequence[HardExample],
    _done: Sequence[HardExample],
    _incumbent: VersionId | None,
    count: int,
) -> list[int]:
    return list(range(min(count, len(examples))))


def _ids(examples: Sequence[HardExample]) -> tuple[SampleId, ...]:
    return tuple(example.sample_id for example in examples)


def _age(example: HardExample) -> tuple[float, int, SampleId]:
    return (example.captured_at.timestamp(), example.sequence, example.sample_id)


def _rows(descriptors: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float64]:
    """(N, LENGTH) float64; NaN where there is none."""
    rows = [_unread() if one is None else one for one in descriptors]
    return np.array(rows, dtype=np.float64).reshape(len(rows), LENGTH)


def _unread() -> NDArray[np.float32]:
    return np.full(LENGTH, np.nan, dtype=np.float32)
