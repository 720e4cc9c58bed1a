"""`cornerloop doctor`: what is wrong with this set-up or with a job, and what to do about it.

Exit codes: 0 all is well (there may be warnings), 1 something is broken, 2 usage.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cloud.doctor.checks import Check, Level, Looked, Patient, examine
from lifelong.errors import LifelongError, SednaError

if TYPE_CHECKING:
    from cloud.doctor.job import Cluster

_MOST_AGE_S = 300.0  # of a file with a job's state that reports may still be sent for
_COLOURS = {Level.WELL: "green", Level.WARNING: "yellow", Level.BROKEN: "red"}

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
]


def doctor(
    config: ConfigOption = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this check; may be repeated.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what reads gigabytes or a long log.")
    ] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="The job's manifest, a file or a folder: is it as ours?")
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(help="State of a job as JSON, or - for standard input; then only jobs."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what is safe; with --job, free that job.")
    ] = False,
    lc_server: Annotated[
        str, typer.Option(envvar="LC_SERVER", help="The job's local controller, http://HOST:PORT.")
    ] = "",
    root: Annotated[
        Path, typer.Option(help="Where the disk of the job's node is mounted here.")
    ] = Path("/"),
    list_: Annotated[bool, typer.Option("--list", help="Name the checks, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """What is wrong here: configuration, variables, storage, models, Label Studio, the job."""
    checks = _chosen(only)
    if list_:
        for name, check in checks.items():
            typer.echo(f"{name:>14}  {check.what}{' (long)' if check.is_long else ''}")
        return
    if config is None and job is None:
        raise typer.BadParameter("name a configuration (--config), or a job (--job)")
    console = Console(stderr=True)
    with console.status("") as status:
        patient = Patient(
            config_path=config,
            environ=os.environ,
            manifest=manifest,
            is_quick=quick,
            tell=lambda words: status.update(f"looking at {words}"),
        )
        try:
            visit = Visit(patient, as_json=as_json)
            if job is None:
                _look(visit, checks, repair=repair)
            else:
                _look_at_jobs(visit, job, repair=repair, lc_server=lc_server, root=root)
        finally:
            patient.close()
    visit.end()
    if visit.is_broken:
        raise typer.Exit(1)


class Visit:
    """What was found and done, told as it comes, or as JSON in the end."""

    def __init__(self, patient: Patient, *, as_json: bool) -> None:
        self.patient = patient
        self.found: dict[str, Looked] = {}  # the last word on each check
        self._done: list[str] = []
        self._as_json = as_json
        self._failed = False

    @property
    def is_broken(self) -> bool:
        """Is anything broken at the end, or was a repair refused?"""
        return self._failed or any(looked.is_broken for looked in self.found.values())

    def tell(self, looked: Looked) -> None:
        """Tell one check's findings."""
        self.found[looked.check] = looked
        if not self._as_json:
            _print(looked)

    def say(self, what: str, words: str) -> None:
        """Tell what a repair is about to do, or has done."""
        line = f"{what}: {self.patient.masked(words)}"
        self._done.append(line)
        if not self._as_json:
            typer.echo(f"{'repair':>14}  {line}")

    def repaired(self, what: str, act: Callable[[Callable[[str], object]], object]) -> None:
        """Carry out one repair; one that cannot be done is told, and the next one is tried."""
        try:
            act(partial(self.say, what))
        except LifelongError as error:
            self._failed = True
            self.say(what, f"not done: {error}")

    def end(self) -> None:
        """The last line, or all of it as JSON."""
        levels = [f.level for looked in self.found.values() for f in looked.findings]
        counts = {str(level): levels.count(level) for level in Level}
        if not self._as_json:
            typer.echo(", ".join(f"{count} {level}" for level, count in counts.items() if count))
            return
        checks = [asdict(looked) for looked in self.found.values()]
        told: dict[str, Any] = {"counts": counts, "checks": checks, "repairs": self._done}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))


def _chosen(only: Iterable[str] | None) -> dict[str, Check]:
    from cloud.doctor.list_of_checks import CHECKS

    if not only:
        return CHECKS
    unknown = [name for name in only if name not in CHECKS]
    if unknown:
        raise typer.BadParameter(
            f"--only {unknown[0]}: no such check; there are {', '.join(CHECKS)}"
        )
    return {name: check for name, check in CHECKS.items() if name in set(only)}


def _look(visit: Visit, checks: dict[str, Check], *, repair: bool) -> None:
    from cloud.doctor.repairs import REPAIRS

    for looked in examine(visit.patient, checks):
        visit.tell(looked)
    if not repair:
        return
    ill = [name for name, looked in visit.found.items() if name in REPAIRS and _is_ill(looked)]
    for name in ill:
        visit.repaired(name, partial(REPAIRS[name], visit.patient))
    for looked in examine(visit.patient, {name: checks[name] for name in ill}):
        visit.tell(looked)


def _is_ill(looked: Looked) -> bool:
    return any(f.level in {Level.WARNING, Level.BROKEN} for f in looked.findings)


def _look_at_jobs(visit: Visit, job: str, *, repair: bool, lc_server: str, root: Path) -> None:
    from cloud.doctor.job import cluster_in, look_at_jobs

    text = sys.stdin.read() if job == "-" else _text_of(Path(job))
    where = "standard input" if job == "-" else job
    cluster = cluster_in(text, where)
    if repair and len(cluster.jobs) != 1:
        count = len(cluster.jobs)
        raise typer.BadParameter(f"{where} has {count} jobs; --repair frees one at a time")
    check = Check(what="jobs", look=lambda patient: look_at_jobs(patient, cluster), needs=())
    for looked in examine(visit.patient, {"job": check}):
        visit.tell(looked)
    if repair:

        def act(say: Callable[[str], object]) -> None:
            if job != "-":
                _refuse_stale(Path(job))
            _free(visit.patient, cluster, lc_server, root, say)

        visit.repaired("job", act)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--job {path}: cannot be read ({error.strerror})") from error


def _refuse_stale(path: Path) -> None:
    age = time.time() - path.stat().st_mtime
    if age > _MOST_AGE_S:
        raise SednaError(
            f"{path} is {age / 60:.0f} minutes old: the job may have moved on, and a report now "
            "would take it back; ask for its state again"
        )


def _free(
    patient: Patient, cluster: "Cluster", lc_server: str, root: Path, say: Callable[[str], object]
) -> None:
    from cloud.doctor.job import diagnosed, state_in_cluster
    from cloud.doctor.repairs import append_comments
    from cloud.doctor.reports import FilesUnder, proved_reports, send
    from lifelong.knowledge_base import KnowledgeBase

    (job,) = cluster.jobs
    found = diagnosed(patient, job, cluster)
    if found.comment_lines:
        append_comments(patient, found.comment_lines, say)
        return
    if not (found.is_stuck or found.reports):
        say("nothing is to be freed")
        return
    if not lc_server:
        raise SednaError("where its local controller listens is not known; name it: --lc-server")
    kb = KnowledgeBase(patient.storage) if patient.config_path is not None else None
    reports = proved_reports(found, job, kb, FilesUnder(root))
    look = partial(state_in_cluster, job)
    send(reports, job, lc_server, say=say, sleep=time.sleep, look=look)
    say("look again in a minute: whether the job took it, only its conditions tell")


def _print(looked: Looked) -> None:
    for number, finding in enumerate(looked.findings):
        name = looked.check if number == 0 else ""
        level = typer.style(str(finding.level), fg=_COLOURS.get(finding.level))
        where = f"{finding.where}: " if finding.where else ""
        typer.echo(f"{name:>14}  {level}: {where}{finding.what}")
        if finding.to_do:
            typer.echo(f"{'':>14}  -> {finding.to_do}")
