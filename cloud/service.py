"""Run `advance` for ever: one lease, one round after the other, resumed after a crash."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from cloud.lease import Lease
from cloud.loop import Ports, advance, begin
from cloud.rounds import Rounds
from lifelong.config import RoundsSection
from lifelong.errors import LeaseLostError, LifelongError
from lifelong.links.journal import Journal
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState

logger = logging.getLogger(__name__)


class Service:
    """The loop's engine; everything it knows is in storage, so it may die at any moment."""

    def __init__(
        self,
        *,
        ports: Ports,
        rounds: Rounds,
        lease: Lease,
        rules: RoundsSection,
        people_pause_s: float,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        self._ports = ports
        self._rounds = rounds
        self._lease = lease
        self._rules = rules
        self._people_pause_s = people_pause_s  # between two looks while people are at work
        self._journal = journal
        self._now = now
        self.last_error = ""

    def run(self, stop: threading.Event) -> None:
        """Advance until `stop` is set; errors are logged and the step is tried again.

        Raises:
            LeaseLostError: another service took over; this one must not go on.
        """
        pause = self._rules.step_seconds
        try:
            while not stop.wait(pause):
                pause = self._tried_step()
        finally:
            try:
                self._lease.release()
            except LifelongError:
                logger.exception("the lease could not be handed back; it will expire")

    def step(self) -> bool:
        """One look at the open round; True when it moved."""
        rounds = self._rounds.all()
        before = rounds[-1] if rounds else None
        if before is None or before.is_over:
            number = RoundNumber((before.number if before else 0) + 1)
            self._save(begin(number, self._ports.releases))
            return True
        after = advance(before, rounds[:-1], self._ports, self._rules)
        if after is before:
            return False
        self._save(after)
        return True

    def _tried_step(self) -> float:
        """One step; returns the seconds to wait before the next."""
        try:
            if not self._lease.hold():
                return self._rules.step_seconds
            moved = self.step()
            self.last_error = ""
            return 0.0 if moved else self._pause()
        except LeaseLostError:
            raise
        except LifelongError as error:
            # Said once, not every second: Label Studio may be down for an hour.
            if str(error) != self.last_error:
                logger.warning("round step failed, will try again: %s", error)
                self._journal.event("round.stalled", reason=str(error))
            self.last_error = str(error)
        except Exception as error:  # one of the three places that may: the loop must outlive it
            logger.exception("round step failed, will try again")
            self.last_error = repr(error)
        return max(self._rules.step_seconds, 1.0)

    def _pause(self) -> float:
        """People take hours: asking Label Studio every second would only keep it busy."""
        rounds = self._rounds.all()
        at_work = bool(rounds) and rounds[-1].state is RoundState.ANNOTATING
        return self._people_pause_s if at_work else self._rules.step_seconds

    def _save(self, round_: Round) -> None:
        timed = round_.with_time(self._now())
        self._rounds.save(timed)
        self._journal.event("round.advanced", round=timed.number, state=str(timed.state))
        logger.info("round %s: %s", timed.number, timed.state)
