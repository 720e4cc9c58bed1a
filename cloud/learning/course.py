"""A student's course through domains, one after the other: learn, be examined on all, go on.

What a stage ended with is kept in a folder, so that a course that was stopped goes on where it
was; the training of a stage goes on from its own checkpoint.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from cloud.learning.domains import Domain, samples_of
from cloud.learning.label_choice import LabelChoice
from cloud.learning.packing import packed
from lifelong.config import TrainingSection
from lifelong.errors import TrainingError
from lifelong.evaluation import evaluate
from lifelong.links.durable_files import write_whole
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import SampleId, sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import EvaluationReport
from lifelong.records.samples import Sample
from lifelong.records.wire import from_plain, to_plain
from lifelong.replay import choose_exemplars
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import (
    Weights,
    weights_from_bytes,
    weights_of,
    weights_sha256,
    weights_to_bytes,
)
from lifelong.training.datasets import Pictures, joined, no_pictures, pictures_from_pairs
from lifelong.training.foreign_weights import Normalisation
from lifelong.training.lesson import Lesson
from lifelong.training.networks import build_network
from lifelong.training.trainer import train

JOINT = "joint"

OnProgress = Callable[[str, int, int, float], None]  # domain, steps done, steps in all, loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What learning one domain came to."""

    domain: str
    report: EvaluationReport  # on the hold-outs of all domains
    weights_sha256: str
    seconds: float  # of training alone
    steps: int
    chosen: tuple[int, ...]  # places of the labelled pictures of this domain that were learned
    memory: int  # pictures replayed
    memory_bytes: int
    losses: tuple[tuple[int, float], ...] = ()  # (step, loss), thinned


class Course:
    """Learns domains in their order with one section of the configuration."""

    def __init__(
        self,
        domains: Sequence[Domain],
        section: TrainingSection,
        label_map: LabelMap,
        folder: Path,
        *,
        begin: Weights | None = None,
        begun: bool = False,
        normalisation: Normalisation | None = None,
        choice: LabelChoice | None = None,
        reports: Path | None = None,
    ) -> None:
        """
        Args:
            folder: of this course alone.
            begin: weights to begin with; None: from scratch.
            begun: `begin` has learned the first domain already.
            normalisation: what `begin` wants to see; None: ImageNet's.
            choice: of every later domain, which pictures are labelled and learned; None: all.
            reports: examinations are kept there by weights, for courses that share some; None:
                in the course's own folder.
        """
        self.domains, self.section, self.label_map = tuple(domains), section, label_map
        self.folder, self.begin, self.begun, self.choice = folder, begin, begun, choice
        self.reports = reports or folder / "reports"
        self._chosen: dict[str, tuple[int, ...]] = {}  # of domains that are learned
        self.normalisation = normalisation
        plain = Preprocessing(height=section.height, width=section.width)
        self.how = normalisation.of(plain) if normalisation is not None else plain
        self._pictures: dict[str, Pictures] = {}
        self._samples: dict[str, tuple[Sample, ...]] = {}

    def run(self, on_progress: OnProgress | None = None) -> tuple[Stage, ...]:
        """All stages; those of an earlier run are read.

        Raises:
            TrainingError: the folder holds another course.
            LabelMapError, ConfigError, DivergedError: as their names say.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim_folder()
        stages: list[Stage] = []
        for number in range(len(self.domains)):
            stages.append(self._kept(number) or self._stage(number, on_progress))
            self._chosen[self.domains[number].name] = stages[-1].chosen
        return tuple(stages)

    def weights(self, number: int) -> Weights:
        """What stage `number`, counted from 0, ended with."""
        path = self._place(number, "safetensors")
        return weights_from_bytes(path.read_bytes(), str(path))

    def bundle(self, number: int) -> ModelBundle:
        """The same, as an edge runs it."""
        return self._bundle(self.weights(number))

    def examined(self, weights: Weights) -> EvaluationReport:
        """The hold-outs of all domains, sat by the class that answers on the edge."""
        kept = self.reports / f"{weights_sha256(weights)}.json"
        if not kept.exists():
            holdouts = {domain.name: domain.holdout for domain in self.domains}
            segmenter = OnnxSegmenter(self._bundle(weights), threads=self.section.threads)
            kept.parent.mkdir(parents=True, exist_ok=True)
            _write(kept, to_plain(evaluate(segmenter, holdouts, self.label_map)))
        return from_plain(EvaluationReport, _read(kept), str(kept))

    def untrained(self) -> EvaluationReport:
        """The same of a network that has learned nothing; forward transfer begins there."""
        seed, classes = self.section.seed, len(self.label_map)
        return self.examined(weights_of(build_network(self.section.network, classes, seed=seed)))

    def upper_bound(self, steps: int, begin: Weights | None) -> Stage:
        """All domains learned at once, as a first model is: nothing can be forgotten.

        Args:
            steps: how many the training takes.
            begin: weights to begin with; None: from scratch.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim_folder()
        last = len(self.domains) - 1
        if kept := self._kept(last):
            return kept
        pace = {"strategy": JOINT, "steps": steps, "first_steps_factor": 1}
        earlier = [self._of(domain) for domain in self.domains[:-1]]
        lesson = Lesson(
            section=self.section.model_copy(update=pace),
            classes=len(self.label_map),
            new=self._of(self.domains[last]),
            memory=reduce(joined, earlier, no_pictures(self.how)),
            incumbent=begin,
            first=True,
            normalisation=self.normalisation,
        )
        return self._learned(last, lesson, (), None)

    # -- one stage ---------------------------------------------------------------------------

    def _stage(self, number: int, on_progress: OnProgress | None) -> Stage:
        memory = self._memory(self.domains[:number])
        lesson = Lesson(
            section=self.section,
            classes=len(self.label_map),
            new=self._of(self.domains[number]).take(self._places(number)),
            memory=self._replayed(self.domains[:number], memory),
            incumbent=self.weights(number - 1) if number else self.begin,
            first=number == 0,
            normalisation=self.normalisation,
        )
        return self._learned(number, lesson, memory, on_progress)

    def _learned(
        self,
        number: int,
        lesson: Lesson,
        memory: Sequence[Sample],
        on_progress: OnProgress | None,
    ) -> Stage:
        domain = self.domains[number]
        losses: list[tuple[int, float]] = []

        def told(step: int, steps: int, loss: float) -> None:
            if step % max(1, steps // 100) == 0 or step == steps:
                losses.append((step, round(loss, 5)))
            if on_progress is not None:
                on_progress(domain.name, step, steps, loss)

        begun = time.monotonic()
        if number == 0 and self.begun and self.begin is not None:
            weights = self.begin
        else:
            weights = train(lesson, checkpoint=self._place(number, "checkpoint"), on_progress=told)
        seconds = time.monotonic() - begun
        self._place(number, "safetensors").write_bytes(weights_to_bytes(weights))
        sizes = self._sizes()
        stage = Stage(
            domain=domain.name,
            report=self.examined(weights),
            weights_sha256=weights_sha256(weights),
            seconds=round(seconds, 2),
            steps=losses[-1][0] if losses else 0,
            chosen=self._places(number),
            memory=len(memory),
            memory_bytes=sum(sizes[sample.sample_id] for sample in memory),
            losses=tuple(losses),
        )
        _write(self._place(number, "json"), to_plain(stage))
        self._place(number, "checkpoint").unlink(missing_ok=True)
        return stage

    def _places(self, number: int) -> tuple[int, ...]:
        """Which pictures of a domain are learned; of the first one all."""
        domain = self.domains[number]
        if domain.name not in self._chosen:
            pictures = self._of(domain)
            self._chosen[domain.name] = (
                tuple(range(len(pictures)))
                if self.choice is None or number == 0
                else self.choice.places(
                    self.weights(number - 1), self.section, len(self.label_map), pictures
                )
            )
        return self._chosen[domain.name]

    def _memory(self, earlier: Sequence[Domain]) -> tuple[Sample, ...]:
        """What is kept of earlier domains, within `training.replay_mib`."""
        offered = [
            self._records(domain)[place]
            for number, domain in enumerate(earlier)
            for place in self._places(number)
        ]
        return choose_exemplars(
            offered,
            self._sizes(),
            self.section.replay_mib * 2**20,
            choice=self.section.replay_choice,
            seed=self.section.seed,
        )

    def _replayed(self, earlier: Sequence[Domain], memory: Sequence[Sample]) -> Pictures:
        kept = {sample.sample_id for sample in memory}
        found = no_pictures(self.how)
        for domain in earlier:
            places = [n for n, one in enumerate(self._records(domain)) if one.sample_id in kept]
            found = joined(found, self._of(domain).take(places))
        return found

    def _of(self, domain: Domain) -> Pictures:
        if domain.name not in self._pictures:
            self._records(domain)  # labels of no class are told before anything is learned
            self._pictures[domain.name] = pictures_from_pairs(
                domain.train, self.how, learning_task=domain.name
            )
        return self._pictures[domain.name]

    def _records(self, domain: Domain) -> tuple[Sample, ...]:
        if domain.name not in self._samples:
            self._samples[domain.name] = samples_of(domain, self.label_map)
        return self._samples[domain.name]

    def _sizes(self) -> dict[SampleId, int]:
        return {
            sample.sample_id: size
            for domain in self.domains
            if domain.name in self._samples
            for sample, size in zip(self._samples[domain.name], domain.sizes, strict=True)
        }

    def _bundle(self, weights: Weights) -> ModelBundle:
        manifest = BundleManifest(
            label_map=self.label_map,
            preprocessing=self.how,
            network=self.section.network,
            weights_sha256=sha256_hex(weights_to_bytes(weights)),
            strategy=self.section.strategy,
        )
        return packed(weights, manifest, [])

    # -- the folder --------------------------------------------------------------------------

    def _claim_folder(self) -> None:
        """A folder holds one course: what decides its results is written down and compared."""
        about = {
            "section": self.section.model_dump(mode="json", exclude={"checkpoint_every"}),
            "domains": [domain.name for domain in self.domains],
            "label_map": self.label_map.digest,
            "begin": weights_sha256(self.begin) if self.begin is not None else "",
            "begun": self.begun,
            "normalisation": repr(self.normalisation),
            "labels": to_plain(self.choice) if self.choice is not None else None,
        }
        path = self.folder / "course.json"
        if not path.exists():
            _write(path, about)
        elif (kept := _read(path)) != about:
            other = [key for key in about if kept.get(key) != about[key]]
            raise TrainingError(
                f"{self.folder}: holds a course with another {', '.join(other)}; "
                "give this one a folder of its own, or remove that one"
            )

    def _kept(self, number: int) -> Stage | None:
        path = self._place(number, "json")
        return from_plain(Stage, _read(path), str(path)) if path.exists() else None

    def _place(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number + 1}-{self.domains[number].name}.{suffix}"


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=1).encode())


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
