"""The uploader: outbox to inbox, hardest first; the local copy goes once storage has confirmed."""

import logging
import time
from collections.abc import Callable, Iterator

from edge.errands import Errand
from edge.example_files import example_key
from edge.outbox import Outbox
from lifelong.errors import ChecksumError, ObjectNotFoundError, RecordError, StorageError
from lifelong.links.journal import Journal
from lifelong.links.retry import delays
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId, sha256_hex
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json

logger = logging.getLogger(__name__)

Delays = Callable[[], Iterator[float]]


class Uploader:
    """Delivers hard examples to `inbox/{edge_id}/{sample_id}/`; safe to repeat at any point.

    Every object is read back and its SHA-256 compared before the next one goes; the record goes
    last and says "arrived". A dead link is left alone for a growing while; an example that storage
    does not keep as it was sent waits by itself, and the others pass it.
    """

    def __init__(
        self,
        outbox: Outbox,
        storage: Storage,
        journal: Journal,
        errand: Errand,
        *,
        clock: Callable[[], float] = time.monotonic,
        waits: Delays = delays,
        batch: int = 16,
    ) -> None:
        self._outbox = outbox
        self._storage = storage
        self._journal = journal
        self._errand = errand
        self._clock = clock
        self._new_waits = waits
        self._waits = waits()
        self._batch = batch
        self._not_before = 0.0  # of the link, on `clock`
        self._patience: dict[SampleId, tuple[float, Iterator[float]]] = {}  # of single examples
        self._uploaded = 0
        self._last_error = ""

    @property
    def uploaded(self) -> int:
        """Examples confirmed by storage since the start."""
        return self._uploaded

    @property
    def last_error(self) -> str:
        """Why the last delivery failed; "" when it went well."""
        return self._last_error

    def drain(self) -> None:
        """Deliver some of what waits; returns at once while an earlier drain is still under way,
        while the link is left alone, and when nothing waits."""
        if len(self._outbox) and self._clock() >= self._not_before:
            self._errand.start(self._deliver_some)

    def finish(self, seconds: float, wait: Callable[[float], None] = time.sleep) -> bool:
        """Deliver what can be delivered within `seconds`; says whether the outbox is empty.

        Ends at the first failure: whoever stops a node does not wait for a dead link to return.
        """
        ends = self._clock() + seconds
        self._not_before = 0.0
        while self._clock() < ends and self._not_before == 0.0:
            waiting = self._outbox.waiting()
            if not any(self._may_go(example) for example in waiting):
                break
            self.drain()
            if not self._errand.wait(max(0.0, ends - self._clock())):
                wait(0.01)
        return len(self._outbox) == 0

    def _deliver_some(self) -> None:
        waiting = self._outbox.waiting()
        for gone in self._patience.keys() - {example.sample_id for example in waiting}:
            del self._patience[gone]
        chosen = [example for example in waiting if self._may_go(example)]
        for example in chosen[: self._batch]:
            try:
                is_delivered = self._deliver(example)
            except ChecksumError as error:
                self._leave_alone(example, error)
            except StorageError as error:
                self._not_before = self._clock() + next(self._waits)
                self._last_error = str(error)
                logger.warning("upload waits, %d in the outbox: %s", len(self._outbox), error)
                return
            else:
                self._waits = self._new_waits()
                self._last_error = ""
                if is_delivered:
                    self._done(example)

    def _deliver(self, example: HardExample) -> bool:
        """Put the three objects; False when the outbox has given the example up meanwhile.

        What has arrived before, whole, stays as it is: the cloud may already be reading it.
        """
        if self._has_arrived(example):
            return True
        contents = self._outbox.contents(example)
        if contents is None:
            return False
        for key, data in contents.items():
            if not self._is_there(key, data):
                self._storage.put(key, data)
                self._storage.get(key, sha256=sha256_hex(data))
        return True

    def _has_arrived(self, example: HardExample) -> bool:
        """Is this picture in the inbox, with a record and the mask that record names?"""
        key = example_key(example)
        if not self._storage.exists(key):
            return False
        try:
            there = from_json(HardExample, self._storage.get(key), key)
            self._storage.get(example.image_key, sha256=example.image_sha256)
            self._storage.get(there.mask_key, sha256=there.mask_sha256)
        except (RecordError, ObjectNotFoundError):
            return False
        return there.image_sha256 == example.image_sha256

    def _is_there(self, key: str, data: bytes) -> bool:
        """Did an earlier try bring this object over whole? Then it is not sent twice."""
        if self._storage.size(key) != len(data):
            return False
        try:
            self._storage.get(key, sha256=sha256_hex(data))
        except ChecksumError:
            return False
        return True

    def _done(self, example: HardExample) -> None:
        # First the journal: a kill in between delivers again and finds everything there.
        self._journal.event(
            "hard_example.uploaded", sample_id=example.sample_id, score=example.score
        )
        self._outbox.delivered(example.sample_id)
        self._patience.pop(example.sample_id, None)
        self._uploaded += 1
        logger.info("uploaded %s, score %.3f", example.sample_id, example.score)

    def _leave_alone(self, example: HardExample, error: ChecksumError) -> None:
        _, waits = self._patience.get(example.sample_id, (0.0, self._new_waits()))
        self._patience[example.sample_id] = (self._clock() + next(waits), waits)
        self._last_error = str(error)
        logger.warning("storage did not keep %s whole, it stays: %s", example.sample_id, error)

    def _may_go(self, example: HardExample) -> bool:
        not_before, _ = self._patience.get(example.sample_id, (0.0, None))
        return self._clock() >= not_before
