"""How a local job stands: as the object an API server would print, and as a page for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cloud.job.conditions import JobCondition, named, newest_models, to_sedna
from cloud.job.recovery import Diagnosis
from cloud.job.states import JobState

_ZERO_KNOWLEDGE = {
    "AIModels": {"numberOfAIModels": 0, "listOfAIModels": []},
    "AIClasses": {"numberOfAIClasses": 0, "listOfAIClasses": []},
    "samples": {"numberOfLabeledUnseenSample": 0, "numberOfUnseenSample": 0},
}


def job_object(source: Mapping[str, Any], state: JobState) -> dict[str, Any]:
    """The LifelongLearningJob with its status, in the shape of Sedna's CRD.

    Args:
        source: the job as the manifest has it.
    """
    metadata = dict(source.get("metadata") or {})
    metadata.setdefault("namespace", "default")
    status: dict[str, Any] = {
        "conditions": [to_sedna(condition) for condition in state.conditions],
        "knowledgeBase": state.knowledge_base or _ZERO_KNOWLEDGE,
    }
    if state.created:
        created = f"{state.created:%Y-%m-%dT%H:%M:%SZ}"
        metadata["creationTimestamp"] = created
        status["startTime"] = created
    return {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "LifelongLearningJob",
        "metadata": metadata,
        "spec": source.get("spec") or {},
        "status": status,
    }


def knowledge_of(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`status.knowledgeBase` as Sedna rebuilds it from each report that has models."""
    listed = [
        {
            "modelID": task,
            "averagePrecision": next(iter(metrics.values()), 0),
            "numberOfTrainSamples": model.get("number_of_labeled_unseen_sample") or 0,
        }
        for model in models
        for task, metrics in (model.get("current_metric") or {}).items()
    ]
    classes = list(models[0].get("classes") or []) if models else []
    samples = sum(int(m.get("number_of_labeled_unseen_sample") or 0) for m in models)
    return {
        "AIModels": {"numberOfAIModels": len(listed), "listOfAIModels": listed},
        "AIClasses": {"numberOfAIClasses": len(classes), "listOfAIClasses": classes},
        "samples": {"numberOfLabeledUnseenSample": samples, "numberOfUnseenSample": 0},
    }


def status_text(name: str, state: JobState, diagnosis: Diagnosis, now: datetime) -> str:
    """A page for people: where the job is, what it waits for, and why it is stuck if it is."""
    return "\n".join(_lines(name, state, diagnosis, now))


def _lines(name: str, state: JobState, diagnosis: Diagnosis, now: datetime) -> Iterator[str]:
    last = state.last
    if last is None:
        yield "no condition yet"
        return
    released = newest_models(state.conditions, "Eval")
    rows = [
        ("job", name),
        ("round", f"{state.round_number}, of {state.rounds_begun} begun here"),
        ("state", f"{last.name}{' STUCK' if diagnosis.is_stuck else ''}"),
        ("since", f"{last.at:%Y-%m-%d %H:%M:%S} UTC, {_words(last, now)}" if last.at else "?"),
        ("waits", diagnosis.state),
        ("lines", f"{state.consumed_lines} counted, {len(state.pending_train)} wait for training"),
        ("model", str(released[0].get("url")) if released else "none accepted yet"),
    ]
    if state.worker_name:
        rows.append(("worker", f"{state.worker_name}, started again {state.worker_restarts} times"))
    rows += [("why", reason) for reason in diagnosis.reasons]
    if state.trouble:
        rows.append(("trouble", state.trouble))
    for key, value in rows:
        yield f"{key:>8}  {value}"
    for fault in state.struck[-5:]:
        yield f"{'fault':>8}  {fault}"
    for repair in state.repairs[-5:]:
        yield f"{'repair':>8}  {repair.at:%H:%M:%S} {repair.told}"
    yield ""
    for condition in state.conditions[-13:]:
        at = f"{condition.at:%Y-%m-%d %H:%M:%S}" if condition.at else ""
        yield f"{at} {condition.stage:>6} {condition.type:<9} {condition.note}".rstrip()


def rounds_completed(state: JobState) -> int:
    """How many times Deploy was completed."""
    return len(named(state.conditions, "Deploy/Completed"))


def _words(condition: JobCondition, now: datetime) -> str:
    seconds = int((now - condition.at).total_seconds()) if condition.at else 0
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} ago"
