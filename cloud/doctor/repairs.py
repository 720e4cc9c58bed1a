"""What the doctor puts right by itself: a dead service's lease, a project's settings, a torn line.

Each repair says before what it does and afterwards what became of it, and changes nothing where
there is nothing to repair. Freeing a job is another matter: `cloud/doctor/reports.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloud.doctor.checks import Patient
from cloud.doctor.dataset_checks import Index, index_of, is_there
from cloud.doctor.storage_checks import newest_term
from cloud.job.dataset_index import line_of, open_dataset, rewrite_index
from cloud.lease import Lease, is_dead
from lifelong.errors import ConfigError, RoundError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.map_history import read_history

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
    index = index_of(patient)
    torn = index.torn if index is not None else ""
    if index is None or not torn:
        return
    rest = _rest_of(index, patient)
    if rest is None:
        what, rest = "ending it; of what sample it was is unsure", ""
    else:
        what = f"completing it with {rest!r}"
    say(f"{index.where}: its last line is {torn!r}; {what}")
    with _under_lease(patient):
        _change_index(patient, lambda text: f"{text}{rest}\n" if text.endswith(torn) else text)
    say(f"{index.where}: ends with a whole line")


def _rest_of(index: Index, patient: Patient) -> str | None:
    """What a torn line lacks, when just one sample can be meant and its files are there."""
    listed, is_file = set(index.samples), is_there(patient)
    samples = KnowledgeBase(patient.storage).samples.values()
    lines = [line_of(sample) for sample in samples if sample.sample_id not in listed]
    meant = [line for line in lines if line.startswith(index.torn)]
    if len(meant) != 1 or not all(map(is_file, meant[0].split())):
        return None
    return meant[0][len(index.torn) :]


def append_comments(patient: Patient, lines: int, say: Say) -> None:
    """Lines that Sedna counts and workers pass over: the trigger fires, and what waits is learned.

    Raises:
        ConfigError: there is no such index here, or its last line is torn.
    """
    index = index_of(patient)
    if index is None:
        place = patient.config.job.dataset_path
        raise ConfigError(f"{place}: the Dataset's index is not here; run this on its node")
    if index.torn:
        raise ConfigError(
            f"{index.where}: its last line is torn; run `cornerloop doctor --repair` first"
        )
    say(f"appending {lines} lines of `#` to {index.where}")
    # Without the lease: the service holds it while it waits for this very round.
    comment = "# one more round, asked for by cornerloop doctor\n"
    _change_index(patient, lambda text: text + comment * lines)
    say("Sedna counts them within a minute")


def _change_index(patient: Patient, change: Callable[[str], str]) -> None:
    job = patient.config.job
    rewrite_index(open_dataset(job.dataset_path), job.index, change)


# By the check that finds what is to be repaired.
REPAIRS: dict[str, Callable[[Patient, Say], None]] = {
    "lease": free_lease,
    "project": mend_project,
    "index": end_torn_line,
}
