"""Is the log still what was written? Every finding in words, for `cornerloop kb verify`."""

from collections.abc import Iterable
from dataclasses import dataclass

from lifelong.errors import CorruptRecordError, LifelongError
from lifelong.knowledge.checkpoints import CHECKPOINTS, newest_checkpoint
from lifelong.knowledge.known_records import Known, id_of
from lifelong.knowledge.log import FIRST_SCHEMA, GENESIS, Change, last_number, read_change
from lifelong.links.storage import Storage
from lifelong.records.forget_requests import Forgotten
from lifelong.records.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What a walk through the whole log found."""

    changes: int
    records: int
    forgotten: int  # entries that were emptied on request
    unlinked: int  # changes of schema 1 after which none of schema 2 has come yet
    head: str  # hash of the last change
    findings: tuple[str, ...]  # what is wrong; empty: nothing


def verify(storage: Storage) -> LogCheck:
    """Read every change and follow the chain.

    A changed, swapped, missing or inserted change is found, and an entry that was emptied without
    a request. What no chain can tell: whether its newest changes were cut off; compare `head`, or
    a checkpoint, which is done here.

    Raises:
        StorageError: storage cannot be reached.
    """
    walk = _Walk()
    try:
        last = last_number(storage)
        previous = GENESIS
        for number in range(1, last + 1):
            change = read_change(storage, number, previous)
            if change is None:
                break
            walk.take(change)
            previous = change.sha256
    except CorruptRecordError as error:
        # What follows a broken link says nothing any more.
        walk.findings.append(str(error))
    walk.findings += _unasked(walk)
    if not walk.findings:
        walk.findings += _of_checkpoint(storage, walk)
    return LogCheck(
        changes=len(walk.heads),
        records=sum(len(of_kind) for of_kind in walk.records.values()),
        forgotten=len(walk.emptied),
        unlinked=walk.unlinked,
        head=walk.heads[-1] if walk.heads else GENESIS,
        findings=tuple(walk.findings),
    )


class _Walk:
    """What the changes so far add up to."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Known]] = {}
        self.heads: list[str] = []
        self.emptied: list[str] = []
        self.unlinked = 0
        self.findings: list[str] = []

    def take(self, change: Change) -> None:
        for record in change.records():
            self.records.setdefault(type(record).__name__, {})[id_of(record)] = record
        self.emptied += [entry.sha256 for entry in change.entries if entry.is_forgotten]
        self.unlinked = self.unlinked + 1 if change.schema == FIRST_SCHEMA else 0
        self.heads.append(change.sha256)

    @property
    def forgotten(self) -> list[Forgotten]:
        return list(self.records.get("Forgotten", {}).values())


def _unasked(walk: _Walk) -> Iterable[str]:
    asked = {entry for record in walk.forgotten for entry in record.entries}
    for entry in walk.emptied:
        if entry not in asked:
            yield f"entry {entry[:16]}… is empty, but nobody asked for that; restore its change"
    gone = {sample for record in walk.forgotten for sample in record.samples}
    left = gone & set(walk.records.get(Sample.__name__, {}))
    if left:
        yield (
            f"{len(left)} forgotten samples are still in the log ({min(left)} …); run "
            "`cornerloop kb forget --unfinished`"
        )


def _of_checkpoint(storage: Storage, walk: _Walk) -> Iterable[str]:
    try:
        found = newest_checkpoint(storage, 10**9)
    except LifelongError as error:
        return [f"{CHECKPOINTS}: {error}"]
    if found is None:
        return []
    if found.number > len(walk.heads):
        return [
            f"the log ends at change {len(walk.heads)}, but a checkpoint knows change "
            f"{found.number}: the newest changes are missing"
        ]
    if walk.heads[found.number - 1] != found.head:
        return [f"the checkpoint of change {found.number} is of another log; remove {CHECKPOINTS}"]
    for name, records in found.records.items():
        known = walk.records.get(name, {})
        if any(known.get(id_of(record)) != record for record in records):
            return [f"the checkpoint of change {found.number} differs from the log in a {name}"]
    return []
