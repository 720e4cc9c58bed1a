"""Which model an eval worker judges, and what it answers for one that is not due.

Sedna's controller names a model file, but not always this round's: after a lost report it names
the previous index, after a restart an old one, and its copy may be torn. The knowledge base knows
the candidate whose verdict a round waits for, and storage holds its bundle under a checksum.
"""

from dataclasses import dataclass

from cloud.job.rounds import candidate_to_judge
from cloud.job.worker_files import read_model
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from lifelong.errors import LifelongError, SednaError
from lifelong.gate import refuse
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.sedna import WorkerEnvironment
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.records.model_versions import EvaluationReport, Examination, ModelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A model, and whether it is to be examined."""

    bundle: ModelBundle
    is_due: bool  # it is a round's candidate
    is_released: bool = False  # not due, but what is released: answering with it changes nothing


def model_to_judge(
    environment: WorkerEnvironment,
    due: ModelVersion | None,
    releases: Releases,
    journal: Journal,
) -> Judged:
    """This round's candidate if there is one, whatever file Sedna named.

    Args:
        due: as `due_candidate` says.

    Raises:
        SednaError: nothing is due, and the named file is no model.
        RecordError: the candidate's bundle in storage is damaged.
    """
    given, trouble = _given(environment)
    if due is not None:
        if given is not None and given.version_id == due.version_id:
            return Judged(bundle=given, is_due=True)
        bundle = releases.bundle(due.version_id)
        journal.event(
            "evaluation.other_model",
            given=given.version_id if given else "",
            judged=due.version_id,
            reason=trouble or f"round {due.round_number} waits for the verdict on its candidate",
        )
        return Judged(bundle=bundle, is_due=True)
    if given is None:
        raise SednaError(trouble)
    current = releases.current()
    is_released = current is not None and current.version_id == given.version_id
    return Judged(bundle=given, is_due=False, is_released=is_released)


def due_candidate(storage: Storage, kb: KnowledgeBase) -> ModelVersion | None:
    """The candidate whose verdict a round waits for."""
    return candidate_to_judge(Rounds(storage), kb)


def refuse_unjudged(
    due: ModelVersion, releases: Releases, kb: KnowledgeBase, reason: str
) -> Examination:
    """A candidate that cannot be judged is refused, with words: its round must come to an end.

    Its samples are learned by the next round, since nothing that is released has learned them.
    """
    kb.refresh()
    if known := kb.examinations.get(due.version_id):
        return known
    current = releases.current()
    deployed = current.version_id if current else None
    examination = Examination(
        round_number=due.round_number,
        candidate=EvaluationReport(version_id=due.version_id, tasks={}),
        incumbent=None,
        decision=refuse(due.version_id, deployed, [reason]),
    )
    kb.add([examination], why=f"round {due.round_number}: could not be examined")
    return examination


def _given(environment: WorkerEnvironment) -> tuple[ModelBundle | None, str]:
    """The model that Sedna named; without one, why."""
    urls = environment.model_urls
    if len(urls) != 1:
        return None, f"MODEL_URLS names {len(urls)} models, expected one"
    try:
        return read_bundle(read_model(urls[0], s3=environment.s3), urls[0]), ""
    except LifelongError as error:
        if error.retryable:
            raise
        return None, str(error)
