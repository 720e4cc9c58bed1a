"""Sedna eval worker: candidate against incumbent on fixed hold-outs; needs no torch.

A refused candidate is reported as completed without a model: that is how Sedna is told to
keep what is deployed. Which model is judged says `cloud/job/judged_model.py`.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.code_version import code_version
from cloud.job.attempts import MOST, Attempts
from cloud.job.judged_model import Judged, due_candidate, model_to_judge, refuse_unjudged
from cloud.job.worker_files import check_output, write_output
from cloud.learning.class_examination import examined, rules_for, with_classes_told
from cloud.learning.held_back import by_todays_names
from cloud.learning.leak_watch import LeakWatch, leak_reason
from cloud.learning.records import examination_setting
from cloud.releasing.releases import Releases
from lifelong.config import Config, load_label_map
from lifelong.errors import (
    ConfigError,
    LifelongError,
    ModelError,
    RecordError,
    UnfitModelError,
)
from lifelong.evaluation import (
    Examined,
    FileHoldout,
    Holdouts,
    filled,
    holdouts_of_samples,
    read_holdouts,
)
from lifelong.gate import decide, refuse
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.map_history import LabelMapHistory, read_history
from lifelong.labels.readings import LabelReader
from lifelong.links.journal import Journal, utc_now
from lifelong.links.sedna import JobReporter, ReportedModel, WorkerEnvironment
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.read_labels import painted_with, read_as_present
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import EvaluationReport, Examination, ModelVersion
from lifelong.records.pixels import Prediction
from lifelong.records.samples import Sample, Split
from lifelong.segmenter import OnnxSegmenter

logger = logging.getLogger(__name__)


def eval_worker(
    environment: WorkerEnvironment, config: Config, storage: Storage, reporter: JobReporter
) -> None:
    """Judge the candidate, record the verdict, report it; a failure is reported, not raised.

    Repeating it answers the recorded verdict. A model that no round waits for is answered only
    when it is what is released; any other one is vetoed.

    Raises:
        LifelongError: one that heals by itself; the worker is started again in place.
    """
    journal = Journal(config.journal_path, "eval-worker")
    try:
        kb, releases = KnowledgeBase(storage), Releases(storage, journal, utc_now)
        due = due_candidate(storage, kb)
        try:
            check_output(environment.output_url, s3=environment.s3)
            judged = model_to_judge(environment, due, releases, journal)
            examination = _verdict(judged, due, config, storage, journal)
        except LifelongError as error:
            if due is not None and not error.retryable:
                refuse_unjudged(due, releases, kb, f"it could not be examined: {error}")
            raise
    except LifelongError as error:
        if error.retryable:
            raise
        logger.error("evaluation failed: %s", error)
        journal.event("evaluation.failed", reason=str(error))
        reporter.failed()
        return
    if not _is_accepted(judged, examination, journal):
        reporter.completed(None)
        return
    url = write_output(environment.output_url, judged.bundle.to_bytes(), s3=environment.s3)
    reporter.completed(_told(url, judged.bundle, examination, kb))


def _verdict(
    judged: Judged, due: ModelVersion | None, config: Config, storage: Storage, journal: Journal
) -> Examination | None:
    """The recorded examination, or a new one of what is due; None: nobody ever examined it."""
    kb = KnowledgeBase(storage)
    known = kb.examinations.get(judged.bundle.version_id)
    if known is not None or due is None:
        return known
    attempts = Attempts(storage, "eval")
    if not attempts.begin(due.round_number):
        raise UnfitModelError(
            f"its examination began {MOST} times and ended without a word; look at the pod's "
            "memory limit and at its log"
        )
    examination = examine(judged.bundle, config, storage, journal)
    attempts.done(due.round_number)
    return examination


def _is_accepted(judged: Judged, examination: Examination | None, journal: Journal) -> bool:
    """Does it go to the edge? Said in the journal, with the reasons."""
    version_id = judged.bundle.version_id
    if not judged.is_due and not judged.is_released:
        reasons = ["no round waits for a verdict on it, and it is not what is released"]
        journal.event("gate.refused", version_id=version_id, reasons=reasons)
        return False
    if examination is None or judged.is_released:
        notes = ["it is what is released already"]
        journal.event("gate.accepted", version_id=version_id, notes=notes)
        return True
    decision = examination.decision
    if decision.accepted:
        journal.event("gate.accepted", version_id=version_id, notes=list(decision.notes))
    else:
        journal.event("gate.refused", version_id=version_id, reasons=list(decision.reasons))
    return decision.accepted


def _told(
    url: str, bundle: ModelBundle, examination: Examination | None, kb: KnowledgeBase
) -> ReportedModel:
    report = examination.candidate if examination else None
    version = kb.versions.get(bundle.version_id)
    return ReportedModel(
        url=url,
        metrics={"mIoU": _mean_miou(report)} if report else {},
        # Without these the Global Manager resets status.knowledgeBase to zeros.
        current_metric={
            task: {"mIoU": result.miou} for task, result in (report.tasks if report else {}).items()
        },
        classes=bundle.manifest.label_map.names,
        samples=len(version.trained_on) if version else 0,
    )


def examine(
    candidate: ModelBundle, config: Config, storage: Storage, journal: Journal
) -> Examination:
    """Both reports and the decision, recorded once; repeating it answers the recorded one."""
    kb = KnowledgeBase(storage)
    if known := kb.examinations.get(candidate.version_id):
        return known
    releases = Releases(storage, journal, utc_now)
    incumbent = releases.incumbent()
    if reason := _other_classes(candidate, load_label_map(config)):
        return _unexamined(candidate, incumbent, kb, reason)
    if leaks := LeakWatch(storage, kb, config.holdouts).leaks_of(candidate.version_id):
        return _unexamined(candidate, incumbent, kb, leak_reason(leaks))
    holdouts, reader = _holdouts(config, kb, storage, candidate.manifest.label_map)
    if not holdouts:
        return _unexamined(candidate, incumbent, kb, "there is no hold-out to examine it on")
    try:
        sat = examined(
            Sitting(candidate),
            (OnnxSegmenter(incumbent), incumbent.manifest.label_map) if incumbent else None,
            holdouts,
            reader,
        )
    except UnfitModelError as error:
        return _unexamined(candidate, incumbent, kb, str(error))
    # The gate weighs the conditions that either model was trained for; hold-outs of conditions
    # that nobody has met yet are measured and shown, but decide nothing.
    earlier = kb.tasks_learned_by(incumbent.version_id if incumbent else None)
    known_tasks = kb.tasks_learned_by(candidate.version_id) or list(holdouts)
    decision = decide(
        only(sat.compared, known_tasks),
        only(sat.incumbent, known_tasks) if sat.incumbent else None,
        rules_for(sat, config.gate),
        earlier=earlier,
    )
    examination = Examination(
        round_number=candidate.manifest.round_number,
        candidate=sat.candidate,
        incumbent=sat.incumbent,
        decision=with_classes_told(decision, sat),
    )
    setting = examination_setting(candidate.version_id, holdouts, code_version())
    try:
        kb.add([examination, setting], why=f"round {candidate.manifest.round_number}: examined")
    except RecordError:
        kb.refresh()
        if known := kb.examinations.get(candidate.version_id):
            return known  # another worker has examined it meanwhile; one verdict counts
        raise
    return examination


def _unexamined(
    candidate: ModelBundle, incumbent: ModelBundle | None, kb: KnowledgeBase, reason: str
) -> Examination:
    """A candidate that cannot be judged is refused like a bad one; a round must come to an end."""
    deployed = incumbent.version_id if incumbent else None
    examination = Examination(
        round_number=candidate.manifest.round_number,
        candidate=EvaluationReport(version_id=candidate.version_id, tasks={}),
        incumbent=None,
        decision=refuse(candidate.version_id, deployed, [reason]),
    )
    kb.add([examination], why=f"round {candidate.manifest.round_number}: could not be examined")
    return examination


def _other_classes(candidate: ModelBundle, present: LabelMap) -> str:
    """What is wrong with the candidate's classes; empty when they are those of today."""
    names = candidate.manifest.label_map.names
    if names == present.names:
        return ""
    if sorted(names) == sorted(present.names):
        moved = [f"{a} for {b}" for a, b in zip(names, present.names, strict=True) if a != b]
        return f"label map: its classes are in another order ({', '.join(moved[:5])})"
    foreign = sorted(set(names) ^ set(present.names))
    return f"label map: it was trained for other classes ({', '.join(foreign[:5])})"


class Sitting:
    """A candidate in the examination: whatever its network does wrong is the candidate's fault."""

    def __init__(self, candidate: ModelBundle) -> None:
        try:
            self._segmenter = OnnxSegmenter(candidate)
        except ModelError as error:
            raise UnfitModelError(f"it cannot be loaded: {error}") from error

    def segment(self, image: NDArray[np.uint8]) -> Prediction:
        """As `OnnxSegmenter.segment`.

        Raises:
            UnfitModelError: NaN, or anything else that is no answer.
        """
        try:
            return self._segmenter.segment(image)
        except ModelError as error:
            raise UnfitModelError(f"it does not answer: {error}") from error


def only(report: EvaluationReport, tasks: list[str]) -> EvaluationReport:
    """A report cut down to some learning tasks."""
    kept = {task: result for task, result in report.tasks.items() if task in tasks}
    return EvaluationReport(version_id=report.version_id, tasks=kept)


def evaluate_folder(bundle_path: Path, data: Path) -> dict[str, Any]:
    """Measure a bundle file on `data/{images,train_ids}`; what `cornerloop evaluate` prints.

    Raises:
        ConfigError: the bundle or the folder cannot be read.
    """
    try:
        bundle = read_bundle(bundle_path.read_bytes(), str(bundle_path))
    except OSError as error:
        told = f"{bundle_path}: cannot be read ({error.strerror}); name a bundle"
        raise ConfigError(told) from error
    holdouts, reader = _folder_holdouts(data, LabelMapHistory(bundle.manifest.label_map))
    report = examined(OnnxSegmenter(bundle), None, holdouts, reader).candidate
    (result,) = report.tasks.values()
    return {
        "miou": result.miou,
        "iou": dict(result.iou),
        "pixel_accuracy": result.pixel_accuracy,
        "images": result.images,
    }


def _folder_holdouts(
    folder: Path | None, history: LabelMapHistory
) -> tuple[dict[str, FileHoldout], LabelReader]:
    """A folder's hold-outs, and who reads masks of all label maps, theirs among them."""
    if folder is None:
        return {}, LabelReader(history)
    found = read_holdouts(folder)
    painted = painted_with(found, folder)
    reader = LabelReader(history.with_others(painted.values()))
    return read_as_present(found, painted, reader), reader


def _holdouts(
    config: Config, kb: KnowledgeBase, storage: Storage, label_map: LabelMap
) -> tuple[Holdouts, LabelReader]:
    """Fixed hold-outs from the folder; samples held back by rounds examine the other tasks.

    Folders keep their names, so what was merged is joined here. Masks are read as labels of the
    candidate's label map, whichever they were painted with.
    """
    fixed, reader = _folder_holdouts(filled(config.holdouts), read_history(storage, label_map))
    written = kb.of(Sample)
    held_back = [s for s in kb.samples.values() if s.split is Split.EVAL]
    own = [s for s in held_back if written[s.sample_id].learning_task not in fixed]
    found: list[tuple[str, Iterable[Examined]]] = [
        *holdouts_of_samples(own, storage, reader.read).items(),
        *fixed.items(),
    ]
    return by_todays_names(found, kb.task_names), reader


def _mean_miou(report: EvaluationReport) -> float:
    values = [result.miou for result in report.tasks.values()]
    return sum(values) / len(values) if values else 0.0
