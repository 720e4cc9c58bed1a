"""The knowledge base: versions, samples, examinations, as a log of changes that only grows.

Every change is one object `kb/log/{number}.json`, written by put-if-absent: it is there whole
or not at all, two writers cannot both take a number, and no earlier object is ever touched. A
record is known by its kind and id; adding it again changes nothing, adding another one under
the same id is refused. Nothing is pickled.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar, get_args

from lifelong.errors import CorruptRecordError, ObjectExistsError, RecordError
from lifelong.learning_tasks import TaskNames
from lifelong.links.storage import Storage
from lifelong.records.conditions import Condition, ConditionRuling, TaskMerge
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Examination, ModelVersion, TrainingFailure
from lifelong.records.samples import Sample, Split
from lifelong.records.wire import SCHEMA, dumps, from_plain, json_object, to_plain

T = TypeVar("T")
Known = (
    ModelVersion | Sample | Examination | TrainingFailure | Condition | ConditionRuling | TaskMerge
)
KINDS: Mapping[str, type[Known]] = {kind.__name__: kind for kind in get_args(Known)}
LOG = "kb/log"


def id_of(record: Known) -> str:
    """Under which id a record is known among those of its kind."""
    match record:
        case ModelVersion():
            return record.version_id
        case Sample():
            return record.sample_id
        case Examination():
            return record.decision.version_id
        case TrainingFailure():
            return str(record.round_number)
        case Condition():
            return record.condition_id
        case ConditionRuling():
            return f"{record.condition_id}/{record.number}"
        case TaskMerge():
            return str(record.number)


class KnowledgeBase:
    """What is known; `refresh` reads what other processes added, `add` adds."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records: dict[str, dict[str, Known]] = {name: {} for name in KINDS}
        self._number = 0  # of the last change that was read
        self._task_names = TaskNames()
        self.refresh()

    # -- reading -----------------------------------------------------------------------------

    @property
    def versions(self) -> Mapping[VersionId, ModelVersion]:
        """All model versions, in the order they became known."""
        return {VersionId(key): value for key, value in self._of(ModelVersion).items()}

    @property
    def samples(self) -> Mapping[SampleId, Sample]:
        """All samples, in the order they became known, with today's names of their tasks."""
        named = self._task_names.of
        return {SampleId(key): named(value) for key, value in self._of(Sample).items()}

    @property
    def examinations(self) -> Mapping[VersionId, Examination]:
        """What the gate said of each candidate."""
        return {VersionId(key): value for key, value in self._of(Examination).items()}

    @property
    def failures(self) -> Mapping[RoundNumber, TrainingFailure]:
        """Rounds whose training failed."""
        return {f.round_number: f for f in self._of(TrainingFailure).values()}

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """All conditions that were ever found in unseen pictures, the oldest first."""
        return self._of(Condition)

    @property
    def rulings(self) -> Mapping[str, list[ConditionRuling]]:
        """What was decided of each condition, the newest last."""
        found: dict[str, list[ConditionRuling]] = {}
        for ruling in sorted(self._of(ConditionRuling).values(), key=lambda r: r.number):
            found.setdefault(ruling.condition_id, []).append(ruling)
        return found

    @property
    def merges(self) -> list[TaskMerge]:
        """Every merge of learning tasks, in the order in which they hold."""
        return sorted(self._of(TaskMerge).values(), key=lambda merge: merge.number)

    @property
    def task_names(self) -> TaskNames:
        """What learning tasks are called by now."""
        return self._task_names

    def learned_by(self, version_id: VersionId | None) -> list[Sample]:
        """Every sample that a version or one of its ancestors was trained on, oldest first."""
        lineage: list[ModelVersion] = []
        while version_id is not None and version_id in self.versions:
            lineage.append(self.versions[version_id])
            version_id = lineage[-1].parent
        ids = [sample for version in reversed(lineage) for sample in version.trained_on]
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

    def candidate_of(self, number: RoundNumber) -> ModelVersion | None:
        """The model that a round trained, when it has."""
        found = [v for v in self.versions.values() if v.round_number == number and number > 0]
        return found[0] if found else None

    # -- changing ----------------------------------------------------------------------------

    def add(self, records: Iterable[Known], *, why: str) -> int:
        """Make records known, all of them or none.

        Returns:
            How many were new.

        Raises:
            RecordError: another record is known under the same id.
        """
        wanted = list(records)
        while True:
            self.refresh()
            new = [record for record in wanted if self._is_new(record)]
            if not new:
                return 0
            number = self._number + 1
            change = {
                "schema": SCHEMA,
                "number": number,
                "why": why,
                "records": [
                    {"kind": type(record).__name__, "record": to_plain(record)} for record in new
                ],
            }
            try:
                self._storage.put_if_absent(f"{LOG}/{number:08d}.json", dumps(change))
            except ObjectExistsError:
                continue  # somebody else took this number; read it and try the next one
            self._remember(new)
            self._number = number
            return len(new)

    def refresh(self) -> None:
        """Read the changes that are not known here yet.

        Raises:
            CorruptRecordError: a change that cannot be read; names its key.
        """
        start = f"{LOG}/{self._number:08d}.json"
        for key in self._storage.keys(LOG):
            if key <= start:
                continue
            change = json_object(self._storage.get(key), key)
            if change.get("schema") != SCHEMA or change.get("number") != self._number + 1:
                raise CorruptRecordError(
                    f"{key}: expected change {self._number + 1} of schema {SCHEMA}, got "
                    f"{change.get('number')!r} of {change.get('schema')!r}; restore the object"
                )
            self._remember(
                from_plain(_kind(entry, key), entry.get("record"), key)
                for entry in change.get("records", [])
            )
            self._number += 1

    def _of(self, kind: type[T]) -> dict[str, T]:
        return self._records[kind.__name__]  # type: ignore[return-value]

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

    def _remember(self, records: Iterable[Known]) -> None:
        names_changed = False
        for record in records:
            self._records[type(record).__name__][id_of(record)] = record
            names_changed |= isinstance(record, ConditionRuling | TaskMerge)
        if names_changed:
            rulings = self._of(ConditionRuling).values()
            self._task_names = TaskNames(rulings, self._of(TaskMerge).values())


def _kind(entry: object, key: str) -> type[Known]:
    name = entry.get("kind") if isinstance(entry, dict) else None
    if name not in KINDS:
        raise CorruptRecordError(f"{key}: unknown kind of record {name!r}; update Cornerloop")
    return KINDS[str(name)]
