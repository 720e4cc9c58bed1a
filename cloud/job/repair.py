"""A local job that frees itself: diagnosis, then the reports and lines that it names.

Asked for by `--repair`. What is done is what `cornerloop doctor --repair` does to a job on a
cluster; nothing here knows more than the job's own object and the service's rounds.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cloud.job.book import JobBook
from cloud.job.files import JobFiles
from cloud.job.manifest import Manifest
from cloud.job.recovery import Diagnosis, Patience, Report, diagnose
from cloud.job.states import DueReport, Repair
from cloud.job.status import job_object

logger = logging.getLogger(__name__)
MOST_TRIES = 3  # of one repair in one round


def patience_for(tick_seconds: float) -> Patience:
    """Sedna's local controller ticks every 10 s; a faster job is stuck sooner."""
    scale = tick_seconds / 10
    return Patience(
        controllers=timedelta(seconds=150 * scale),
        pod_start=timedelta(seconds=600 * max(scale, 0.1)),
        settle_s=20 * scale,
    )


class Repairer:
    """Looks after each tick, and acts when the job is stuck or went by a wrong model."""

    def __init__(
        self,
        manifest: Manifest,
        files: JobFiles,
        book: JobBook,
        *,
        append_report: Callable[[Mapping[str, object], str], None],
        awaits_training: Callable[[], bool],
        patience: Patience,
    ) -> None:
        """Args:
        append_report: gives the job a report, and says why.
        awaits_training: whether a round of the service waits for this job.
        """
        self._manifest = manifest
        self._files = files
        self._book = book
        self._append_report = append_report
        self._awaits_training = awaits_training
        self._patience = patience

    def diagnosis(self) -> Diagnosis:
        """How the job stands."""
        state = self._book.state
        waits = state.last is not None and state.last.name == "Train/Waiting"
        return diagnose(
            job_object(self._manifest.job.source, state),
            self._book.now(),
            patience=self._patience,
            awaits_training=waits and self._awaits_training(),
            pod_is_gone=state.pod_is_gone,
        )

    def look(self) -> None:
        """Send what is due; else look whether something must be done."""
        state, now = self._book.state, self._book.now()
        if state.repairs_due:
            due = state.repairs_due[0].due
            if due is not None and now >= due:
                self._send_next(now)
            return
        found = self.diagnosis()
        usable = [r for r in found.reports if not r.needs_file or self._files.exists(r.needs_file)]
        # The first of two reports is worth sending alone: it puts the job back to where it waits.
        if usable and self._may_try(found):
            self._plan(usable, found, now)
        elif found.comment_lines and self._may_try(found):
            self._append_lines(found.comment_lines, found)

    def _may_try(self, found: Diagnosis) -> bool:
        """Not for ever the same: a repair that does not help is left to people."""
        told = _words(found, self._book.state.rounds_begun)
        return sum(r.told == told for r in self._book.state.repairs) < MOST_TRIES

    def _plan(self, reports: list[Report], found: Diagnosis, now: datetime) -> None:
        self._book.state.repairs_due = [
            DueReport(
                kind=report.kind,
                status=report.status,
                results=[dict(model) for model in report.results],
                wait_s=report.wait_s,
                due=None if index else now,
            )
            for index, report in enumerate(reports)
        ]
        self._note(found, now)

    def _send_next(self, now: datetime) -> None:
        state = self._book.state
        due = state.repairs_due.pop(0)
        for following in state.repairs_due[:1]:
            following.due = now + timedelta(seconds=following.wait_s)
        last = state.last
        waits = last is not None and last.name == "Train/Waiting"
        if due.status != "failed" and not waits:
            # A round began meanwhile: its own report will come, this one would take it back.
            state.repairs_due.clear()
            self._book.save()
            return
        body: Mapping[str, object] = {
            "kind": due.kind,
            "status": due.status,
            "results": due.results,
        }
        self._append_report(body, "repair")

    def _append_lines(self, count: int, found: Diagnosis) -> None:
        now = self._book.now()
        path = self._files.host(self._manifest.dataset.spec.url)
        append_lines(path, [f"# again {now:%Y-%m-%dT%H:%M:%SZ}"] * count)
        self._note(found, now)

    def _note(self, found: Diagnosis, now: datetime) -> None:
        told = _words(found, self._book.state.rounds_begun)
        logger.warning("repair: %s", told)
        self._book.state.repairs.append(Repair(at=now, told=told))
        self._book.save()


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines in one write; a torn last line is ended first."""
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("ab") as index:
        index.write(("\n" * torn + "".join(f"{line}\n" for line in lines)).encode())
        index.flush()
        os.fsync(index.fileno())


def _words(found: Diagnosis, round_number: int) -> str:
    return f"round {round_number}: {found.reasons[-1] if found.reasons else found.state}"
