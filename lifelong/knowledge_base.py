"""The knowledge base: what is known of models, samples and trainings, as a log that only grows.

Every change is one object `kb/log/{number}.json`, written by put-if-absent: it is there whole or
not at all, and two writers cannot both take a number. `knowledge/log.py` has the form of a change
and the chain of hashes, `knowledge/checkpoints.py` makes opening fast,
`knowledge/known_records.py` says which kinds there are. A record is known by its kind and id;
adding it again changes nothing, adding another one under the same id is refused. The one thing
that is ever taken out again is what somebody wants to be forgotten. Nothing is pickled.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar, cast

from lifelong.errors import ObjectExistsError, RecordError
from lifelong.knowledge.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)
from lifelong.knowledge.known_records import KINDS, Known, id_of, refuse_unsafe
from lifelong.knowledge.log import (
    GENESIS,
    LOG,
    Change,
    change_of,
    changes,
    key_of,
    last_number,
    read_change,
    to_bytes,
)
from lifelong.learning_tasks import TaskNames
from lifelong.links.storage import Storage
from lifelong.records.conditions import ConditionRuling, TaskMerge
from lifelong.records.forget_requests import ForgetRequest, Forgotten
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Examination, ModelVersion, TrainingFailure
from lifelong.records.samples import Sample, Split

__all__ = ["KINDS", "LOG", "KnowledgeBase"]

T = TypeVar("T")
CHECKPOINT_EVERY = 256  # changes
# Kinds of records after which samples are read anew, because their tasks may be called otherwise.
_NAMING = {kind.__name__ for kind in (Sample, ConditionRuling, TaskMerge)}


class KnowledgeBase:
    """What is known; `refresh` reads what other processes added, `add` adds."""

    def __init__(
        self,
        storage: Storage,
        *,
        salt: Callable[[], str] = lambda: secrets.token_hex(16),
        checkpoint_every: int = CHECKPOINT_EVERY,
    ) -> None:
        """
        Raises:
            CorruptRecordError: a change that cannot be read, or is missing; names its key.
        """
        self._storage = storage
        self._salt = salt
        self._checkpoint_every = checkpoint_every
        # Never changed in place: what was handed out stays as it was.
        self._records: dict[str, dict[str, Known]] = {name: {} for name in KINDS}
        self._task_names = TaskNames()
        self._samples: Mapping[str, Sample] = {}  # with today's names of their learning tasks
        self._forgotten: frozenset[SampleId] = frozenset()
        self._number = 0  # of the last change that was read
        self._head = GENESIS  # its hash
        self._checkpoint = 0  # number of the newest checkpoint
        self._open()

    # -- reading -----------------------------------------------------------------------------

    @property
    def versions(self) -> Mapping[VersionId, ModelVersion]:
        """All model versions, in the order they became known."""
        return cast(Mapping[VersionId, ModelVersion], self.of(ModelVersion))

    @property
    def samples(self) -> Mapping[SampleId, Sample]:
        """All samples, in the order they became known, with today's names of their tasks."""
        return cast(Mapping[SampleId, Sample], MappingProxyType(self._samples))

    @property
    def examinations(self) -> Mapping[VersionId, Examination]:
        """What the gate said of each candidate."""
        return cast(Mapping[VersionId, Examination], self.of(Examination))

    @property
    def failures(self) -> Mapping[RoundNumber, TrainingFailure]:
        """Rounds whose training failed."""
        return {f.round_number: f for f in self.of(TrainingFailure).values()}

    @property
    def task_names(self) -> TaskNames:
        """What learning tasks are called by now."""
        return self._task_names

    @property
    def forgotten(self) -> frozenset[SampleId]:
        """Pictures that somebody wanted to be forgotten; they never come back."""
        return self._forgotten

    @property
    def changes(self) -> int:
        """How many changes the log has."""
        return self._number

    @property
    def head(self) -> str:
        """The hash of the last change: whoever keeps it can tell whether the log is still it."""
        return self._head

    def of(self, kind: type[T]) -> Mapping[str, T]:
        """All records of one kind by id, in the order they became known."""
        return MappingProxyType(self._records[kind.__name__])

    def learned_by(self, version_id: VersionId | None) -> list[Sample]:
        """Every sample that a version or one of its ancestors was trained on, oldest first."""
        ids = [s for version in reversed(self.line_of(version_id)) for s in version.trained_on]
        return [self.samples[key] for key in dict.fromkeys(ids) if key in self.samples]

    def not_learned_by(self, version_id: VersionId | None) -> list[Sample]:
        """Training samples that neither a version nor its ancestors have seen."""
        learned = {sample.sample_id for sample in self.learned_by(version_id)}
        return [
            s
            for s in self.samples.values()
            if s.split is Split.TRAIN and s.sample_id not in learned
        ]

    def tasks_learned_by(self, version_id: VersionId | None) -> list[str]:
        """Names of the learning tasks of `learned_by`, in the order they were met."""
        return list(dict.fromkeys(sample.learning_task for sample in self.learned_by(version_id)))

    def line_of(self, version_id: VersionId | None) -> list[ModelVersion]:
        """A version and its ancestors, newest first."""
        line: list[ModelVersion] = []
        seen: set[VersionId] = set()
        while version_id is not None and version_id in self.versions and version_id not in seen:
            seen.add(version_id)
            line.append(self.versions[version_id])
            version_id = line[-1].parent
        return line

    def candidate_of(self, number: RoundNumber) -> ModelVersion | None:
        """The model that a round trained, when it has."""
        found = [v for v in self.versions.values() if v.round_number == number and number > 0]
        return found[0] if found else None

    def refresh(self) -> None:
        """Read the changes that are not known here yet; one question when there are none.

        Raises:
            CorruptRecordError: a change that cannot be read; names its key.
        """
        new = []
        number, head = self._number, self._head
        while (change := read_change(self._storage, number + 1, head)) is not None:
            new.append(change)
            number, head = number + 1, change.sha256
        self._take(new)

    # -- changing ----------------------------------------------------------------------------

    def add(self, records: Iterable[Known], *, why: str) -> int:
        """Make records known, all of them or none; those about forgotten samples are left out.

        Args:
            why: for people who read the log; names nobody.

        Returns:
            How many were new.

        Raises:
            RecordError: another record is known under the same id, or one is of no known kind.
        """
        wanted = list(records)
        for record in wanted:
            id_of(record)
            refuse_unsafe(record, "knowledge base")
        while True:
            self.refresh()
            new = [r for r in wanted if not self._is_forgotten(r) and self._is_new(r)]
            if not new:
                return 0
            change = change_of(self._number + 1, self._head, why, new, self._salt)
            try:
                self._storage.put_if_absent(key_of(change.number), to_bytes(change))
            except ObjectExistsError:
                continue  # somebody else took this number; read it and try the next one
            self._take([change])
            self._save_checkpoint()
            return len(new)

    def forget(self, request: ForgetRequest, at: datetime) -> int:
        """Take what is known of samples out of the log; the chain of hashes stays whole.

        First a change says which entries will be emptied, so that every process drops them, then
        they are emptied where they lie. Repeating it finishes what was cut off.

        Args:
            at: UTC.

        Returns:
            How many entries of the log were emptied.
        """
        while True:
            self.refresh()
            known = self.of(Forgotten)
            listed = {entry for record in known.values() for entry in record.entries}
            found = self._entries_about({*request.samples, *self._forgotten})
            missing = tuple(entry for entry in found if entry not in listed)
            if set(request.samples) <= self._forgotten and not missing:
                break
            again = sum(key.startswith(request.request_id) for key in known)
            record = Forgotten(
                forgotten_id=f"{request.request_id}-{again}" if again else request.request_id,
                scope=request.scope,
                samples=request.samples,
                entries=missing,
                at=at,
            )
            self.add([record], why="forgotten on request")
        emptied = self._empty_entries()
        if remove_checkpoints(self._storage):
            self._checkpoint = 0  # the next change brings one again
        return emptied

    def _entries_about(self, samples: Iterable[SampleId]) -> list[str]:
        wanted = frozenset(samples)
        return [
            entry.sha256
            for change in changes(self._storage, 0, self._number, GENESIS)
            for entry in change.entries
            if entry.subject in wanted
        ]

    def _empty_entries(self) -> int:
        emptied = 0
        for change in changes(self._storage, 0, self._number, GENESIS):
            left = change.without(self._forgotten)
            if left != change:
                self._storage.put(key_of(change.number), to_bytes(left))
                emptied += sum(a != b for a, b in zip(left.entries, change.entries, strict=True))
        return emptied

    # -- inside ------------------------------------------------------------------------------

    def _open(self) -> None:
        last = last_number(self._storage)
        checkpoint = newest_checkpoint(self._storage, last)
        if checkpoint is not None:
            self._remember([r for of_kind in checkpoint.records.values() for r in of_kind])
            self._number, self._head = checkpoint.number, checkpoint.head
            self._checkpoint = checkpoint.number
        held = set(self.samples)
        self._take(list(changes(self._storage, self._number, last, self._head)))
        if held & self._forgotten:  # written while somebody forgot, by a process that died of it
            remove_checkpoints(self._storage)

    def _take(self, new: Sequence[Change]) -> None:
        if new:
            self._remember([record for change in new for record in change.records()])
            self._number, self._head = new[-1].number, new[-1].sha256

    def _remember(self, records: Sequence[Known]) -> None:
        gone = {s for r in records if isinstance(r, Forgotten) for s in r.samples}
        forgotten = self._forgotten | gone
        by_kind: dict[str, dict[str, Known]] = {}
        for record in records:
            if getattr(record, "sample_id", None) not in forgotten:
                by_kind.setdefault(type(record).__name__, {})[id_of(record)] = record
        kept = self._records | {k: self._records[k] | new for k, new in by_kind.items()}
        if gone:
            kept = {
                name: {
                    key: one
                    for key, one in of_kind.items()
                    if getattr(one, "sample_id", None) not in gone
                }
                for name, of_kind in kept.items()
            }
        self._records, self._forgotten = kept, forgotten
        if gone or by_kind.keys() & _NAMING:
            self._task_names = TaskNames(
                self.of(ConditionRuling).values(), self.of(TaskMerge).values()
            )
            self._samples = self._task_names.all_of(self.of(Sample))

    def _is_forgotten(self, record: Known) -> bool:
        return getattr(record, "sample_id", None) in self._forgotten

    def _is_new(self, record: Known) -> bool:
        known = self._records[type(record).__name__].get(id_of(record))
        if known is None:
            return True
        if known != record:
            raise RecordError(
                f"knowledge base: another {type(record).__name__} is known as {id_of(record)}; "
                "records are never overwritten, give the new one an id of its own"
            )
        return False

    def _save_checkpoint(self) -> None:
        if self._number - self._checkpoint < self._checkpoint_every:
            return
        self._checkpoint = self._number
        records = {name: list(of_kind.values()) for name, of_kind in self._records.items()}
        before = self._forgotten
        write_checkpoint(self._storage, Checkpoint(self._number, self._head, records))
        self.refresh()
        if self._forgotten != before:  # somebody forgot meanwhile, and looked before we wrote
            remove_checkpoints(self._storage)
