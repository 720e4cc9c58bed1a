"""Conditions by data: which learning task a picture is of, and which unseen ones are alike.

The service looks at what arrives. What an operator named by the attribute `condition` keeps that
name. Everything else is given to the known learning task whose prototype is nearest; what is far
from all of them gathers, and when enough of it is alike, a condition is proposed. Until somebody
names it, its pictures are `general`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from cloud.conditions.clusters import centre_of, groups_of
from cloud.conditions.embeddings import Embeddings
from cloud.conditions.likeness import alike
from cloud.conditions.names import Difference, about, differences, provisional_name
from cloud.conditions.places import ENOUGH
from cloud.conditions.rulings import merge_tasks, name_condition, name_of, standing
from cloud.selecting.picture_features import KeptFeatures
from lifelong.allocation import Allocation, Allocator, Centre
from lifelong.knowledge_base import KnowledgeBase
from lifelong.learning_tasks import GENERAL, task_name
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.conditions import Condition, ConditionRuling, TaskMerge
from lifelong.records.ids import SampleId, VersionId, sha256_hex
from lifelong.records.model_versions import Release
from lifelong.records.samples import HardExample
from lifelong.sections.conditions import ConditionsSection

_AT_ONCE = 64  # pictures that are opened in one look; the service has other work
_MOST_GATHERED = 1000  # unseen pictures that are compared, the newest; time grows by the square
_MOST_OF_ONE = 64  # pictures that are recorded with a condition
_MOST_LOOKED_AT = 24  # of those, when its middle or its looks are asked for
_SURE = 0.9  # from which data may contradict an operator's attribute aloud
RULE = "rule"


@dataclass(frozen=True, slots=True)
class _View:
    """What one state of the knowledge base makes of one model's embeddings."""

    state: tuple[object, ...]  # version, and how much was decided
    embeddings: Embeddings
    allocator: Allocator


class Conditions:
    """Allocates pictures to learning tasks and proposes new conditions; one thread at a time."""

    def __init__(
        self,
        *,
        section: ConditionsSection,
        kb: KnowledgeBase,
        storage: Storage,
        journal: Journal,
        current: Callable[[], Release | None],
        bundle: Callable[[VersionId], ModelBundle],
        now: Callable[[], datetime],
    ) -> None:
        """
        Args:
            current: the newest release: whose embeddings count.
            bundle: the bundle of a version.
        """
        self._section = section
        self._kb = kb
        self._storage = storage
        self._journal = journal
        self._current = current
        self._bundle = bundle
        self._now = now
        self._features = KeptFeatures(storage)
        self._embeddings: Embeddings | None = None
        self._seen: _View | None = None
        self._compared_for: VersionId | None = None
        self._examples: dict[SampleId, HardExample] = {}
        self._said: dict[SampleId, Allocation] = {}
        self._disagreed: set[SampleId] = set()

    def look(self, examples: Iterable[HardExample]) -> list[Condition]:
        """Judge what is new, and propose what has gathered.

        A few pictures are opened at each look; the next one goes on.

        Raises:
            StorageError: storage cannot be reached.
        """
        self._kb.refresh()
        if not self._section.by_data:
            return []
        found = self._propose() if self.judge(examples, at_once=_AT_ONCE) else []
        self._merge_alike()
        return found

    def judge(self, examples: Iterable[HardExample], *, at_once: int | None = None) -> int:
        """Where examples belong that nobody named; answers how many new ones are unseen.

        Args:
            at_once: pictures to open at most; None: all.
        """
        embeddings, arrived = self._embeddings_now(), list(examples)
        if embeddings is None:
            return 0
        for example in arrived:  # before the view is made: a condition's middle may rest on these
            embeddings.take(example.sample_id, example.version_id, example.embedding)
        view = self._view()
        if view is None:
            return 0
        here = {example.sample_id for example in arrived}
        for gone in self._said.keys() - here:  # somebody wanted it to be forgotten
            del self._said[gone]
        unseen, opened = 0, 0
        for example in arrived:
            sample_id = example.sample_id
            if sample_id in self._said or task_name(example.attributes) != GENERAL:
                continue
            if not view.embeddings.knows(sample_id):
                if at_once is not None and opened >= at_once:
                    continue
                opened += 1
            allocation = self._allocation(view, example)
            if allocation is not None:
                self._examples[sample_id] = example
                self._said[sample_id] = allocation
                unseen += allocation.task is None and not allocation.condition_id
        return unseen

    def task_of(self, example: HardExample) -> str:
        """The learning task of a picture that becomes a sample.

        An operator's attribute wins; when the data are sure of another known task, the journal
        says so. Without one the data decide, and what they cannot place is `general`.
        """
        self._kb.refresh()
        given = task_name(example.attributes)
        view = self._view() if self._section.by_data else None
        allocation = self._allocation(view, example) if view is not None else None
        if given != GENERAL:
            self._compare(example, given, allocation)
            return given
        if allocation is None:
            return GENERAL
        if allocation.task is not None:
            return allocation.task
        return name_of(self._kb, allocation.condition_id) or GENERAL

    def pictures_of(self, condition_id: str) -> tuple[SampleId, ...]:
        """What made a condition up, and what was judged to show it since."""
        condition = self._kb.of(Condition).get(condition_id)
        first = condition.pictures if condition is not None else ()
        later = (key for key, one in self._said.items() if one.condition_id == condition_id)
        return tuple(dict.fromkeys((*first, *later)))

    def gathered(self) -> Mapping[str, int]:
        """Judged pictures by learning task, condition id, or "" for what is alone."""
        return Counter(one.task or one.condition_id for one in self._said.values())

    def wanted(self) -> Mapping[str, tuple[int, frozenset[SampleId]]]:
        """By open condition: how many pictures people should see still, and which show it.

        Open is what was not dismissed, and what the newest model was not trained for.
        """
        known, found = self.known_tasks, {}
        for condition in self._kb.of(Condition).values():
            now = standing(self._kb, condition, known)
            if now.state in ("proposed", "named", "annotated", "trained"):
                pictures = frozenset(self.pictures_of(condition.condition_id))
                seen = sum(key in self._kb.samples for key in pictures)
                found[condition.condition_id] = (max(ENOUGH - seen, 0), pictures)
        return found

    @property
    def known_tasks(self) -> tuple[str, ...]:
        """What the newest model was trained for, by today's names; empty when it does not say."""
        view = self._view()
        return view.allocator.tasks if view is not None else ()

    def embeddings(self) -> Embeddings | None:
        """Those of the newest model; None when there is no model."""
        return self._embeddings_now()

    # -- proposing ---------------------------------------------------------------------------

    def _propose(self) -> list[Condition]:
        view = self._view()
        alone = [k for k, one in self._said.items() if one.task is None and not one.condition_id]
        alone = alone[-_MOST_GATHERED:]
        if view is None or len(alone) < self._section.min_pictures:
            return []
        rows = [view.embeddings.of(key, self._examples[key].image_key) for key in alone]
        points = np.array([row for row in rows if row is not None], dtype=np.float64)
        keys = [key for key, row in zip(alone, rows, strict=True) if row is not None]
        groups = groups_of(points, self._section.min_pictures)
        return [self._proposed(view, [keys[row] for row in group]) for group in groups]

    def _proposed(self, view: _View, keys: Sequence[SampleId]) -> Condition:
        """Record that pictures, the most typical first, make a condition."""
        said = [self._said[key] for key in keys]
        nearest = Counter(one.nearest for one in said).most_common(1)[0][0]
        different = self._differences(nearest, keys)
        named = {ruling.name for ruling in self._kb.of(ConditionRuling).values()}
        taken = {*named, *view.allocator.tasks, *(c.name for c in self._kb.of(Condition).values())}
        condition = Condition(
            condition_id="c-" + sha256_hex("\n".join(sorted(keys)).encode())[:8],
            name=provisional_name(nearest, different, taken),
            about=about(different, [self._examples[key] for key in keys], nearest),
            nearest=nearest,
            novelty=round(float(np.median([one.novelty for one in said])), 4),
            pictures=tuple(keys[:_MOST_OF_ONE]),
            version_id=view.embeddings.version_id,
            proposed_at=self._now(),
        )
        self._kb.add([condition], why=f"{len(keys)} unseen pictures are alike")
        self._journal.event(
            "condition.proposed",
            condition_id=condition.condition_id,
            called=condition.name,
            about=condition.about,
            pictures=len(keys),
        )
        if self._section.decided_by == RULE:
            name_condition(self._kb, condition.condition_id, condition.name, keys, RULE, self._now)
        return condition

    def _differences(self, nearest: str, keys: Sequence[SampleId]) -> list[Difference]:
        """How pictures look beside samples of the learning task that they are nearest to."""
        samples = [s for s in self._kb.samples.values() if s.learning_task == nearest]
        known = [self._descriptor(s.sample_id, s.image_key) for s in samples[-_MOST_LOOKED_AT:]]
        found = [
            self._descriptor(key, self._examples[key].image_key) for key in keys[:_MOST_LOOKED_AT]
        ]
        return differences([d for d in known if d is not None], [d for d in found if d is not None])

    def _descriptor(self, sample_id: SampleId, key: str) -> NDArray[np.float32] | None:
        return self._features.of(sample_id, key).descriptor

    def _merge_alike(self) -> None:
        """By rule, once for each model: what it cannot tell apart is one task from now on."""
        view = self._view() if self._section.decided_by == RULE else None
        if view is None or view.embeddings.version_id == self._compared_for:
            return
        self._compared_for = view.embeddings.version_id
        for first, second, one in alike(self._kb, view.embeddings):
            names = [self._kb.task_names.now(task) for task in (first, second)]
            if names[0] == names[1]:
                continue
            figures = {"energy": one.energy, "p_value": one.p_value}
            merge_tasks(
                self._kb,
                names,
                names[0],
                known=view.allocator.tasks,
                by=RULE,
                now=self._now,
                why=str(one),
                figures=figures,
            )
            self._journal.event("conditions.merged", tasks=names, into=names[0], why=str(one))

    # -- judging -----------------------------------------------------------------------------

    def _allocation(self, view: _View, example: HardExample) -> Allocation | None:
        sample_id = example.sample_id
        if sample_id in self._said:
            return self._said[sample_id]
        view.embeddings.take(sample_id, example.version_id, example.embedding)
        row = view.embeddings.of(sample_id, example.image_key)
        return view.allocator.allocate(row) if row is not None else None

    def _embeddings_now(self) -> Embeddings | None:
        release = self._current()
        if release is None:
            return None
        if self._embeddings is None or self._embeddings.version_id != release.version_id:
            self._embeddings = Embeddings(self._storage, self._bundle(release.version_id))
        return self._embeddings

    def _view(self) -> _View | None:
        """By the newest model and what was decided so far; None when there is no model."""
        embeddings, kb = self._embeddings_now(), self._kb
        if embeddings is None:
            return None
        decided = tuple(len(kb.of(kind)) for kind in (Condition, ConditionRuling, TaskMerge))
        state = (embeddings.version_id, *decided)
        if self._seen is not None and self._seen.state == state:
            return self._seen
        allocator = Allocator(
            embeddings.familiarity,
            unseen_from=self._section.unseen_from,
            name_now=kb.task_names.now,
            centres=list(self._centres(embeddings)),
        )
        self._seen = _View(state, embeddings, allocator)
        self._said = {}  # what was said rests on another state; embeddings are kept
        return self._seen

    def _centres(self, embeddings: Embeddings) -> Iterator[Centre]:
        """Of every condition, dismissed ones too: what resembles those is not proposed again."""
        for condition_id, condition in self._kb.of(Condition).items():
            rows = [embeddings.of(key) for key in condition.pictures[:_MOST_LOOKED_AT]]
            found = [row for row in rows if row is not None]
            if found:
                yield Centre(condition_id, centre_of(np.array(found)))

    def _compare(self, example: HardExample, given: str, said: Allocation | None) -> None:
        """Tell once when the data are sure of another known task than the attribute names."""
        if said is None or said.task is None or said.confidence < _SURE:
            return
        if said.task == self._kb.task_names.now(given) or example.sample_id in self._disagreed:
            return
        self._disagreed.add(example.sample_id)
        self._journal.event(
            "condition.disagrees",
            sample_id=example.sample_id,
            attribute=given,
            data=said.task,
            confidence=round(said.confidence, 4),
        )
