"""The doctor's look at jobs as a cluster, or `cornerloop job status --json`, prints them.

What is wrong is found by `cloud/job_recovery.py`; here it is told, together with what shows only
between two jobs. `cloud/doctor_reports.py` frees them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cloud.doctor import Finding, Patient, broken, warning, well
from cloud.doctor_checks_dataset import waits_for_training
from cloud.job_recovery import Diagnosis, Report, diagnose
from lifelong.errors import ConfigError, LifelongError

Job = Mapping[str, Any]
KIND = "LifelongLearningJob"


def jobs_in(text: str, where: str) -> list[Job]:
    """The jobs that `kubectl get lifelonglearningjob … -o json` prints: one, or a list.

    Raises:
        ConfigError: something else.
    """
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"{where}: not JSON ({error}); use `kubectl get lifelonglearningjob NAME -o json`, or "
            "`cornerloop job status --json`"
        ) from error
    items = told.get("items") if isinstance(told, dict) else None
    found = items if isinstance(items, list) else [told]
    jobs: list[Job] = [job for job in found if isinstance(job, dict) and job.get("kind") == KIND]
    if len(jobs) != len(found) or not jobs:
        raise ConfigError(
            f"{where}: expected objects of kind {KIND}, found something else, or none"
        )
    return jobs


def name_of(job: Job) -> str:
    """`namespace/name`."""
    metadata = job.get("metadata") or {}
    return f"{metadata.get('namespace', 'default')}/{metadata.get('name', '?')}"


def awaits_training(patient: Patient) -> bool:
    """Does a round of our service wait for the job? No where nothing tells."""
    try:
        return waits_for_training(patient)
    except LifelongError:
        return False


def diagnosed(patient: Patient, job: Job) -> Diagnosis:
    """What is wrong with one job."""
    waits = patient.config_path is not None and awaits_training(patient)
    return diagnose(job, patient.now(), awaits_training=waits)


def look_at_jobs(patient: Patient, jobs: Sequence[Job]) -> Iterable[Finding]:
    """How each job stands, and whether two disturb each other."""
    for job in jobs:
        found = diagnosed(patient, job)
        where = f"job {name_of(job)}"
        if found.is_stuck or found.reports:
            yield broken(where, "; ".join((found.state, *found.reasons)), _advice(found))
        elif found.reasons:
            yield warning(where, "; ".join((found.state, *found.reasons)))
        else:
            yield well(where, found.state)
    yield from _shared_folders(jobs)


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


def _shared_folders(jobs: Sequence[Job]) -> Iterator[Finding]:
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


def _node_of(job: Job) -> str:
    """The node a host path means; "" where the template leaves it to the scheduler."""
    spec: Any = job
    for name in ("spec", "trainSpec", "template", "spec"):
        spec = spec.get(name) or {}
    node = spec.get("nodeName") or ""
    return f"{node}:" if node else ""
