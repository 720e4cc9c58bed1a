"""What every edge node may send: `edges/{edge_id}/budget.json`, by an operator or by default."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from lifelong.errors import CorruptRecordError, ObjectNotFoundError
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, edge_id
from lifelong.records.keys import EDGES, budget_key
from lifelong.records.wire import from_json, to_json
from lifelong.sections.fleet import EdgesSection

LOOK_S = 60.0  # between two looks for nodes that have no budget yet


class Budgets:
    """Publishes budgets; a node obeys from its next upload on, and may only be tightened."""

    def __init__(
        self,
        storage: Storage,
        journal: Journal,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._journal = journal
        self._now = now
        self._clock = clock
        self._seen: set[str] = set()
        self._looked_at: float | None = None

    def of(self, node: EdgeId) -> UploadBudget | None:
        """What a node was told last; None when nothing was, or nothing that can be read."""
        key = budget_key(node)
        try:
            return from_json(UploadBudget, self._storage.get(key), key)
        except (ObjectNotFoundError, CorruptRecordError):
            return None

    def publish(
        self,
        node: EdgeId,
        *,
        max_mib_per_day: float | None,
        max_samples_per_hour: int | None,
        set_by: Literal["operator", "default"] = "operator",
    ) -> UploadBudget:
        """Tell one node how much it may send; None: as much as its own settings allow."""
        budget = UploadBudget(
            edge_id=node,
            max_mib_per_day=max_mib_per_day,
            max_samples_per_hour=max_samples_per_hour,
            set_at=self._now(),
            set_by=set_by,
        )
        self._storage.put(budget_key(node), to_json(budget))
        self._journal.event(
            "budget.published",
            edge_id=node,
            max_mib_per_day=max_mib_per_day,
            max_samples_per_hour=max_samples_per_hour,
            set_by=set_by,
        )
        return budget

    def withdraw(self, node: EdgeId) -> None:
        """Forget what a node was told; its own settings hold, or `edges.*` at the next look."""
        self._storage.delete(budget_key(node))
        self._seen.discard(node)
        self._journal.event("budget.withdrawn", edge_id=node)

    def apply_defaults(self, section: EdgesSection) -> int:
        """Give `edges.*` to the nodes that no operator has set a budget for.

        At most once a minute; a node that was seen costs nothing again.

        Returns:
            How many budgets were written.
        """
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < LOOK_S:
            return 0
        self._looked_at = now
        wanted = (section.max_mib_per_day, section.max_samples_per_hour)
        written = 0
        for name in self._storage.folders(EDGES):
            if name in self._seen:
                continue
            try:
                node = edge_id(name)
            except ValueError:
                continue
            there = self.of(node)
            self._seen.add(name)
            if there is not None and there.set_by == "operator":
                continue
            told = there and (there.max_mib_per_day, there.max_samples_per_hour)
            if (told or (None, None)) != wanted:
                self.publish(
                    node,
                    max_mib_per_day=section.max_mib_per_day,
                    max_samples_per_hour=section.max_samples_per_hour,
                    set_by="default",
                )
                written += 1
        return written
