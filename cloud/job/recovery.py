"""What is wrong with a LifelongLearningJob, in words, and which reports free it.

Read from nothing but the object itself, so that the same answer holds for the local job and
for one on a cluster. Sedna's state is the last element of `status.conditions`; its Global
Manager (GM) moves the job on after Completed and Failed and makes the pods, the local controller
(LC) acts on Waiting and takes the workers' reports. Either loses things; a report puts the job
back to where its outputs are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from cloud.job.conditions import (
    JobCondition,
    from_sedna,
    last_round,
    moment,
    named,
    newest_models,
)
from cloud.job.trigger import lines_to_fire, timer_holds

OUTPUT = "index.pkl"
MOST_FAILURES = 3  # in a row; after them a job is not pushed on
_ONE_LOOK = timedelta(seconds=30)  # the local controller looks every 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report to a job's local controller, as a worker would send it."""

    kind: str  # train, eval
    status: str  # completed, failed
    results: tuple[Mapping[str, Any], ...] = ()
    wait_s: float = 0.0  # to let pass before it: the LC must have looked in between
    needs_file: str = ""  # host path or s3 URL that must exist, or this report is not to be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How a job stands. Reports without `is_stuck`: it moves, by a wrong model."""

    state: str  # in words
    is_stuck: bool = False
    reasons: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()  # in their order
    comment_lines: int = 0  # `#` lines which, appended to the Dataset's index, start a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each kind of step may take before it counts as stuck."""

    controllers: timedelta = timedelta(seconds=150)  # two resyncs of GM and a tick of the LC
    pod_start: timedelta = timedelta(minutes=10)  # pulling an image
    pod_run: timedelta = timedelta(days=1)
    settle_s: float = 20.0  # between two reports: two ticks of the LC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A job to be judged."""

    spec: Mapping[str, Any]
    past: Sequence[JobCondition]
    age: timedelta  # of the last condition
    now: datetime
    patience: Patience
    awaits_training: bool
    pod_is_gone: bool

    def last(self, name: str) -> JobCondition | None:
        """The newest such condition of the last round."""
        found = named(last_round(self.past), name)
        return found[-1] if found else None


def diagnose(
    job: Mapping[str, Any],
    now: datetime,
    *,
    patience: Patience | None = None,
    awaits_training: bool = False,
    pod_is_gone: bool = False,
) -> Diagnosis:
    """Judge a LifelongLearningJob as the API server (or `job status --json`) prints it.

    Args:
        now: with a time zone.
        awaits_training: a round of the service waits for this job. Only then is a job that waits
            for lines stuck: the lines of a failed round are never offered again.
        pod_is_gone: whoever asks has looked, and no pod of the present stage exists.
    """
    status = job.get("status") or {}
    past = [from_sedna(c) for c in status.get("conditions") or () if isinstance(c, Mapping)]
    patience = patience or Patience()
    if not past:
        created = moment((job.get("metadata") or {}).get("creationTimestamp"))
        late = created is not None and now - created > patience.controllers
        return Diagnosis(
            state="new: no condition yet",
            is_stuck=late,
            reasons=("GM has not seen the job: is it running, and in this namespace?",) * late,
        )
    since = past[-1].at
    case = _Case(
        spec=job.get("spec") or {},
        past=past,
        age=now - since if since else timedelta(0),
        now=now,
        patience=patience,
        awaits_training=awaits_training,
        pod_is_gone=pod_is_gone,
    )
    return _JUDGES.get(past[-1].name, _controllers_move)(case)


# -- one judge for each state --------------------------------------------------------------------


def _train_waiting(case: _Case) -> Diagnosis:
    metric, operator, threshold = _trigger(case.spec)
    state = f"waits until {metric} {operator} {threshold:g}"
    wrong, reports = _went_by_a_wrong_model(case)
    reasons = [*_told_of_restarts(case), *wrong]
    ends = [c for c in last_round(case.past) if c.type in {"Failed", "Completed"}]
    if ends and ends[-1].type == "Failed":
        reasons.append(
            f"the last round ended with {ends[-1].name}; Sedna never offers its lines again, the "
            "next round trains on them because the knowledge base knows them"
        )
    timer = ((case.spec.get("trainSpec") or {}).get("trigger") or {}).get("timer") or {}
    if timer.get("start") and timer.get("end"):
        start, end = str(timer["start"]), str(timer["end"])
        state += f", between {start} and {end} UTC"
        if not timer_holds(start, end, case.now):
            reasons.append("the timer is closed at this hour")
            return Diagnosis(state=state, reasons=tuple(reasons), reports=reports)
    if not case.awaits_training or case.age <= case.patience.controllers:
        return Diagnosis(state=state, reasons=tuple(reasons), reports=reports)
    told, lines = _lines_are_gone(case, metric, operator, threshold)
    return Diagnosis(
        state=state,
        is_stuck=True,
        reasons=(*reasons, told),
        reports=reports,
        comment_lines=lines,
    )


def _lines_are_gone(case: _Case, metric: str, operator: str, threshold: float) -> tuple[str, int]:
    if _failures_in_a_row(case) >= MOST_FAILURES:
        return f"{MOST_FAILURES} rounds in a row have failed; read the workers' logs first", 0
    share = _number((case.spec.get("dataset") or {}).get("trainProb"), 0.0)
    count = lines_to_fire(metric, operator, threshold, share)
    if not count:
        told = f"the trigger never fires: {metric} {operator} {threshold:g}, trainProb {share:g}"
        return told, 0
    return (
        "a round of the service waits for training, but its lines were counted before and are "
        f"gone; append {count} lines of `#` to the Dataset's index, which Sedna counts and the "
        "workers pass over"
    ), count


def _pod_to_come(case: _Case) -> Diagnosis:
    last = case.past[-1]
    state = f"{last.stage}: the pod is to be made and started"
    if case.age < case.patience.pod_start:
        return Diagnosis(state=state)
    reason = (
        f"{last.name} for {_words(case.age)}: no pod runs. A hostPath that does not exist on the "
        "node, a nodeName that no node has, an image that cannot be pulled, or the pod was "
        "deleted; `kubectl describe pod` says which. Delete a pod that is still Pending first"
    )
    return _stuck(state, (reason,), _again(case, last.stage))


def _running(case: _Case) -> Diagnosis:
    last = case.past[-1]
    state = f"{last.stage}: the worker runs since {_words(case.age)}"
    if case.pod_is_gone and case.age > case.patience.controllers:
        reason = f"{last.name}, but its pod was deleted, which nobody notices: it runs for ever"
        return _stuck(state, (reason,), _again(case, last.stage))
    if case.age < case.patience.pod_run:
        return Diagnosis(state=state)
    reason = (
        f"{last.name} for {_words(case.age)}: either the worker crashes and is started again for "
        "ever (look at its restarts and its log), or its pod was deleted, which nobody notices"
    )
    return _stuck(state, (reason,), _again(case, last.stage))


def _eval_waiting(case: _Case) -> Diagnosis:
    state = "Eval: the local controller is to write the list and ask for the pod"
    trained = case.last("Train/Completed")
    is_empty = trained is None or not trained.models("output")
    # Without any model it knows the local controller looks once and never again.
    is_hopeless = is_empty and not newest_models(case.past, "Train")
    if case.age <= (_ONE_LOOK if is_hopeless else case.patience.controllers):
        return Diagnosis(state=state)
    if is_empty:
        reason = "Train was completed without a model: the worker's report was lost or never sent"
        if is_hopeless:
            reason += "; the local controller gives up for ever when it knows no model at all"
    else:
        reason = (
            "the model was reported, but the local controller does not act: it has marked this "
            "stage as done (a late or a second report took the job back), or it is not running"
        )
    return _stuck(state, (reason,), _again(case, "Eval"))


def _deploy_waiting(case: _Case) -> Diagnosis:
    state = "Deploy: the local controller is to copy the model"
    if case.age <= case.patience.controllers:
        return Diagnosis(state=state)
    judged = case.last("Eval/Completed")
    reason = (
        f"Deploy/Waiting for {_words(case.age)}: the local controller has marked this stage as "
        "done (a late or a second report took the job back), or it is not running"
    )
    reports = [Report(kind="train", status="failed")]
    if judged is not None and judged.models("output"):
        reports.append(_judged(judged.models("output"), case))
    return _stuck(state, (reason,), tuple(reports))


def _controllers_move(case: _Case) -> Diagnosis:
    last = case.past[-1]
    state = f"{last.name}: the Global Manager is to move on"
    if case.age <= case.patience.controllers:
        return Diagnosis(state=state)
    reason = (
        f"{last.name} for {_words(case.age)}: the Global Manager does not move the job; "
        "look whether it runs and what its log says. No report helps"
    )
    return _stuck(state, (reason,), ())


_JUDGES: Mapping[str, Callable[[_Case], Diagnosis]] = {
    "Train/Waiting": _train_waiting,
    "Train/Ready": _pod_to_come,
    "Eval/Ready": _pod_to_come,
    "Train/Starting": _pod_to_come,
    "Eval/Starting": _pod_to_come,
    "Train/Running": _running,
    "Eval/Running": _running,
    "Eval/Waiting": _eval_waiting,
    "Deploy/Waiting": _deploy_waiting,
}


# -- findings ------------------------------------------------------------------------------------


def _went_by_a_wrong_model(case: _Case) -> tuple[tuple[str, ...], tuple[Report, ...]]:
    """A finished round whose reports were lost: an older model was judged, or deployed."""
    asked, examined = case.last("Train/Ready"), case.last("Eval/Ready")
    judged = case.last("Eval/Completed")
    if asked is None or examined is None:
        return (), ()
    folder = str(asked.part("input").get("outputDir", ""))
    urls = [str(m.get("url", "")) for m in examined.models("input")]
    # A verdict that arrived is right whatever was asked: our eval worker judges the candidate that
    # the knowledge base names, not the file of another round that it was pointed to.
    if judged is not None and judged.data:
        return (), ()
    if folder and urls and not urls[0].startswith(f"{folder}/"):
        reason = (
            f"Eval judged {urls[0]} instead of this round's {folder}/{OUTPUT}: the report of "
            "Train was lost"
        )
        again = _trained(case)
        return (reason,), (again,) if again else ()
    if judged is None:
        return (), ()
    out = str(examined.part("input").get("outputDir", ""))
    shipped = case.last("Deploy/Ready")
    models = shipped.models("input") if shipped else []
    told = f"deployed is {models[0].get('url', '')}" if models else "nothing was deployed"
    reason = (
        f"Eval was completed without data: its report was lost, and {told}. If {out}/{OUTPUT} "
        "exists, this round's model was accepted"
    )
    report = _judged([{"format": "pkl", "url": f"{out}/{OUTPUT}"}], case)
    return (reason,), (report,) if out else ()


def _told_of_restarts(case: _Case) -> tuple[str, ...]:
    rounds = [c.round_number for c in case.past if c.name == "Train/Ready"]
    told = []
    if any(later <= earlier for earlier, later in pairwise(rounds)):
        told.append(
            "round numbers began again: the local controller was restarted and forgot its "
            "counters; folders of earlier rounds are written over"
        )
    if any(c.name == "Eval/Ready" and c.round_number == 0 for c in case.past):
        told.append("Eval was asked for as round 0 with an empty list, after a restart of the LC")
    return tuple(told)


def _failures_in_a_row(case: _Case) -> int:
    count = 0
    for condition in reversed(case.past):
        if condition.type == "Failed":
            count += 1
        elif condition.name == "Deploy/Completed":
            break
    return count


# -- reports -------------------------------------------------------------------------------------


def _again(case: _Case, stage: str) -> tuple[Report, ...]:
    """Back to Train/Waiting, where the LC forgets what it has marked; then on with the model."""
    first = Report(kind="train", status="failed")
    has_trained = stage == "Eval" or case.last("Train/Completed") is not None
    trained = _trained(case) if has_trained else None
    return (first, trained) if trained else (first,)


def _trained(case: _Case) -> Report | None:
    """This round's train report, once more; from what was reported, else from where it lies."""
    done = named(last_round(case.past), "Train/Completed")
    reported = [c for c in done if c.models("output")]
    if reported:
        models = [dict(reported[-1].models("output")[0])]
    else:
        asked = case.last("Train/Ready")
        folder = str(asked.part("input").get("outputDir", "")) if asked else ""
        if not folder:
            return None
        models = [{"format": "pkl", "url": f"{folder}/{OUTPUT}"}]
    return Report(
        kind="train",
        status="completed",
        results=tuple(models),
        wait_s=case.patience.settle_s,
        needs_file=str(models[0].get("url", "")),
    )


def _judged(models: Sequence[Mapping[str, Any]], case: _Case) -> Report:
    model = dict(models[0])
    return Report(
        kind="eval",
        status="completed",
        results=(model,),
        wait_s=case.patience.settle_s,
        needs_file=str(model.get("url", "")),
    )


def _stuck(state: str, reasons: tuple[str, ...], reports: tuple[Report, ...]) -> Diagnosis:
    return Diagnosis(state=state, is_stuck=True, reasons=reasons, reports=reports)


# -- reading -------------------------------------------------------------------------------------


def _trigger(spec: Mapping[str, Any]) -> tuple[str, str, float]:
    trigger = (spec.get("trainSpec") or {}).get("trigger") or {}
    condition = trigger.get("condition") or {}
    threshold = _number(condition.get("threshold"), 0.0)
    return str(condition.get("metric", "")), str(condition.get("operator", "")), threshold


def _number(value: object, otherwise: float) -> float:
    try:
        return float(str(value))
    except ValueError:
        return otherwise


def _words(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
