"""`Look`: everything the monitor shows, as it was at one moment; and facts computed once a look.

Pages read a look and never storage: they answer as fast with a store that is slow or gone.
Records are never changed in place, so a look stays what it was while the next one is made.
"""

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from cloud.fleet.edges import Standing
from cloud.monitor.queues_seen import QueuesSeen
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Examination, ModelVersion, Release
from lifelong.records.rounds import Round
from lifelong.records.samples import Sample
from lifelong.records.trainings import Training

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """How far the training that runs now has come."""

    round_number: RoundNumber
    step: int
    steps: int
    loss: float
    written_at: datetime  # UTC, by the store's clock
    # Step, seconds since its worker began, loss; oldest first. () of workers that tell none.
    history: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Deliveries that edges have sent and the inbox has not taken in yet."""

    deliveries: int
    refused: int  # that did not verify and lie aside
    oldest_at: datetime | None  # UTC, by the store's clock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One moment of the loop; equal only to itself, so that facts can be remembered by it."""

    at: datetime  # UTC
    rounds: tuple[Round, ...] = ()  # oldest first
    releases: tuple[Release, ...] = ()  # oldest first
    current: Release | None = None  # what every node is to run
    staged: Release | None = None  # what a share of them tries before
    versions: Mapping[VersionId, ModelVersion] = field(default_factory=dict)
    samples: Mapping[SampleId, Sample] = field(default_factory=dict)
    examinations: Mapping[VersionId, Examination] = field(default_factory=dict)
    trainings: Mapping[str, Training] = field(default_factory=dict)  # by version
    bundle_bytes: Mapping[str, int | None] = field(default_factory=dict)  # by key, of releases
    budgets: Mapping[EdgeId, UploadBudget] = field(default_factory=dict)  # what nodes were told
    conditions_proposed: int = 0  # new conditions that wait for a name
    fleet: tuple[Standing, ...] = ()  # by name
    rollout: Mapping[str, Any] | None = None  # `overview.rollout_summary`
    training: TrainingProgress | None = None
    inbox: Waiting = Waiting(deliveries=0, refused=0, oldest_at=None)
    queues: QueuesSeen = QueuesSeen()
    trouble: str = ""  # why this is older than it should be, in words; "" when it is not
    _facts: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _asked: set[Callable[["Look"], Any]] = field(default_factory=set, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def fact(self, of: Callable[["Look"], T]) -> T:
        """`of(look)`, computed once for each look, whoever asks.

        Args:
            of: a module's own function, not a lambda: it is what the fact is remembered by.
        """
        self._asked.add(of)
        return self._fact(of)

    def prepare(self, of: Callable[["Look"], object]) -> None:
        """Work a fact out before anybody asks for it."""
        self._fact(of)

    @property
    def asked(self) -> frozenset[Callable[["Look"], object]]:
        """The facts that somebody wanted to know of this look."""
        return frozenset(self._asked)

    def _fact(self, of: Callable[["Look"], T]) -> T:
        with self._lock:
            if of not in self._facts:
                self._facts[of] = of(self)
            found: T = self._facts[of]
            return found
