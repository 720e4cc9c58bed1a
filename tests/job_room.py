"""A room for the local job: the real job, workers and rounds; only what is learned is made up.

Workers run as threads of the test, so that five rounds take seconds. The learner is told how good
its next model shall be, and the examination measures just that.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.job.faults import FaultPlan
from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.recovery import Diagnosis
from cloud.job.repair import Repairer, patience_for
from cloud.job.training_job import TrainingJob
from cloud.learning.learner import Candidate
from cloud.learning.precision import Reduction
from cloud.loop import Ports, advance
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from cloud.sedna_eval import eval_worker
from cloud.sedna_train import train_worker
from lifelong.config import Config, JobSection, RoundsSection
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import Journal
from lifelong.links.sedna import LcReporter, WorkerKind, read_environment
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.records.ids import RoundNumber, VersionId, sha256_hex
from lifelong.records.keys import bundle_key, image_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import (
    EvaluationReport,
    Examination,
    GateDecision,
    ModelVersion,
    TaskResult,
)
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, Sample, Split
from tests.builders import a_hard_example, a_jpeg, a_mask_png
from tests.tiny_bundle import tiny_bundle

MANIFEST = """
apiVersion: sedna.io/v1alpha1
kind: Dataset
metadata: {name: d1, namespace: ns}
spec: {url: /data/index.txt, format: txt, nodeName: here}
---
apiVersion: sedna.io/v1alpha1
kind: LifelongLearningJob
metadata: {name: j1, namespace: ns}
spec:
  dataset: {name: d1, trainProb: 0.8}
  outputDir: /out/j1
  trainSpec:
    trigger: {condition: {metric: num_of_samples, operator: ">=", threshold: 1}}
    template: {spec: {containers: [{name: t, image: none, command: [train]}]}}
  evalSpec:
    template: {spec: {containers: [{name: e, image: none, command: [eval]}]}}
  deploySpec:
    template: {spec: {containers: [{name: i, image: none, command: [infer]}]}}
"""


class Killed(BaseException):
    """SIGKILL, for a thread: nobody catches it but who started the thread."""


class Mortal(Storage):
    """Storage of a worker that dies at its next touch once it has been killed.

    It dies once: what a thread does on its way out stands for others' finding its process dead.
    """

    def __init__(self, real: Storage, is_killed: Callable[[], bool]) -> None:
        super().__init__(real._store, real.url)
        self._is_killed = is_killed
        self._is_dead = False

    def get(self, key: str, **checks: Any) -> bytes:
        self._die_if_killed()
        return super().get(key, **checks)

    def put(self, key: str, data: bytes) -> None:
        self._die_if_killed()
        super().put(key, data)

    def _die_if_killed(self) -> None:
        if self._is_killed() and not self._is_dead:
            self._is_dead = True
            raise Killed


class ThreadWorker:
    """One worker at work in a thread of this process."""

    def __init__(self, number: int, work: Callable[["ThreadWorker"], None]) -> None:
        self.number = number
        self.started = f"thread-{number}"
        self.is_killed = False
        self._code: int | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def exit_code(self) -> int | None:
        return self._code

    def kill(self) -> None:
        self.is_killed = True
        self._thread.join(60)

    end = kill

    def _run(self) -> None:
        try:
            self._work(self)
            self._code = 0
        except Killed:
            self._code = -9
        except Exception:
            self._code = 1


class ThreadKubelet:
    """Runs the real workers with the environment that the job gives them."""

    def __init__(self, room: "Room") -> None:
        self._room = room
        self._numbers = itertools.count(1)
        self.workers: dict[int, ThreadWorker] = {}

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> ThreadWorker:
        del log
        number = next(self._numbers)
        self._room.environments.append(dict(environment))

        def work(worker: ThreadWorker) -> None:
            if command[0] != "infer":
                self._room.work(environment, worker)

        self.workers[number] = ThreadWorker(number, work)
        return self.workers[number]

    def found(self, number: int, started: str) -> ThreadWorker | None:
        worker = self.workers.get(number)
        alive = worker is not None and worker.started == started and worker.exit_code() is None
        return worker if alive else None


@dataclass
class Releasing:
    """The loop's release port without a fleet."""

    releases: Releases

    def current(self) -> Any:
        return self.releases.current()

    def publish(self, version_id: VersionId, round_number: RoundNumber, why: str) -> Any:
        return self.releases.publish(version_id, round_number, why)


class Room:
    """A service with rounds in training, its job, and a clock that goes ten seconds a look."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        faults: str = "",
        repairs: bool = True,
        qualities: Sequence[float] = (0.5, 0.6, 0.55, 0.7, 0.8),
        seed: int = 0,
        write: Callable[[Path, bytes], None] = write_whole,
    ) -> None:
        """Args:
        qualities: how good the models of rounds 1, 2, … become; repeated from the start.
        """
        self.root, self.state_dir = folder / "host", folder / "state"
        (self.root / "data").mkdir(parents=True, exist_ok=True)
        path = folder / "job.yaml"
        path.write_text(MANIFEST)
        self.manifest = load_manifest(path)
        self.config = Config(
            storage=str(folder / "storage"),
            journal_path=folder / "journal",
            job=JobSection(
                dataset_path=self.root / "data",
                train_share=0.8,
                report_not_before_seconds=0,
                linger_seconds=0,
            ),
        )
        self.storage = open_storage(self.config.storage)
        self.rounds, self.kb = Rounds(self.storage), KnowledgeBase(self.storage)
        self.clock = datetime(2026, 11, 20, 12, tzinfo=UTC)
        self.releases = Releases(self.storage, Journal(folder / "journal", "t"), self.now)
        self.quality: dict[str, float] = {}
        self.environments: list[dict[str, str]] = []
        self.qualities = list(qualities)
        self.repairs, self.faults, self.seed = repairs, faults, seed
        self.kubelet = ThreadKubelet(self)
        self._write = write
        self._pictures = itertools.count(1)
        journal = Journal(self.config.journal_path, "cloud")
        self.bridge = TrainingJob(self.storage, self.kb, self.config.job, journal)
        monkeypatch.setattr("cloud.sedna_train.Learner", lambda *_, **__: MadeUpLearner(self))
        monkeypatch.setattr("cloud.sedna_eval.examine", self.examine)
        self.open_job()

    def open_job(self) -> None:
        """A new life of the job over the same folder."""
        plan = FaultPlan.parse(self.faults, self.seed)
        self.job = LocalJob(
            self.manifest,
            root=self.root,
            state_dir=self.state_dir,
            options=JobOptions(tick_seconds=10, faults=plan, runs_edge=True, seed=1),
            now=self.now,
            kubelet=self.kubelet,
            write=self._write,
        )
        self.job.start()
        self.repairer = Repairer(
            self.manifest,
            self.job.files,
            self.job.book,
            append_report=self.job.append_report,
            awaits_training=self.awaits_training,
            patience=patience_for(10),
        )

    def now(self) -> datetime:
        return self.clock

    def awaits_training(self) -> bool:
        waiting = {RoundState.TRAINING, RoundState.GATING}
        return any(round_.state in waiting for round_ in self.rounds.all())

    # -- the made-up part --------------------------------------------------------------------

    def work(self, environment: Mapping[str, str], worker: ThreadWorker) -> None:
        """What the process of a train or an eval worker does."""
        is_train = "TRAIN_DATASET_URL" in environment
        kind = WorkerKind.TRAIN if is_train else WorkerKind.EVAL
        where = read_environment(kind, environment)
        storage = Mortal(self.storage, lambda: worker.is_killed)
        reporter = LcReporter(where, kind, not_before_s=0, linger_s=0)
        if is_train:
            work_dir = self.state_dir / "work"
            train_worker(where, self.config, storage, work_dir, reporter)
        else:
            eval_worker(where, self.config, storage, reporter)

    def examine(
        self, bundle: ModelBundle, config: Config, storage: Storage, journal: Journal
    ) -> Examination:
        """The gate: better than what is released, or refused."""
        del config, journal
        current = self.releases.current()
        incumbent = current.version_id if current else None
        good = self.quality[bundle.version_id]
        accepted = incumbent is None or good > self.quality[incumbent]
        found = Examination(
            round_number=bundle.manifest.round_number,
            candidate=EvaluationReport(
                version_id=bundle.version_id,
                tasks={"day": TaskResult(miou=good, pixel_accuracy=good, iou={}, images=1)},
            ),
            incumbent=None,
            decision=GateDecision(
                version_id=bundle.version_id,
                incumbent=incumbent,
                accepted=accepted,
                reasons=() if accepted else ("not better",),
            ),
        )
        KnowledgeBase(storage).add([found], why="examined")
        return found

    # -- playing -----------------------------------------------------------------------------

    def annotate(self, count: int = 5) -> Round:
        """A new round whose annotations are done and wait for training."""
        number = RoundNumber(len(self.rounds.all()) + 1)
        examples, annotations = [], []
        for seed in itertools.islice(self._pictures, count):
            example = a_hard_example(seed, attributes={"condition": "day"})
            example = replace(example, image_key=image_key(example.sample_id))
            key = f"masks/{example.sample_id}/{seed}.png"
            self.storage.put(example.image_key, a_jpeg(seed))
            self.storage.put(key, a_mask_png(seed))
            examples.append(example)
            annotations.append(
                Annotation(
                    sample_id=example.sample_id,
                    round_number=number,
                    annotation_id=seed,
                    annotator="anna",
                    annotated_at=self.clock,
                    mask_key=key,
                    mask_sha256=sha256_hex(a_mask_png(seed)),
                    agreement=0.9,
                    changed_pixels=3,
                )
            )
        round_ = Round(
            number=number,
            state=RoundState.TRAINING,
            examples=tuple(examples),
            annotations=tuple(annotations),
        )
        self.rounds.save(round_)
        return round_

    def tick(self) -> None:
        """Ten seconds: the service looks, the job looks, and frees itself if it may."""
        # While a worker is at work the clock stands nearly still: it takes real time, not ticks.
        is_busy = any(w.exit_code() is None for w in self.kubelet.workers.values())
        if is_busy:
            threading.Event().wait(0.002)
        self.clock += timedelta(seconds=0.01 if is_busy else 10)
        self.step_service()
        while self.job.tick():
            pass
        if self.repairs:
            self.repairer.look()

    def step_service(self) -> None:
        """Take the step that the newest round is ready for, as the service does."""
        rounds = self.rounds.all()
        if rounds and not rounds[-1].is_over:
            after = advance(rounds[-1], rounds[:-1], self._ports(), RoundsSection())
            if after is not rounds[-1]:
                self.rounds.save(after)

    def _ports(self) -> Ports:
        nobody: Any = None
        return Ports(
            inbox=nobody,
            selection=nobody,
            preannotator=nobody,
            annotators=nobody,
            job=self.bridge,
            releases=Releasing(self.releases),
        )

    @property
    def is_idle(self) -> bool:
        """Every round is over, and the job waits for the next with nothing under way."""
        state, rounds = self.job.state, self.rounds.all()
        return (
            all(round_.is_over for round_ in rounds)
            and state.last is not None
            and state.last.name == "Train/Waiting"
            and not (state.worker_name or state.rival_name or state.repairs_due or state.held)
            and not state.pending_train
        )

    def settle(self, ticks: int = 1500) -> bool:
        """Tick until the job is idle and stays so; False when it never is."""
        quiet = 0
        end = self.clock + timedelta(seconds=10 * ticks)
        while self.clock < end:
            self.tick()
            quiet = quiet + 1 if self.is_idle else 0
            if quiet > 3:
                return True
        return False

    def play(self, rounds: int, ticks: int = 1500) -> bool:
        """So many rounds one after the other; False when one never ends."""
        for _ in range(rounds):
            self.annotate()
            if not self.settle(ticks):
                return False
        return True

    def diagnosis(self) -> Diagnosis:
        return self.repairer.diagnosis()

    def close(self) -> None:
        self.job.stop()

    # -- what came of it ---------------------------------------------------------------------

    def lineage(self) -> list[ModelVersion]:
        """What is released and all it came from, the newest first."""
        self.kb.refresh()
        current = self.releases.current()
        found = []
        key = current.version_id if current else None
        while key:
            found.append(self.kb.versions[key])
            key = self.kb.versions[key].parent
        return found

    def times_trained(self) -> dict[str, int]:
        """How often each sample that is for training was new to a released model."""
        lineage = self.lineage()
        self.kb.refresh()
        return {
            s.sample_id: sum(s.sample_id in version.trained_on for version in lineage)
            for s in self.kb.of(Sample).values()
            if s.split is Split.TRAIN
        }

    def released_qualities(self) -> list[float]:
        """Of every release, in order."""
        return [self.quality[r.version_id] for r in self.releases.history()]

    def deployed(self) -> VersionId | None:
        """What Sedna would give an edge."""
        path = self.root / "out/j1/deploy/index.pkl"
        return read_bundle(path.read_bytes(), str(path)).version_id if path.exists() else None


class MadeUpLearner:
    """Trains nothing: the next model is as good as the room says."""

    _made = itertools.count(1)

    def __init__(self, room: Room) -> None:
        self._room = room

    def train(
        self,
        *,
        new: Sequence[Sample],
        memory: Sequence[Sample],
        incumbent: ModelBundle | None,
        round_number: RoundNumber,
        on_progress: Callable[[int, int, float], None],
    ) -> Candidate:
        on_progress(1, 1, 0.5)  # touches storage, where a killed worker dies
        parent = incumbent.version_id if incumbent else None
        made = tiny_bundle(CITYSCAPES, seed=next(self._made), parent=parent)
        number = int(round_number)
        qualities = self._room.qualities
        cycle = (number - 1) // len(qualities)
        self._room.quality[made.version_id] = qualities[(number - 1) % len(qualities)] + cycle
        data = made.to_bytes()
        version = ModelVersion(
            version_id=made.version_id,
            parent=parent,
            round_number=round_number,
            bundle_key=bundle_key(made.version_id),
            sha256=sha256_hex(data),
            label_map_digest=CITYSCAPES.digest,
            network="tiny",
            strategy="",
            weights_sha256=made.manifest.weights_sha256,
            trained_on=tuple(s.sample_id for s in new),
            replayed=tuple(s.sample_id for s in memory),
        )
        reduction = Reduction(bundle=made, wanted="float32", loss=None, reasons=())
        return Candidate(bundle=made, version=version, weights=b"w", reduction=reduction)
