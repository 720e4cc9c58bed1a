"""Sedna train worker: samples in, candidate bundle out, reported to the local controller.

What there is to learn is asked of the knowledge base, not of Sedna's counters: Sedna forgets
the samples of a failed round and starts again at round 1 after a restart. The index that it
passes is the trigger. A round has one candidate, whoever trains it and however often Sedna asks.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from cloud.code_version import code_version
from cloud.job.attempts import MOST, Attempts
from cloud.job.rounds import round_to_train, why_none_trains
from cloud.job.training_turn import training_turn
from cloud.job.worker_files import check_output, index_lines, write_output
from cloud.knowledge.forget_sweep import NOTHING
from cloud.learning.learner import Candidate, Learner, publish_candidate
from cloud.learning.records import training_records
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from lifelong.config import Config, load_label_map
from lifelong.errors import LifelongError, RecordError, TrainingError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.sedna import JobReporter, ReportedModel, WorkerEnvironment
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.keys import TRAINING_PROGRESS
from lifelong.records.model_versions import TrainingFailure
from lifelong.records.rounds import Round, RoundState
from lifelong.records.wire import json_object

logger = logging.getLogger(__name__)
_MOST_POINTS = 60  # of the course of training that is told


def train_worker(
    environment: WorkerEnvironment,
    config: Config,
    storage: Storage,
    work_dir: Path,
    reporter: JobReporter,
) -> None:
    """Train one candidate and report it; a failure is recorded, reported, and not raised.

    Repeating it for the same round reports the same candidate without training again. Without a
    round that waits for training, `failed` is reported, which lets Sedna wait for new lines: a
    `completed` would have to name a model.

    Raises:
        LifelongError: one that heals by itself; the worker is started again in place, and goes on
            from its checkpoint.
        Exception: anything unforeseen, for the same reason; after five beginnings that came no
            further it counts as a failure.
    """
    journal = Journal(config.journal_path, "train-worker")
    round_: Round | None = None
    try:
        round_ = round_to_train(Rounds(storage))
        if round_ is None:
            reason = why_none_trains(Rounds(storage))
            logger.warning("nothing is trained: %s", reason)
            journal.event("training.not_due", worker=environment.worker_name, reason=reason)
            reporter.failed()
            return
        check_output(environment.output_url, s3=environment.s3)
        bundle = _candidate(round_, config, storage, work_dir, journal)
    except LifelongError as error:
        if error.retryable:
            raise
        _tell_failure(round_, str(error), storage, journal)
        reporter.failed()
        return
    _tell_lines(environment, storage, journal)
    url = write_output(environment.output_url, bundle.to_bytes(), s3=environment.s3)
    reporter.completed(
        ReportedModel(
            url=url,
            metrics={},  # nothing is measured yet
            current_metric={},
            classes=bundle.manifest.label_map.names,
            samples=_learned(storage, bundle.version_id),
        )
    )


def _candidate(
    round_: Round, config: Config, storage: Storage, work_dir: Path, journal: Journal
) -> ModelBundle:
    """The round's candidate: the one it has, or a new one when it is our turn to train it."""
    number = round_.number
    kb, releases = KnowledgeBase(storage), Releases(storage, journal, utc_now)

    def is_settled() -> bool:
        kb.refresh()
        return kb.candidate_of(number) is not None or number in kb.failures

    def wait() -> None:
        journal.event("training.waits", round=number, reason="another worker trains this round")
        logger.info("round %s: another worker trains it; its candidate is waited for", number)

    seconds = config.rounds.lease_seconds
    if not is_settled():
        with training_turn(storage, seconds, is_settled=is_settled, on_wait=wait) as is_mine:
            if is_mine:
                _train(number, config, storage, work_dir, journal, kb, releases)
    known = kb.candidate_of(number)
    failure = kb.failures.get(number)
    if failure is not None and (known is None or round_.state is RoundState.TRAINING):
        # The service ends the round by this; its samples are learned with the next one.
        raise TrainingError(failure.reason)
    if known is None:
        raise TrainingError(f"round {number}: its training left neither a candidate nor a reason")
    return releases.bundle(known.version_id)


def _train(
    number: RoundNumber,
    config: Config,
    storage: Storage,
    work_dir: Path,
    journal: Journal,
    kb: KnowledgeBase,
    releases: Releases,
) -> None:
    """Train a round's candidate and record it."""
    attempts = Attempts(storage, "train")
    if not attempts.begin(number, _steps_done(storage, number)):
        raise TrainingError(
            f"round {number}: training began {MOST} times and ended without a word at the same "
            "place; look at the pod's memory limit and at its log"
        )
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
    _record(candidate, kb, storage, time.monotonic() - started)
    attempts.done(number)
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


def _record(candidate: Candidate, kb: KnowledgeBase, storage: Storage, seconds: float) -> None:
    """Bundle first, record last; the first candidate of a round that is recorded counts."""
    number = candidate.version.round_number
    kb.refresh()
    if kb.candidate_of(number) is not None:  # ours came late: we slept for longer than our turn
        return
    publish_candidate(storage, candidate)
    records = training_records(
        candidate.version, kb, storage, code=code_version(), at=utc_now(), seconds=seconds
    )
    try:
        kb.add(records, why=f"round {number}: trained")
    except RecordError:
        kb.refresh()
        if kb.candidate_of(number) is None:
            raise


def _tell_failure(round_: Round | None, reason: str, storage: Storage, journal: Journal) -> None:
    """Failures are words for people first; the record of a round's failure is what ends it."""
    number = round_.number if round_ else None
    logger.error("round %s: training failed: %s", number, reason)
    journal.event("training.failed", round=number, reason=reason)
    if number is None:
        return
    try:
        kb = KnowledgeBase(storage)
        if number not in kb.failures:
            failure = TrainingFailure(round_number=number, reason=reason)
            kb.add([failure], why=f"round {number}: training failed")
    except LifelongError as error:
        if error.retryable:
            raise
        # A damaged knowledge base does not heal by starting this worker again and again.
        logger.error("round %s: the failure cannot be recorded: %s", number, error)


def _tell_lines(environment: WorkerEnvironment, storage: Storage, journal: Journal) -> None:
    """What Sedna handed over beside what we know: lines of strangers are named, never trained."""
    if not environment.dataset_url:
        return
    try:
        lines = index_lines(environment.dataset_url, s3=environment.s3)
    except LifelongError as error:
        logger.warning("Sedna's lines cannot be read, and are not needed: %s", error)
        return
    known = KnowledgeBase(storage).samples
    strange = [
        line for line in lines if line != NOTHING and Path(line.split()[0]).stem not in known
    ]
    journal.event("training.offered", lines=len(lines), unknown=len(strange))
    if strange:
        logger.warning(
            "%d lines of the Dataset are of no sample in the knowledge base and train nothing, "
            "e.g. %.100s; pictures come in by edge nodes and by `cornerloop push`",
            len(strange),
            strange[0],
        )


def _learned(storage: Storage, version_id: VersionId) -> int:
    """How many samples a version learned that its parent had not."""
    version = KnowledgeBase(storage).versions.get(version_id)
    return len(version.trained_on) if version else 0


def _steps_done(storage: Storage, number: RoundNumber) -> int:
    """How far an earlier beginning of this round's training came."""
    if storage.size(TRAINING_PROGRESS) is None:
        return 0
    try:
        state = json_object(storage.get(TRAINING_PROGRESS), TRAINING_PROGRESS)
        return int(state["step"]) if state.get("round") == number else 0
    except (RecordError, KeyError, TypeError, ValueError):
        return 0


def _progress(
    storage: Storage, number: RoundNumber, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int, float], None]:
    """Writes how far training is, at most once a second, for whoever watches."""
    began = last = clock()
    history: list[tuple[int, float, float]] = []  # step, seconds since we began, loss

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal last
        if history and clock() - last < 1.0 and step < steps:
            return
        last = clock()
        history.append((step, round(last - began, 3), loss))
        if len(history) > _MOST_POINTS:
            del history[1:-1:2]  # the first and the last stay, and the whole course between
        state = {
            "schema": 1,
            "round": number,
            "step": step,
            "steps": steps,
            "loss": loss,
            "history": history,
        }
        storage.put(TRAINING_PROGRESS, json.dumps(state).encode())

    return tell
