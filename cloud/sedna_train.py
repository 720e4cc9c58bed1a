"""Sedna train worker: samples in, candidate bundle out, reported to the local controller.

What there is to learn is asked of the knowledge base, not of Sedna's counters: Sedna forgets
the samples of a failed round and starts again at round 1 after a restart. The index that it
passes is the trigger.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from cloud.code_version import code_version
from cloud.learner import Candidate, Learner, publish_candidate
from cloud.releases import Releases
from cloud.rounds import Rounds
from cloud.training_records import training_records
from cloud.worker_files import write_output
from lifelong.config import Config, load_label_map
from lifelong.errors import LifelongError, TrainingError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.sedna import JobReporter, ReportedModel, WorkerEnvironment
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import RoundNumber
from lifelong.records.model_versions import TrainingFailure
from lifelong.records.rounds import Round, RoundState

logger = logging.getLogger(__name__)
PROGRESS = "progress/training.json"


def train_worker(
    environment: WorkerEnvironment,
    config: Config,
    storage: Storage,
    work_dir: Path,
    reporter: JobReporter,
) -> None:
    """Train one candidate and report it; a failure is recorded, reported, and not raised.

    Repeating it for the same round reports the same candidate without training again.
    """
    journal = Journal(config.journal_path, "train-worker")
    round_ = _round_to_train(Rounds(storage))
    try:
        bundle = _candidate(round_.number, config, storage, work_dir, journal)
    except LifelongError as error:
        if error.retryable:
            raise  # the worker is started again in place, and goes on from its checkpoint
        logger.error("round %s: training failed: %s", round_.number, error)
        failure = TrainingFailure(round_number=round_.number, reason=str(error))
        KnowledgeBase(storage).add([failure], why=f"round {round_.number}: training failed")
        journal.event("training.failed", round=round_.number, reason=str(error))
        reporter.failed()
        return
    url = write_output(environment.output_url, bundle.to_bytes())
    classes = bundle.manifest.label_map.names
    reporter.completed(ReportedModel(url=url, metrics={}, current_metric={}, classes=classes))


def _round_to_train(rounds: Rounds) -> Round:
    waiting = [r for r in rounds.all() if r.state in {RoundState.TRAINING, RoundState.GATING}]
    if not waiting:
        raise TrainingError(
            "no round is waiting for training; samples come from finished annotation tasks, "
            "see `cornerloop rounds`"
        )
    return waiting[-1]


def _candidate(
    number: RoundNumber, config: Config, storage: Storage, work_dir: Path, journal: Journal
) -> ModelBundle:
    kb, releases = KnowledgeBase(storage), Releases(storage, journal, utc_now)
    if known := kb.candidate_of(number):
        return releases.bundle(known.version_id)
    current = releases.current()
    parent = current.version_id if current else None
    new = kb.not_learned_by(parent)
    if not new:
        raise TrainingError(f"round {number}: no sample that version {parent} has not learned")
    learner = Learner(
        storage, load_label_map(config), config.training, work_dir, labels=config.labels
    )
    started = time.monotonic()
    candidate: Candidate = learner.train(
        new=new,
        memory=kb.learned_by(parent),
        incumbent=releases.incumbent(),
        round_number=number,
        on_progress=_progress(storage, number),
    )
    publish_candidate(storage, candidate)
    records = training_records(
        candidate.version,
        kb,
        storage,
        code=code_version(),
        at=utc_now(),
        seconds=time.monotonic() - started,
    )
    kb.add(records, why=f"round {number}: trained")
    journal.event(
        "candidate.trained",
        round=number,
        version_id=candidate.version.version_id,
        new=len(new),
        replayed=len(candidate.version.replayed),
        precision=candidate.bundle.manifest.precision,
        precision_loss=candidate.bundle.manifest.precision_loss,
        precision_notes=list(candidate.reduction.reasons),
        seconds=round(time.monotonic() - started, 2),
    )
    return candidate.bundle


def _progress(storage: Storage, number: RoundNumber) -> Callable[[int, int, float], None]:
    """Writes how far training is, at most once a second, for whoever watches."""
    last = 0.0

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last < 1.0 and step < steps:
            return
        last = time.monotonic()
        state = {"schema": 1, "round": number, "step": step, "steps": steps, "loss": loss}
        storage.put(PROGRESS, json.dumps(state).encode())

    return tell
