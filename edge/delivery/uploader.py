"""The uploader: outbox to inbox, the most valuable first; the local copy goes once confirmed.

It knows which example goes when. How one is brought over is `courier.py`'s; how much may go at what
time is `upload_rules.py`'s.
"""

import logging
import time
from collections.abc import Callable, Iterator

from edge.delivery.courier import Courier, CutShortError
from edge.delivery.outbox import Outbox, OutboxEntry
from edge.delivery.receipts import Receipts, confirms
from edge.delivery.upload_rules import UploadRules
from edge.errands import Errand
from lifelong.errors import ChecksumError, StorageError
from lifelong.links.journal import Journal
from lifelong.links.retry import delays
from lifelong.links.storage import Storage
from lifelong.records.deliveries import Receipt
from lifelong.records.ids import SampleId
from lifelong.records.samples import HardExample

logger = logging.getLogger(__name__)

Delays = Callable[[], Iterator[float]]

PAUSE_S = 5.0  # before the next look at a budget, a window or receipts
SENT_AGAIN_S = 3600.0  # a delivery that lies nowhere and has no receipt is lost by then
REFUSALS = 5  # after so many an example is given up


class Uploader:
    """Delivers hard examples to `inbox/{edge_id}/{sample_id}/`; safe to repeat at any point.

    A dead link is left alone for a growing while; an example that storage does not keep as it was
    sent waits by itself, and the others pass it. With `read_back` every object is read and
    compared before the local copy goes; with `receipt` the inbox's word is waited for.
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
        rules: UploadRules | None = None,
    ) -> None:
        self._rules = rules or UploadRules()
        self._outbox = outbox
        self._journal = journal
        self._errand = errand
        self._clock = clock
        self._new_waits = waits
        self._waits = waits()
        self._batch = batch
        self._receipts = Receipts(storage)
        self._courier = Courier(
            storage,
            part_bytes=self._rules.part_bytes,
            confirm=self._rules.confirm,
            budget=self._rules.budget,
            bandwidth=self._rules.bandwidth,
            may_go_on=self._rules.windows.are_open,
        )
        self._not_before = 0.0  # of the link, on `clock`
        self._idle_until = 0.0  # nothing may go, or is to be done, before
        self._patience: dict[SampleId, tuple[float, Iterator[float]]] = {}  # of single examples
        self._sent: dict[SampleId, float] = {}  # await a receipt; sent again from then on
        self._refusals: dict[SampleId, int] = {}
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
        while the link is left alone, when nothing may go, and when nothing waits."""
        now = self._clock()
        if not len(self._outbox) or now < self._not_before or now < self._idle_until:
            return
        if self._rules.breaker is not None and self._rules.breaker.state == "open":
            return
        if not self._rules.windows.are_open():
            self._idle_until = now + PAUSE_S
            return
        self._errand.start(self._deliver_some)

    def finish(self, seconds: float, wait: Callable[[float], None] = time.sleep) -> bool:
        """Deliver what can be delivered within `seconds`; says whether the outbox is empty.

        Ends at the first failure: whoever stops a node does not wait for a dead link to return.
        """
        ends = self._clock() + seconds
        self._not_before = self._idle_until = 0.0
        while self._clock() < ends and self._not_before == 0.0:
            if not any(self._may_go(example) for example in self._outbox.waiting()):
                break
            self.drain()
            if not self._errand.wait(max(0.0, ends - self._clock())):
                wait(0.01)
            elif self._clock() < self._idle_until or self._is_link_open():
                break
        return len(self._outbox) == 0

    def _is_link_open(self) -> bool:
        return self._rules.breaker is not None and self._rules.breaker.state == "open"

    def _deliver_some(self) -> None:
        entries = self._outbox.entries(by_bytes=self._is_by_bytes())
        self._forget_gone({entry.example.sample_id for entry in entries})
        try:
            if self._rules.orders is not None:
                self._rules.orders.look()
            if self._rules.confirm == "receipt":
                self._take_receipts([entry.example for entry in entries])
            self._deliver_each([entry for entry in entries if self._may_go(entry.example)])
        except StorageError as error:
            self._link_failed(error)
        except CutShortError:
            self._idle_until = self._clock() + PAUSE_S

    def _deliver_each(self, chosen: list[OutboxEntry]) -> None:
        """Raises: StorageError, CutShortError: none of the others can go now either."""
        if not chosen:  # all wait for receipts, or for their patience
            self._idle_until = self._clock() + (PAUSE_S if self._sent else 0.0)
        mean_size = self._outbox.size / max(1, len(self._outbox))
        for entry in chosen[: self._batch]:
            budget = self._rules.budget
            if budget is not None and not budget.may_begin(entry.size, mean_size):
                raise CutShortError
            try:
                self._deliver(entry.example)
            except ChecksumError as error:
                self._leave_alone(entry.example, str(error))
            else:
                self._link_worked()

    def _deliver(self, example: HardExample) -> None:
        """Bring one over; what has arrived before, whole, stays as it is: the cloud may already
        be reading it."""
        if not self._courier.has_arrived(example):
            contents = self._outbox.contents(example)
            if contents is None:  # given up meanwhile, or damaged
                return
            self._courier.bring(example, contents)
        if self._rules.confirm == "receipt":
            self._sent[example.sample_id] = self._clock() + SENT_AGAIN_S
        else:
            self._done(example)

    def _take_receipts(self, waiting: list[HardExample]) -> None:
        for example, receipt in self._receipts.of(waiting):
            if confirms(receipt, example):
                self._done(example)
            elif self._is_hopeless(example, receipt):
                self._outbox.drop(example.sample_id, f"refused by the cloud: {receipt.reason}")
            else:
                self._sent.pop(example.sample_id, None)
                self._leave_alone(example, f"refused by the cloud: {receipt.reason}")
            self._receipts.clear(example)

    def _is_hopeless(self, example: HardExample, receipt: Receipt) -> bool:
        refusals = self._refusals.get(example.sample_id, 0) + 1
        self._refusals[example.sample_id] = refusals
        return receipt.is_final or refusals >= REFUSALS

    def _done(self, example: HardExample) -> None:
        # First the journal: a kill in between delivers again and finds everything there.
        self._journal.event(
            "hard_example.uploaded",
            sample_id=example.sample_id,
            score=example.score,
            priority=example.priority,
        )
        self._outbox.delivered(example.sample_id)
        self._uploaded += 1
        logger.info("uploaded %s, priority %.3f", example.sample_id, example.priority)

    def _link_worked(self) -> None:
        self._waits = self._new_waits()
        self._last_error = ""
        if self._rules.breaker is not None:
            self._rules.breaker.succeeded()

    def _link_failed(self, error: StorageError) -> None:
        self._not_before = self._clock() + next(self._waits)
        self._last_error = str(error)
        logger.warning("upload waits, %d in the outbox: %s", len(self._outbox), error)
        if self._rules.breaker is not None and self._rules.breaker.failed():
            self._journal.event("link.left_alone", reason=str(error))

    def _leave_alone(self, example: HardExample, why: str) -> None:
        _, waits = self._patience.get(example.sample_id, (0.0, self._new_waits()))
        self._patience[example.sample_id] = (self._clock() + next(waits), waits)
        self._last_error = why
        logger.warning("%s is not there as it was sent, it stays: %s", example.sample_id, why)

    def _forget_gone(self, there: set[SampleId]) -> None:
        for of_samples in (self._patience, self._sent, self._refusals):
            for gone in of_samples.keys() - there:
                del of_samples[gone]

    def _may_go(self, example: HardExample) -> bool:
        not_before, _ = self._patience.get(example.sample_id, (0.0, None))
        sent_again = self._sent.get(example.sample_id, 0.0)
        return self._clock() >= max(not_before, sent_again)

    def _is_by_bytes(self) -> bool:
        return self._rules.budget is not None and self._rules.budget.is_by_bytes
