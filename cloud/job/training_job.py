"""The service's side of a training job: hand samples over, then observe what workers wrote.

Whether Sedna or `cornerloop job run` starts the workers makes no difference here: samples go
into the knowledge base and as lines into the Dataset's index, which triggers the job; models
and verdicts come back through the knowledge base.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cloud.job.dataset_index import append_to_index
from cloud.learning.held_back import held_back
from cloud.learning.leak_watch import LeakWatch
from lifelong.config import JobSection
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.weights import AUTO
from lifelong.learning_tasks import task_name
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Examination
from lifelong.records.pixels import mask_from_png
from lifelong.records.rounds import Round
from lifelong.records.samples import Annotation, HardExample, Sample, Split
from lifelong.records.wire import dumps, json_object


class TrainingJob:
    """Implements the loop's `Job` port over storage and the Dataset's folder."""

    def __init__(
        self,
        storage: Storage,
        kb: KnowledgeBase,
        section: JobSection,
        journal: Journal,
        task_of: Callable[[HardExample], str] = lambda example: task_name(example.attributes),
        holdouts: Path | None = None,
    ) -> None:
        """
        Args:
            task_of: the learning task of a picture; asked once for each.
            holdouts: folder of fixed hold-outs, whose pictures must not train.
        """
        self._storage = storage
        self._kb = kb
        self._section = section
        self._journal = journal
        self._task_of = task_of
        self._watch = LeakWatch(storage, kb, holdouts)
        self._handed_over: dict[RoundNumber, tuple[str, ...]] = {}

    def hand_over(self, round_: Round) -> tuple[str, ...]:
        """Make a round's annotations samples and append each once to the Dataset's index.

        A service asks again at every look while training runs; it is done once a life.

        Returns:
            Which samples were kept from training, or from examining, because their twin does the
            other; in words.
        """
        if round_.number not in self._handed_over:
            self._handed_over[round_.number] = self._hand_over(round_)
        return self._handed_over[round_.number]

    def _hand_over(self, round_: Round) -> tuple[str, ...]:
        settled = self._watch.settle(self._samples(round_))
        samples = sorted(settled.samples, key=lambda s: (s.split is Split.EVAL, s.sample_id))
        told = self._leaks_told(round_.number, settled.told)
        if self._kb.add(samples, why=f"round {round_.number}: annotations"):
            self._journal.event(
                "samples.added",
                round=round_.number,
                train=sum(s.split is Split.TRAIN for s in samples),
                eval=sum(s.split is Split.EVAL for s in samples),
            )
        append_to_index(
            self._storage,
            self._section.dataset_path,
            self._section.index,
            samples,
            train_share=self._section.train_share,
        )
        return told

    def _leaks_told(self, number: RoundNumber, told: tuple[str, ...]) -> tuple[str, ...]:
        """Said in the journal once; kept, since after a crash the samples are settled already."""
        key = f"leaks/{number:06d}.json"
        if told and self._storage.size(key) is None:
            self._storage.put(key, dumps({"round": number, "told": list(told)}))
            self._journal.event("samples.leaking", round=number, told=list(told))
        if self._storage.size(key) is None:
            return ()
        kept = json_object(self._storage.get(key), key)
        return tuple(str(line) for line in kept.get("told", ()))

    def candidate(self, number: RoundNumber) -> VersionId | None:
        """The model that a round trained; None while it has none."""
        self._kb.refresh()
        version = self._kb.candidate_of(number)
        return version.version_id if version else None

    def failure(self, number: RoundNumber) -> str:
        """Why a round's training failed; empty while it has not."""
        self._kb.refresh()
        failure = self._kb.failures.get(number)
        return failure.reason if failure else ""

    def examination(self, version_id: VersionId) -> Examination | None:
        """What the gate said; None while it has not."""
        self._kb.refresh()
        return self._kb.examinations.get(version_id)

    def _samples(self, round_: Round) -> list[Sample]:
        """A round's samples in index order, the first share of them to train on.

        The cut is Sedna's: of n new lines the first int(trainProb · n) train, the rest examine;
        but one trains always, since a round that trains on nothing would never end. What was
        written of a sample before stays, whatever a newer model would say of its picture.
        """
        examples: Mapping[SampleId, HardExample] = {e.sample_id: e for e in round_.examples}
        written = self._kb.of(Sample)
        tasks = {
            key: written[key].learning_task if key in written else self._task_of(examples[key])
            for key in sorted(annotation.sample_id for annotation in round_.annotations)
        }
        train = max(1, int(self._section.train_share * len(tasks)))
        named = {key: self._kb.task_names.now(task) for key, task in tasks.items()}
        held_out = [s for s in self._kb.samples.values() if s.split is Split.EVAL]
        # What no person has seen examines nothing.
        unseen = {a.sample_id for a in round_.annotations if a.annotator == AUTO}
        aside = held_back(
            {key: task for key, task in named.items() if key not in unseen},
            len(tasks) - train,
            {s.learning_task for s in held_out},
        )
        samples = [
            self._sample(
                annotation,
                examples[annotation.sample_id],
                tasks[annotation.sample_id],
                Split.EVAL if annotation.sample_id in aside else Split.TRAIN,
            )
            for annotation in round_.annotations
        ]
        kept = [
            replace(s, split=written[s.sample_id].split) if s.sample_id in written else s
            for s in samples
        ]
        return sorted(kept, key=lambda s: s.sample_id)

    def _sample(
        self, annotation: Annotation, example: HardExample, task: str, split: Split
    ) -> Sample:
        data = self._storage.get(annotation.mask_key, sha256=annotation.mask_sha256)
        mask = mask_from_png(data, annotation.mask_key)
        ids, counts = np.unique(mask, return_counts=True)
        return Sample(
            sample_id=annotation.sample_id,
            image_key=example.image_key,
            image_sha256=example.image_sha256,
            mask_key=annotation.mask_key,
            mask_sha256=annotation.mask_sha256,
            learning_task=task,
            split=split,
            round_number=annotation.round_number,
            edge_id=example.edge_id,
            annotator=annotation.annotator,
            label_map_digest=annotation.label_map_digest,
            class_pixels={int(i): int(n) for i, n in zip(ids, counts, strict=True)},
        )
