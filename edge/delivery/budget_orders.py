"""What the cloud allows this node to send, as it was last read; the last good word stays."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.links.durable_files import write_whole
from lifelong.links.storage import Storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId
from lifelong.records.keys import budget_key
from lifelong.records.wire import from_json

logger = logging.getLogger(__name__)

LOOK_S = 60.0  # at most one look in so many seconds


class BudgetOrders:
    """Reads `edges/{edge_id}/budget.json`; keeps a copy on the node for its next start."""

    def __init__(
        self,
        storage: Storage,
        edge_id: EdgeId,
        copy: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._edge_id = edge_id
        self._copy = copy
        self._clock = clock
        self._looked_at: float | None = None
        self._data = b""
        self._order = self._kept()

    def current(self) -> UploadBudget | None:
        """The cloud's last good word; None when it has said nothing."""
        return self._order

    def look(self) -> None:
        """Read it again, if the last look is a minute ago.

        Raises:
            StorageError: storage cannot be reached; the last word stays.
        """
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < LOOK_S:
            return
        try:
            data = self._storage.get(budget_key(self._edge_id))
        except ObjectNotFoundError:
            data = b""  # taken back: the node's own settings hold
        self._looked_at = now
        if data == self._data:
            return
        try:
            self._order = self._read(data, budget_key(self._edge_id)) if data else None
        except RecordError as error:
            logger.warning("the cloud's budget is unreadable, the last one stays: %s", error)
            return
        self._data = data
        self._keep()

    def _read(self, data: bytes, where: str) -> UploadBudget:
        order = from_json(UploadBudget, data, where)
        if order.edge_id != self._edge_id:
            raise RecordError(f"{where}: is for {order.edge_id!r}, not for {self._edge_id!r}")
        limits = (order.max_mib_per_day, order.max_samples_per_hour)
        if any(limit is not None and not 0 <= limit < float("inf") for limit in limits):
            raise RecordError(f"{where}: limits are numbers from 0 on, not {limits}")
        return order

    def _kept(self) -> UploadBudget | None:
        try:
            self._data = self._copy.read_bytes()
            return self._read(self._data, str(self._copy))
        except FileNotFoundError:
            return None
        except (OSError, RecordError) as error:
            logger.warning("the copy of the cloud's budget is unreadable: %s", error)
            self._data = b""
            return None

    def _keep(self) -> None:
        try:
            if self._data:
                self._copy.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._copy, self._data)
            else:
                self._copy.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: the cloud's budget is not kept there: %s", self._copy, error)
