"""The upload budget: bytes in any 24 hours and samples in any hour, spread over the day.

A node does not know what the day will bring. What it sends in the morning is gone from the
budget; what it holds back can still be sent in the evening. So with the pace "value" the day's
bytes are held back (`(u / 0.985)^12` of them are free when the share u of the day is over), and by
then the best of the day are known. What was not spent one day may be spent at once the next, as
far as any 24 hours allow. When bytes are short, what is worth most for its bytes goes first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge.delivery.upload_ledger import DAY_S, HOUR_S, Ledger
from lifelong.records.deliveries import UploadBudget
from lifelong.sections.delivery import UploadSection

# Of a day's bytes so much is free from the start: where the budget is never short, nothing waits.
FREE_SHARE = 0.05
SPENT_BY = 0.985  # share of the day after which all is free
# Of what the samples of an hour and the bandwidth let through until the day's end, so much is
# counted on; held back is only what can still be sent.
COUNTED_ON = 0.8

Number = TypeVar("Number", int, float)

PACES: dict[str, Callable[[float], float]] = {
    "value": lambda share: max(FREE_SHARE, min(1.0, share / SPENT_BY) ** 12),
    "steady": lambda share: max(FREE_SHARE, share),
    "at_once": lambda _share: 1.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may leave; None: no limit."""

    bytes_per_day: float | None = None
    samples_per_hour: int | None = None

    def tightened(self, order: UploadBudget | None) -> "Limits":
        """These limits and the cloud's, whichever is smaller."""
        if order is None:
            return self
        per_day = None if order.max_mib_per_day is None else order.max_mib_per_day * 2**20
        return Limits(
            bytes_per_day=_smaller(self.bytes_per_day, per_day),
            samples_per_hour=_smaller(self.samples_per_hour, order.max_samples_per_hour),
        )


class Budget:
    """What may still leave now; asked before each example, told of everything that leaves."""

    def __init__(
        self,
        section: UploadSection,
        ledger: Ledger,
        order: Callable[[], UploadBudget | None] = lambda: None,
    ) -> None:
        """Args: `order` is the cloud's budget for this node as it was last read."""
        per_day = section.max_mib_per_day
        self._own = Limits(
            bytes_per_day=None if per_day is None else per_day * 2**20,
            samples_per_hour=section.max_samples_per_hour,
        )
        # With windows the frames of the day are known when one opens.
        self._free = PACES["at_once" if section.windows else section.pace]
        self._bytes_per_second = (section.max_kib_per_second or 0.0) * 1024
        self._ledger = ledger
        self._order = order

    @property
    def limits(self) -> Limits:
        """What holds now."""
        return self._own.tightened(self._order())

    @property
    def is_by_bytes(self) -> bool:
        """Are bytes what is short?"""
        return self.limits.bytes_per_day is not None

    def may_begin(self, size: int, mean_size: float) -> bool:
        """May a sample of `size` bytes leave now, by the limits and by the pace?

        Args:
            mean_size: of the samples that wait, bytes.
        """
        limits, now = self.limits, self._ledger.now()
        if limits.samples_per_hour is not None and not self._has_slot(now, limits.samples_per_hour):
            return False
        per_day = limits.bytes_per_day
        if per_day is None:
            return True
        if self._ledger.bytes_since(now - DAY_S) + size > per_day:
            return False
        day_began = now // DAY_S * DAY_S
        today = self._ledger.bytes_since(day_began)
        unspent = 0.0
        if day_began > 0:
            yesterday = self._ledger.bytes_since(day_began - DAY_S, until=day_began)
            unspent = max(0.0, per_day - yesterday)
        free = self._free((now - day_began) / DAY_S) * per_day
        left_s = day_began + DAY_S - now
        free = max(free, per_day - COUNTED_ON * self._passable(left_s, mean_size, limits))
        return today + size <= free + unspent

    def may_go_on(self, size: int) -> bool:
        """May `size` more bytes of a sample leave, by the bytes of any 24 hours?

        The estimate before a sample is of its files; a resumed one, or a budget that the cloud
        has tightened meanwhile, is caught here.
        """
        per_day = self.limits.bytes_per_day
        spent = self._ledger.bytes_since(self._ledger.now() - DAY_S)
        return per_day is None or spent + size <= per_day

    def spend(self, size: int, samples: int = 0) -> None:
        """So much is about to leave."""
        self._ledger.spend(size, samples)

    def left(self) -> None:
        """It has left, or has failed to."""
        self._ledger.left()

    def _has_slot(self, now: float, per_hour: int) -> bool:
        """Is one of the hour's samples free? Not all are given to the first comers: half of them
        in the first half of an hour, and so on, a quarter at a time."""
        if self._ledger.samples_since(now - HOUR_S) >= per_hour:
            return False
        quarter = max(1, -(-per_hour // 4))
        return self._ledger.samples_since(now - HOUR_S / 4) < quarter

    def _passable(self, seconds: float, mean_size: float, limits: Limits) -> float:
        """Bytes that can still be sent within `seconds`."""
        passable = float("inf")
        if limits.samples_per_hour is not None:
            passable = limits.samples_per_hour * seconds / HOUR_S * mean_size
        if self._bytes_per_second:
            passable = min(passable, self._bytes_per_second * seconds)
        return passable


def _smaller(one: Number | None, other: Number | None) -> Number | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
