"""What the doctor puts right by itself: a dead service's lease, a project's settings, a torn line.

Each repair says before what it does and afterwards what became of it, and changes nothing where
there is nothing to repair. Freeing a job is another matter: `cloud/doctor_reports.py`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.doctor import Patient
from cloud.doctor_checks_dataset import index_path, read_index
from cloud.doctor_checks_storage import newest_term
from cloud.lease import Lease, is_dead
from lifelong.errors import ConfigError, RoundError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.label_map_history import read_history

Say = Callable[[str], object]


def free_lease(patient: Patient, say: Say) -> None:
    """End the lease of a service of this host that was killed."""
    term = newest_term(patient.storage)
    if term is None or term.until <= patient.now() or not is_dead(term):
        return
    say(f"ending term {term.number}, which {term.host}, process {term.process}, left behind")
    with _under_lease(patient):
        pass
    say("the next service begins at once")


@contextmanager
def _under_lease(patient: Patient) -> Iterator[None]:
    """As a service would be: nobody else writes meanwhile."""
    lease = Lease(patient.storage, patient.config.rounds.lease_seconds, patient.now)
    if not lease.hold():
        raise RoundError("a service is at work and holds the lease; stop it first, or let it mend")
    try:
        yield
    finally:
        lease.release()


def mend_project(patient: Patient, say: Say) -> None:
    """Give our project its settings, missing labels, hints and model; what fits is not touched."""
    from annotation.project import ensure_project
    from annotation.project_settings import ensure_backend, ensure_settings
    from annotation.webhooks import ensure_webhook

    section = patient.config.label_studio
    if patient.config.annotation_folder is not None:
        return
    if not patient.studio.projects_titled(section.project):
        return  # the first round makes it
    history = read_history(patient.storage, patient.label_map)
    others = history.other_names(patient.label_map) if history.changes else None
    say(f"project {section.project!r}: setting its labels, settings, hints and model")
    project = ensure_project(patient.studio, section.project, patient.label_map, others)
    ensure_settings(patient.studio, project.project_id)
    if section.webhook_url:
        secret = patient.environ.get(section.webhook_secret_env, "")
        if not secret:
            raise ConfigError(f"{section.webhook_secret_env} is empty; hints need a secret")
        ensure_webhook(patient.studio, project.project_id, url=section.webhook_url, secret=secret)
    refusal = ""
    if section.ml_backend and patient.studio.shown_version(project.project_id):
        # Before drafts are shown, the model would be asked for every task that is opened.
        refusal = ensure_backend(patient.studio, project.project_id, section.ml_backend)
    say(f"project {project.project_id}: {refusal or 'is as it should be'}")


def end_torn_line(patient: Patient, say: Say) -> None:
    """End a line of the index that a crash cut off; whole again where we know the sample."""
    path = index_path(patient)
    if not path.exists() or not (torn := read_index(path).torn):
        return
    rest = _rest_of(torn, path, patient)
    if rest is None:
        what, rest = "ending it; of what sample it was is unsure", ""
    else:
        what = f"completing it with {rest!r}"
    say(f"{path}: its last line is {torn!r}; {what}")
    with _under_lease(patient):
        append_durably(path, f"{rest}\n")
    say(f"{path}: ends with a whole line")


def _rest_of(torn: str, path: Path, patient: Patient) -> str | None:
    """What a torn line lacks, when just one sample can be meant and its files are there."""
    listed = set(read_index(path).samples)
    lines = [
        f"images/{sample}.jpg masks/{sample}.png"
        for sample in KnowledgeBase(patient.storage).samples
        if sample not in listed
    ]
    meant = [line for line in lines if line.startswith(torn)]
    if len(meant) != 1 or not all((path.parent / name).is_file() for name in meant[0].split()):
        return None
    return meant[0][len(torn) :]


def append_durably(path: Path, text: str) -> None:
    """Append to an index in one write: Sedna reads while we do."""
    with path.open("ab") as handle:
        handle.write(text.encode())
        handle.flush()
        os.fsync(handle.fileno())


def append_comments(patient: Patient, lines: int, say: Say) -> None:
    """Lines that Sedna counts and workers pass over: the trigger fires, and what waits is learned.

    Raises:
        ConfigError: the index is not on this machine.
    """
    path = index_path(patient)
    if not path.exists():
        raise ConfigError(
            f"{path}: the Dataset's index is not on this machine; run this on its node"
        )
    if read_index(path).torn:
        raise ConfigError(f"{path}: its last line is torn; run `cornerloop doctor --repair` first")
    say(f"appending {lines} lines of `#` to {path}")
    # The service, which waits for this round, may go on holding its lease: both only append.
    append_durably(path, "# one more round, asked for by cornerloop doctor\n" * lines)
    say("Sedna counts them within a minute")


# By the check that finds what is to be repaired.
REPAIRS: dict[str, Callable[[Patient, Say], None]] = {
    "lease": free_lease,
    "project": mend_project,
    "index": end_torn_line,
}
