"""A job's book: appends conditions, remembers which faults have happened, saves it all."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cloud.job.conditions import JobCondition
from cloud.job.faults import FaultPlan
from cloud.job.states import JobFolder, JobState

logger = logging.getLogger(__name__)
WORKING = {"Ready", "Starting", "Running"}


class JobBook:
    """The state of one job, and the only one who writes it down."""

    def __init__(
        self,
        state: JobState,
        folder: JobFolder,
        faults: FaultPlan,
        now: Callable[[], datetime],
    ) -> None:
        self.state = state
        self.faults = faults
        self.now = now
        self._folder = folder

    def enter(
        self,
        stage: str,
        kind: str,
        data: Mapping[str, Any] | None = None,
        message: str = "",
        note: str = "",
    ) -> None:
        """Append a condition, durably."""
        self.add(stage, kind, data, message, note)
        self.save()

    def add(
        self,
        stage: str,
        kind: str,
        data: Mapping[str, Any] | None = None,
        message: str = "",
        note: str = "",
    ) -> None:
        """Append a condition; it is saved with whatever is saved next."""
        if kind not in WORKING:
            self.state.pod_is_gone = False
        self.state.trouble = ""
        self.state.conditions.append(
            JobCondition(
                stage=stage, type=kind, at=self.now(), data=data or {}, message=message, note=note
            )
        )
        logger.info("round %s: %s/%s %s", self.state.round_number, stage, kind, note)

    def strikes(self, name: str, number: int | None = None, *, once: bool = True) -> bool:
        """Does a fault happen now? It is remembered with the next save.

        Args:
            number: the round; None: the one that has begun.
            once: whether it happens once in a round.
        """
        number = self.state.rounds_begun if number is None else number
        mark = f"{name}@{number}"
        known = mark in self.state.struck
        if not self.faults.strikes(name, number) or (once and known):
            return False
        if not known:
            logger.warning("fault: %s", mark)
            self.state.struck.append(mark)
        return True

    def save(self) -> None:
        """Write the state."""
        self._folder.save(self.state)
