"""Freeing a stuck job: which reports are sent to its local controller, and what came back.

A report makes Sedna evaluate, or deploy, the file that it names, and nobody there checks who sent
it. So each one is proved first: the file lies there whole, it is a model that our knowledge base
knows, and to have it deployed the gate must have accepted it. Where that cannot be seen from
here, nothing is sent at all.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cloud.doctor.job import Object, told
from cloud.job.recovery import Diagnosis, Report
from cloud.reports import miou_by_task
from lifelong.errors import ObjectNotFoundError, SednaError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.sedna import LcReporter, ReportedModel, WorkerEnvironment, WorkerKind
from lifelong.links.storage import open_storage
from lifelong.model_bundle import ModelBundle, read_bundle


class HostFiles(Protocol):
    """Reads what lies where a job's host paths and s3:// URLs point to."""

    def read(self, url: str, output_dir: str) -> bytes | None:
        """The file; None where it is surely not there.

        Raises:
            SednaError: it cannot be told from here.
        """


class FilesUnder:
    """Host paths under a folder of this machine, `/` on the node itself; s3:// by our keys."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, url: str, output_dir: str) -> bytes | None:
        """See `HostFiles`."""
        parts = urlsplit(url)
        if parts.scheme == "s3":
            try:
                return open_storage(f"s3://{parts.netloc}").get(parts.path.lstrip("/"))
            except ObjectNotFoundError:
                return None
        if not (self._root / output_dir.lstrip("/")).is_dir():
            raise SednaError(
                f"{output_dir}: the job's outputDir is not on this machine, so nobody here can say "
                f"whether {url} is a whole model; run this on its node, or name with --root the "
                "folder under which the node's disk is mounted"
            )
        path = self._root / url.lstrip("/")
        try:
            return path.read_bytes() if path.is_file() else None
        except OSError as error:
            raise SednaError(f"{path}: cannot be read ({error.strerror}); run as root") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A report that may be sent."""

    kind: WorkerKind
    status: str
    wait_s: float
    model: ReportedModel | None
    words: str


def proved_reports(
    found: Diagnosis, job: Object, kb: KnowledgeBase | None, files: HostFiles
) -> tuple[Proved, ...]:
    """The reports of a diagnosis that may be sent, in order.

    One whose model was never written is left out: without it the job waits for its next lines.

    Raises:
        SednaError: the diagnosis names no report, or one of them cannot be proved; says why.
        RecordError: a file that it needs is damaged.
    """
    if not found.reports:
        raise SednaError("no report helps here; the reasons above say what to do")
    proved = [_proved(report, job, kb, files) for report in found.reports]
    kept = tuple(one for one in proved if one is not None)
    if not kept:
        raise SednaError(
            f"{found.reports[0].needs_file} was never written; nothing can be reported"
        )
    return kept


def _proved(
    report: Report, job: Object, kb: KnowledgeBase | None, files: HostFiles
) -> Proved | None:
    kind = WorkerKind(report.kind)
    model: ReportedModel | None = None
    if report.needs_file:
        if kb is None:
            raise SednaError(
                f"whether {report.needs_file} is ours, only our knowledge base tells; name the "
                "configuration with --config"
            )
        data = files.read(report.needs_file, str((job.get("spec") or {}).get("outputDir", "")))
        if data is None:
            return None
        model = _known(read_bundle(data, report.needs_file), report, kb)
    elif report.results:
        raise SednaError(f"a {report.kind} report names a model without its file; not sent")
    return Proved(
        kind=kind, status=report.status, wait_s=report.wait_s, model=model, words=told(report)
    )


def _known(bundle: ModelBundle, report: Report, kb: KnowledgeBase) -> ReportedModel:
    version = bundle.version_id
    if version not in kb.versions:
        raise SednaError(
            f"{report.needs_file} holds version {version}, which the knowledge base does not know; "
            "nothing is sent"
        )
    metrics: Mapping[str, float] = {}
    current_metric: Mapping[str, Mapping[str, float]] = {}
    if report.kind == WorkerKind.EVAL:
        examination = kb.examinations.get(version)
        if examination is None or not examination.decision.accepted:
            why = "never examined it" if examination is None else "refused it"
            raise SednaError(
                f"version {version} must not be deployed: the gate {why}; the model that is "
                "deployed rightly stays"
            )
        tasks = miou_by_task(examination.candidate)
        current_metric = {task: {"mIoU": float(value)} for task, value in tasks.items()}
        metrics = {"mIoU": sum(tasks.values()) / len(tasks)} if tasks else {}
    return ReportedModel(
        url=report.needs_file,
        metrics=metrics,
        current_metric=current_metric,
        classes=bundle.manifest.label_map.names,
    )


def send(
    reports: Sequence[Proved],
    job: Object,
    lc_server: str,
    *,
    say: Callable[[str], object],
    sleep: Callable[[float], None],
    look: Callable[[], str | None],
) -> bool:
    """Send them one after the other, each after its wait; what is done is said before and after.

    After the first, the local controller may have begun a round by itself: its train worker
    reports what is trained already, and a second report of ours would take that round back. So
    each further one goes only to a job that still waits.

    Args:
        look: the job's last condition, `Train/Waiting`; None where it cannot be seen from here.

    Returns:
        Were all of them sent.

    Raises:
        ReportRefusedError: the controller answered 4xx; later ones are not sent.
        SednaError: it could not be reached.
    """
    metadata = job.get("metadata") or {}
    name = f"doctor-{secrets.token_hex(4)}"
    where = WorkerEnvironment(
        namespace=str(metadata.get("namespace", "default")),
        job_name=str(metadata.get("name", "")),
        worker_name=name,
        lc_server=lc_server.rstrip("/"),
        output_url="",
        dataset_url="",
        original_dataset_url="",
    )
    for number, report in enumerate(reports):
        if report.wait_s:
            say(f"waiting {report.wait_s:.0f} s for the local controller's next look")
            sleep(report.wait_s)
        if number and (reason := _not_waiting(look())):
            say(f"not sent: {report.words}; {reason}")
            return False
        say(f"sending to {where.lc_server} as {name}: {report.words}")
        reporter = LcReporter(where, report.kind, not_before_s=0.0, linger_s=0.0, sleep=sleep)
        if report.status == "failed":
            reporter.failed()
        else:
            reporter.completed(report.model)
        say("it was answered 200, which says only that it was read")
    return True


def _not_waiting(state: str | None) -> str:
    """Why no further report goes to a job in this state; empty when one may."""
    if state == "Train/Waiting":
        return ""
    if state is None:
        return (
            "whether the job still waits cannot be seen from here (no kubectl, or it does not "
            "answer); ask for its state again in a minute, and run the doctor on that"
        )
    return f"the job has moved on by itself, to {state}"
