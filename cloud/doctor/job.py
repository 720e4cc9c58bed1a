"""The doctor's look at jobs as a cluster, or `cornerloop job status --json`, prints them.

What is wrong with a job's conditions is found by `cloud/job/recovery.py`; here it is told, with
what shows only in its pods, or between two jobs. `cloud/doctor/reports.py` frees them.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.doctor.dataset_checks import waits_for_training
from cloud.job.conditions import from_sedna
from cloud.job.recovery import Diagnosis, Report, diagnose
from lifelong.errors import ConfigError, LifelongError

Object = Mapping[str, Any]
KIND = "LifelongLearningJob"
HOW = (
    "`kubectl get lifelonglearningjob,pods -n NAMESPACE -o json`, or `cornerloop job status --json`"
)
_LABEL = "lifelonglearningjob.sedna.io"
_MANY_RESTARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What was told of a cluster."""

    jobs: tuple[Object, ...]
    pods: tuple[Object, ...]

    def pods_of(self, job: Object, stage: str) -> list[Object]:
        """A job's pods of one stage: train, eval."""
        wanted = {f"{_LABEL}/name": _metadata(job).get("name"), f"{_LABEL}/worker-type": stage}
        return [
            pod
            for pod in self.pods
            if wanted.items() <= (_metadata(pod).get("labels") or {}).items()
            and _metadata(pod).get("namespace") == _metadata(job).get("namespace")
        ]


def cluster_in(text: str, where: str) -> Cluster:
    """One job, or a list of jobs and pods, as `kubectl get … -o json` prints them.

    Raises:
        ConfigError: something else, or no job in it.
    """
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: not JSON ({error}); use {HOW}") from error
    items = told.get("items") if isinstance(told, dict) else None
    found = items if isinstance(items, list) else [told]
    objects = [one for one in found if isinstance(one, dict)]
    jobs = tuple(one for one in objects if one.get("kind") == KIND)
    pods = tuple(one for one in objects if one.get("kind") == "Pod")
    if not jobs:
        raise ConfigError(f"{where}: no object of kind {KIND} in it; use {HOW}")
    return Cluster(jobs=jobs, pods=pods)


def name_of(job: Object) -> str:
    """`namespace/name`."""
    return f"{_metadata(job).get('namespace', 'default')}/{_metadata(job).get('name', '?')}"


def diagnosed(patient: Patient, job: Object, cluster: Cluster) -> Diagnosis:
    """What is wrong with one job."""
    waits = patient.config_path is not None and _awaits_training(patient)
    stage = _stage_of(job)
    # Without a single pod in the list, nobody asked for pods.
    is_gone = bool(cluster.pods) and bool(stage) and not cluster.pods_of(job, stage)
    return diagnose(job, patient.now(), awaits_training=waits, pod_is_gone=is_gone)


def _awaits_training(patient: Patient) -> bool:
    """Does a round of our service wait for the job? No where nothing tells."""
    try:
        return waits_for_training(patient)
    except LifelongError:
        return False


def look_at_jobs(patient: Patient, cluster: Cluster) -> Iterable[Finding]:
    """How each job stands, and whether two disturb each other."""
    for job in cluster.jobs:
        found = diagnosed(patient, job, cluster)
        where = f"job {name_of(job)}"
        if found.is_stuck or found.reports:
            yield broken(where, "; ".join((found.state, *found.reasons)), _advice(found))
        elif found.reasons:
            yield warning(where, "; ".join((found.state, *found.reasons)))
        else:
            yield well(where, found.state)
        for pod in cluster.pods_of(job, _stage_of(job)):
            yield from _pod(pod)
    yield from _shared_folders(cluster.jobs)


def told(report: Report) -> str:
    """A report in words.

    >>> told(Report(kind="train", status="completed", wait_s=20.0, needs_file="/o/index.pkl"))
    'after 20 s train completed with /o/index.pkl'
    """
    before = f"after {report.wait_s:.0f} s " if report.wait_s else ""
    with_file = f" with {report.needs_file}" if report.needs_file else ""
    return f"{before}{report.kind} {report.status}{with_file}"


def _advice(found: Diagnosis) -> str:
    if found.reports:
        steps = ", then ".join(told(report) for report in found.reports)
        return f"`cornerloop doctor --job … --repair` reports to the local controller: {steps}"
    if found.comment_lines:
        return "`cornerloop doctor --job … --repair` appends them"
    return ""


def _stage_of(job: Object) -> str:
    """The stage whose pod should be at work: train, eval; "" in other states."""
    conditions = (job.get("status") or {}).get("conditions") or []
    last = conditions[-1] if conditions else {}
    is_at_work = last.get("type") in {"Starting", "Running"}
    return str(last.get("stage", "")).lower() if is_at_work else ""


def _pod(pod: Object) -> Iterator[Finding]:
    """Why a pod does not come to work, in the cluster's own words."""
    status: Any = pod.get("status") or {}
    name = f"pod {_metadata(pod).get('name', '?')}"
    for one in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        waiting = (one.get("state") or {}).get("waiting") or {}
        reason, restarts = str(waiting.get("reason", "")), int(one.get("restartCount") or 0)
        if reason == "CrashLoopBackOff" or restarts >= _MANY_RESTARTS:
            yield broken(
                name,
                f"container {one.get('name')} crashes and was started again {restarts} times; "
                "Sedna sees a running worker",
                f"`kubectl logs --previous {_metadata(pod).get('name')}` says why; delete the "
                "pod when it is mended, and free the job with --repair",
            )
        elif reason not in {"", "ContainerCreating", "PodInitializing"}:
            yield broken(
                name,
                f"container {one.get('name')} cannot start: {reason} {waiting.get('message', '')}",
                "correct the template's image or its Secret",
            )
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield broken(
                name,
                f"finds no node: {condition.get('message', '')}",
                "correct nodeName, nodeSelector, tolerations or requests in the template",
            )


def _shared_folders(jobs: Sequence[Object]) -> Iterator[Finding]:
    """Sedna numbers the rounds of each job from 1 in its outputDir: two overwrite each other."""
    by_folder: dict[str, list[str]] = {}
    for job in jobs:
        folder = str((job.get("spec") or {}).get("outputDir", "")).rstrip("/")
        node = _node_of(job) if folder.startswith("/") else ""
        by_folder.setdefault(f"{node}{folder}", []).append(name_of(job))
    for place, names in by_folder.items():
        if len(names) > 1:
            yield broken(
                place,
                f"is the outputDir of {len(names)} jobs ({', '.join(names)}): each numbers its "
                "rounds from 1 and writes over the other's models",
                "give each job an outputDir of its own",
            )


def _node_of(job: Object) -> str:
    """The node a host path means; "" where the template leaves it to the scheduler."""
    spec: Any = job
    for name in ("spec", "trainSpec", "template", "spec"):
        spec = spec.get(name) or {}
    node = spec.get("nodeName") or ""
    return f"{node}:" if node else ""


def _metadata(one: Object) -> Mapping[str, Any]:
    return one.get("metadata") or {}


def state_in_cluster(job: Object, kubectl: str = "kubectl") -> str | None:
    """A job's last condition at this moment, `Stage/Type`; None where it cannot be asked for."""
    name, namespace = (str(_metadata(job).get(key) or "") for key in ("name", "namespace"))
    command = [kubectl, "get", f"lifelonglearningjobs.sedna.io/{name}", "-n", namespace]
    try:
        told = subprocess.run(
            [*command, "-o", "json", "--request-timeout=10s"],
            capture_output=True,
            timeout=30,
            check=True,
        )
        found = cluster_in(told.stdout.decode("utf-8", errors="replace"), "kubectl")
    except (OSError, subprocess.SubprocessError, ConfigError):
        return None
    past = (found.jobs[0].get("status") or {}).get("conditions") or []
    return from_sedna(past[-1]).name if past else None
