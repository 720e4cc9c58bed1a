"""`QueuesSeen`: what lies between the steps of the loop at one moment; `QueuesWatch` looks at it.

One listing a folder and look; of what is listed only the new is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.annotators.work import WORK, AnnotationWork
from lifelong.errors import CorruptRecordError, ObjectNotFoundError
from lifelong.links.storage import Entry, Storage
from lifelong.records.deliveries import Admission
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.keys import ADMISSIONS, EXAMPLES, REFUSED
from lifelong.records.rounds import Round
from lifelong.records.wire import from_json

REFUSED_READ = 200  # newest refused deliveries whose reasons are read
_REASON = "reason.txt"
_MAX_REASON = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDelivery:
    """A delivery that did not verify and lies aside."""

    folder: str  # key prefix in storage
    edge_id: str
    reason: str
    refused_at: datetime  # UTC, by the store's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesSeen:
    """What waits between steps."""

    refused: tuple[RefusedDelivery, ...] = ()  # the newest REFUSED_READ, newest first
    untaken: int = 0  # admitted hard examples that no round has taken
    work: tuple[AnnotationWork, ...] = ()  # by label map


class QueuesWatch:
    """Looks again and again; one object a watch, for it remembers."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._reasons: dict[str, tuple[str, str]] = {}  # key -> (mark, words)
        self._work: dict[str, tuple[str, AnnotationWork]] = {}
        self._admitted: set[SampleId] | None = None
        self._next_admission = 0
        self._taken: dict[RoundNumber, int] = {}  # rounds whose examples left `_admitted`

    def look(self, rounds: Sequence[Round]) -> QueuesSeen:
        """What waits now.

        Args:
            rounds: all there are.

        Raises:
            StorageError: storage cannot be reached.
        """
        return QueuesSeen(
            refused=self._refused(),
            untaken=self._untaken(rounds),
            work=self._works(),
        )

    def _refused(self) -> tuple[RefusedDelivery, ...]:
        entries = [e for e in self._storage.entries(REFUSED) if e.key.endswith(f"/{_REASON}")]
        newest = sorted(entries, key=lambda e: (e.modified, e.key), reverse=True)[:REFUSED_READ]
        found: dict[str, tuple[str, str]] = {}
        told = []
        for entry in newest:
            words = self._reason(entry)
            if words is None:
                continue  # taken away a moment ago
            found[entry.key] = (entry.mark, words)
            told.append(
                RefusedDelivery(
                    folder=entry.key.rsplit("/", 1)[0],
                    edge_id=entry.key.split("/")[1],
                    reason=words,
                    refused_at=entry.modified,
                )
            )
        self._reasons = found
        return tuple(told)

    def _reason(self, entry: Entry) -> str | None:
        known = self._reasons.get(entry.key)
        if known is not None and known[0] == entry.mark:
            return known[1]
        try:
            data = self._storage.get(entry.key)
        except ObjectNotFoundError:
            return None
        return data[: 4 * _MAX_REASON].decode(errors="replace")[:_MAX_REASON]

    def _works(self) -> tuple[AnnotationWork, ...]:
        found: dict[str, tuple[str, AnnotationWork]] = {}
        for entry in self._storage.entries(WORK):
            known = self._work.get(entry.key)
            if known is None or known[0] != entry.mark:
                try:
                    data = self._storage.get(entry.key)
                    known = (entry.mark, from_json(AnnotationWork, data, entry.key))
                except (ObjectNotFoundError, CorruptRecordError):
                    continue  # nothing but numbers on a page rest on it
            found[entry.key] = known
        self._work = found
        return tuple(work for _, work in found.values())

    def _untaken(self, rounds: Sequence[Round]) -> int:
        if self._admitted is None:
            # The last number first, then the names: what comes in between is in both.
            numbers = [_number(key) for key in self._storage.keys(ADMISSIONS)]
            self._admitted = {
                SampleId(key.rsplit("/", 1)[-1].removesuffix(".json"))
                for key in self._storage.keys(EXAMPLES)
            }
            self._next_admission = max(numbers, default=0) + 1
        self._read_admissions(self._admitted)
        for round_ in rounds:
            if self._taken.get(round_.number) != len(round_.examples):
                self._admitted.difference_update(e.sample_id for e in round_.examples)
                self._taken[round_.number] = len(round_.examples)
        return len(self._admitted)

    def _read_admissions(self, admitted: set[SampleId]) -> None:
        while True:
            key = f"{ADMISSIONS}/{self._next_admission:09d}.json"
            try:
                entry = from_json(Admission, self._storage.get(key), key)
            except ObjectNotFoundError:
                return
            admitted.update(entry.sample_ids)
            admitted.difference_update(entry.forgotten)
            self._next_admission += 1


def _number(key: str) -> int:
    name = key.rsplit("/", 1)[-1].removesuffix(".json")
    return int(name) if name.isdecimal() else 0
