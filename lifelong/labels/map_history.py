"""Which label maps there were, and how each became the next: numbered objects in storage.

`label_maps/000001.json`, `000002.json` … hold one `LabelMapChange` each, written by put-if-absent;
none is ever rewritten. Each begins where the one before ended. Masks and models stay as they are:
whoever reads an older one asks here for the way from its label map to the present one.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from lifelong.errors import (
    CorruptRecordError,
    LabelMapChangeError,
    ObjectExistsError,
)
from lifelong.labels.map_changes import (
    HOW_TO_SAY_IT,
    LabelMapChange,
    change_by_names,
    composed,
    inverse,
)
from lifelong.links.storage import Storage
from lifelong.records.keys import LABEL_MAPS
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import from_json, to_json


class LabelMapHistory:
    """All changes that are recorded, and the label map that counts now."""

    def __init__(
        self,
        current: LabelMap,
        changes: Sequence[LabelMapChange] = (),
        *,
        others: Sequence[LabelMap] = (),
    ) -> None:
        """Args: `others` are label maps that masks outside of storage were painted with."""
        self.current = current
        self.changes = tuple(changes)
        first = self.changes[0].before if self.changes else current
        self.first = first  # of records from before a mask said how it was painted
        maps = (first, *(change.after for change in self.changes), current, *others)
        self._maps = {label_map.digest: label_map for label_map in maps}

    def with_others(self, others: Iterable[LabelMap]) -> "LabelMapHistory":
        """The same history, and label maps that masks outside of storage were painted with."""
        return LabelMapHistory(self.current, self.changes, others=tuple(others))

    @property
    def newest(self) -> LabelMap:
        """The label map that the last change led to."""
        return self.changes[-1].after if self.changes else self.current

    @property
    def maps(self) -> tuple[LabelMap, ...]:
        """Every label map that is known, oldest first."""
        return tuple(self._maps.values())

    def map_of(self, digest: str, where: str) -> LabelMap:
        """The label map of that digest; "" is the first one.

        Raises:
            LabelMapChangeError: it is not known; names `where`.
        """
        if not digest:
            return self.first
        if digest not in self._maps:
            raise LabelMapChangeError(
                f"{where}: of label map {digest}, which is not among the known ones "
                f"({', '.join(self._maps)}); {HOW_TO_SAY_IT}"
            )
        return self._maps[digest]

    def since(self, before: LabelMap) -> LabelMapChange:
        """How `before` became the present label map, over all changes between them.

        Raises:
            LabelMapChangeError: there is no recorded way, and the names alone do not tell.
        """
        return self.way(before, self.current)

    def way(self, before: LabelMap, after: LabelMap) -> LabelMapChange:
        """How `before` is to be read as `after`: the shortest way along recorded changes.

        Back along a change only where nothing is lost (`inverse`).

        Raises:
            LabelMapChangeError: see `since`.
        """
        if before.digest == after.digest:
            return change_by_names(before, after)
        steps = self._steps()
        found: dict[str, LabelMapChange] = {before.digest: change_by_names(before, before)}
        open_ = deque([before.digest])
        while open_:
            here = open_.popleft()
            for step in steps:
                there = step.after.digest
                if step.before.digest == here and there not in found:
                    found[there] = composed(found[here], step)
                    open_.append(there)
        if after.digest in found:
            return found[after.digest]
        return change_by_names(before, after)

    def other_names(self, label_map: LabelMap) -> dict[str, str]:
        """Names of other known label maps -> what they are called in this one, "" for nothing.

        A name that is a class of `label_map` itself is that class, whatever it was before.
        """
        found: dict[str, str] = {}
        for other in self.maps:
            try:
                change = self.way(other, label_map)
            except LabelMapChangeError:
                continue
            for name in other.names:
                if name not in label_map:
                    found[name] = change.became(name) or found.get(name, "")
        return found

    def _steps(self) -> list[LabelMapChange]:
        """Every change, then those that can be gone back."""
        back = []
        for change in self.changes:
            try:
                back.append(inverse(change))
            except LabelMapChangeError:
                continue
        return [*self.changes, *back]


def read_history(storage: Storage, current: LabelMap) -> LabelMapHistory:
    """The history that storage keeps.

    Raises:
        CorruptRecordError: a change cannot be read, or does not begin where the last one ended.
    """
    changes: list[LabelMapChange] = []
    for key in storage.keys(LABEL_MAPS):
        change = from_json(LabelMapChange, storage.get(key), key)
        if changes and changes[-1].after.digest != change.before.digest:
            raise CorruptRecordError(
                f"{key}: begins with label map {change.before.digest}, the change before it ended "
                f"with {changes[-1].after.digest}; restore the object"
            )
        changes.append(change)
    return LabelMapHistory(current, changes)


def record_change(storage: Storage, change: LabelMapChange) -> bool:
    """Make a change known for good; False when it was the last one already.

    Raises:
        LabelMapChangeError: it does not begin with the label map that the last change led to, or
            somebody else recorded one at the same moment.
    """
    history = read_history(storage, change.before)
    if history.changes and history.changes[-1] == change:
        return False
    if history.newest.digest != change.before.digest:
        raise LabelMapChangeError(
            f"the change begins with label map {change.before.digest}, but the newest one is "
            f"{history.newest.digest} ({', '.join(history.newest.names)}); name that in the "
            "configuration and change it"
        )
    key = f"{LABEL_MAPS}/{len(history.changes) + 1:06d}.json"
    try:
        storage.put_if_absent(key, to_json(change, sealed=True))
    except ObjectExistsError as error:
        raise LabelMapChangeError(
            f"{key}: another change was recorded at this moment; see `cornerloop classes show`"
        ) from error
    return True
