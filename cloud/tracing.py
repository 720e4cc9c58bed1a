"""One picture's story: from the edge to the model, out of records, journals and logs.

What is known of a sample lies in many places under one id. A task of Label Studio leads to its
sample by the round that offered it; a request has only journals and logs.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lifelong.errors import LifelongError, ObjectNotFoundError
from lifelong.links.journal import read_events
from lifelong.links.redaction import cleaned, cleaned_value
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.keys import (
    INBOX,
    RECEIPTS,
    REFUSED,
    example_record_key,
    forgotten_key,
)
from lifelong.records.model_versions import ModelVersion, Release
from lifelong.records.rounds import Round
from lifelong.records.samples import HardExample, Sample
from lifelong.records.wire import from_json

_SAMPLE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happened, or is the case."""

    at: datetime | None  # UTC; None: nobody wrote down when
    where: str  # storage, round 3, journal of gate-1, log …
    what: str  # in words
    facts: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As JSON-ready values, without secrets."""
        at = self.at.isoformat() if self.at else None
        told: dict[str, Any] = cleaned_value(
            {"at": at, "where": self.where, "what": self.what, "facts": dict(self.facts)}
        )
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The records that a trace reads, opened by whoever asks."""

    storage: Storage
    rounds: Sequence[Round]
    samples: Mapping[SampleId, Sample]
    versions: Sequence[ModelVersion]
    releases: Sequence[Release]
    label_studio: str  # address, for links


def trace(
    name: str, known: Known, journals: Iterable[Path] = (), logs: Iterable[Path] = ()
) -> list[Step]:
    """Everything that is known of a sample, task or request, oldest first; undated steps last.

    Args:
        name: a sample id, the number of a task of Label Studio, or the id of a request.
        journals: folders with a folder a node.
        logs: files of JSON lines.

    Raises:
        StorageError: storage cannot be read.
    """
    samples = _samples_of(name, known.rounds)
    steps: list[Step] = []
    for sample in samples:
        steps += _in_storage(sample, known.storage)
        steps += _in_rounds(sample, known)
        steps += _in_models(sample, known)
    tasks = {
        t.task_id
        for r in known.rounds
        for t in r.tasks
        if t.sample_id in samples and not t.asks_nobody
    }
    names = {name, *samples}
    for folder in journals:
        steps += _in_journal(folder, names, tasks)
    for path in logs:
        steps += _in_log(path, names)
    dated = sorted((s for s in steps if s.at), key=lambda s: s.at or datetime.min)
    return [*dated, *(s for s in steps if s.at is None)]


def _samples_of(name: str, rounds: Sequence[Round]) -> tuple[SampleId, ...]:
    if name.isascii() and name.isdigit() and len(name) < 16:
        tasks = (task for round_ in rounds for task in round_.tasks)
        return tuple(dict.fromkeys(t.sample_id for t in tasks if t.task_id == int(name)))
    return (SampleId(name),) if _SAMPLE.fullmatch(name) else ()


def _in_storage(sample: SampleId, storage: Storage) -> Iterator[Step]:
    """Where its objects lie; the listings are of small folders, by node."""
    for folder, what in (
        (INBOX, "delivered by the node, waits to be admitted"),
        (REFUSED, "refused: did not verify"),
        (RECEIPTS, "the node is told what became of it"),
    ):
        for entry in storage.entries(folder):
            if sample in entry.key:
                yield Step(at=entry.modified, where="storage", what=what, facts={"key": entry.key})
    try:
        key = example_record_key(sample)
        example = from_json(HardExample, storage.get(key), key)
    except ObjectNotFoundError:
        pass
    except LifelongError as error:
        yield Step(at=None, where="storage", what=f"its record cannot be read: {error}")
    else:
        yield Step(
            at=example.captured_at,
            where=f"edge {example.edge_id}",
            what="taken by the camera and kept as hard (by the device's clock)",
            facts={
                "version_id": example.version_id,
                "score": example.score,
                "reasons": list(example.reasons),
            },
        )
    if storage.exists(forgotten_key(sample)):
        yield Step(at=None, where="storage", what="forgotten on request")


def _in_rounds(sample: SampleId, known: Known) -> Iterator[Step]:
    for round_ in known.rounds:
        where = f"round {round_.number}"
        if any(example.sample_id == sample for example in round_.examples):
            yield Step(
                at=round_.entered.get("preannotating"), where=where, what="chosen for the round"
            )
        for draft in round_.drafts:
            if draft.sample_id == sample:
                yield Step(
                    at=round_.entered.get("annotating"),
                    where=where,
                    what=f"drafted by {draft.proposed_by}+{draft.labelled_by}",
                    facts={"score": draft.score, "key": draft.mask_key},
                )
        for task in round_.tasks:
            if task.sample_id == sample:
                yield _task_step(task.task_id, task.project_id, round_, known, where)
        for annotation in round_.annotations:
            if annotation.sample_id == sample:
                yield Step(
                    at=annotation.annotated_at,
                    where=where,
                    what="annotated by a person" if annotation.annotator else "annotated",
                    facts={
                        "annotation_id": annotation.annotation_id,
                        "agreement": annotation.agreement,
                        "changed_pixels": annotation.changed_pixels,
                        "seconds": annotation.seconds,
                    },
                )
        for skip in round_.skips:
            if skip.sample_id == sample:
                yield Step(at=None, where=where, what=f"left out: {skip.reason}")


def _task_step(task_id: int, project_id: int, round_: Round, known: Known, where: str) -> Step:
    at = round_.entered.get("annotating")
    if task_id == 0:
        return Step(at=at, where=where, what="its draft was sure enough to count without a person")
    link = f"{known.label_studio.rstrip('/')}/projects/{project_id}/data?task={task_id}"
    return Step(
        at=at, where="Label Studio", what=f"task {task_id}", facts={"task": task_id, "link": link}
    )


def _in_models(sample: SampleId, known: Known) -> Iterator[Step]:
    found = known.samples.get(sample)
    if found is not None:
        verb = "trains" if found.split == "train" else "examines"
        yield Step(
            at=None, where="knowledge base", what=f"{verb} in learning task {found.learning_task}"
        )
    released = {release.version_id: release for release in reversed(known.releases)}
    for version in known.versions:
        used = "trained on" if sample in version.trained_on else "replayed for"
        if sample in version.trained_on or sample in version.replayed:
            release = released.get(version.version_id)
            yield Step(
                at=release.released_at if release else None,
                where="knowledge base",
                what=f"{used} version {version.version_id}"
                + (f", release {release.number}" if release else ", which was not released"),
            )


def _in_journal(folder: Path, names: set[str], tasks: set[int]) -> Iterator[Step]:
    for event in read_events(folder):
        is_task = event.get("task_id") in tasks and isinstance(event.get("task_id"), int)
        if not is_task and not _names_one(event, names):
            continue
        facts = {k: v for k, v in event.items() if k not in {"schema", "at", "node", "event"}}
        yield Step(
            at=_moment(event.get("at")),
            where=f"journal of {event.get('node', '?')}",
            what=str(event.get("event", "?")),
            facts=facts,
        )


def _in_log(path: Path, names: set[str]) -> Iterator[Step]:
    """
    Raises:
        LifelongError: there is no such file.
    """
    try:
        lines = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LifelongError(
            f"{path}: cannot be read ({error.strerror}); name a file of JSON lines"
        ) from error
    with lines:
        for text in lines:
            if not any(name in text for name in names):
                continue
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text.rstrip("\n")}  # a line for people
            if isinstance(line, dict):
                yield Step(
                    at=_moment(line.get("at")),
                    where=f"log of {line.get('node', path.name)}",
                    what=cleaned(str(line.get("message", ""))),
                    facts={k: line[k] for k in ("level", "logger", "request") if k in line},
                )


def _names_one(value: Any, names: set[str]) -> bool:
    if isinstance(value, str):
        return value in names or any(part in names for part in value.split("/"))
    if isinstance(value, dict):
        return any(_names_one(one, names) for one in value.values())
    return isinstance(value, list) and any(_names_one(one, names) for one in value)


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else None
