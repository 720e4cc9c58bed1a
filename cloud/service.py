"""Run `advance` for ever: one lease, one round after the other, resumed after a crash."""

import logging
import threading
import time
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

_SETTLE_SECONDS = 0.2  # hints come in swarms: one look answers all of them
_HINT_GAP_SECONDS = 1.0  # between two looks that hints ask for
_FLEET_SECONDS = 5.0  # between two looks at a roll-out: a fleet of a thousand is a long listing


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
        roll_out: Callable[[], object] = lambda: None,
        tend: Callable[[], object] = lambda: None,
        offer_again: Callable[[Round], Round] = lambda round_: round_,
        clock: Callable[[], float] = time.monotonic,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Args: `roll_out` takes one step of the roll-out that is under way, if any; `tend`
        does what nodes wait for whatever a round does: receipts, budgets; `offer_again` brings
        back tasks that a restore did not find (`annotators/lost_work.py`); `beat` is called before
        each step, as a sign of life."""
        self._ports = ports
        self._rounds = rounds
        self._lease = lease
        self._rules = rules
        self._people_pause_s = people_pause_s  # between two looks while people are at work
        self._journal = journal
        self._now = now
        self._roll_out = roll_out
        self._tend = tend
        self._offer_again = offer_again
        self._clock = clock
        self._beat = beat
        self._next_roll_out = clock()
        self._hint = threading.Event()
        self._hinted = False  # the last look was asked for
        self.last_error = ""
        self.leads: bool | None = None  # is the lease ours? None: it was not asked for yet

    def wake(self) -> None:
        """Somebody says that there is something to see: look soon, not after the pause.

        Returns at once, from any thread; a hundred hints are one look. A hint is no record: what
        it was about is found by looking, and is found without it when the pause is over.
        """
        self._hint.set()

    def run(self, stop: threading.Event) -> None:
        """Advance until `stop` is set (call `wake` then, to end a pause); errors are logged and
        the step is tried again.

        Raises:
            LeaseLostError: another service took over; this one must not go on.
        """
        pause = self._rules.step_seconds
        try:
            while not self._paused(pause, stop):
                pause = self._tried_step()
        finally:
            try:
                self._lease.release()
            except LifelongError:
                logger.exception("the lease could not be handed back; it will expire")

    def _paused(self, seconds: float, stop: threading.Event) -> bool:
        """Wait so long, or until a hint comes; True when it is time to stop."""
        # After a look that a hint asked for, the next hint waits a moment with its like.
        if seconds > 0 and self._hinted and stop.wait(min(seconds, _HINT_GAP_SECONDS)):
            return True
        self._hinted = self._hint.wait(seconds)
        settle = _SETTLE_SECONDS if self._hinted else 0.0
        ended = stop.wait(settle)
        self._hint.clear()  # before the look: what is said during it deserves another one
        return ended

    def step(self) -> bool:
        """One look at the open round; True when it moved."""
        rounds = self._rounds.all()
        before = rounds[-1] if rounds else None
        if before is None or before.is_over:
            number = RoundNumber((before.number if before else 0) + 1)
            self._save(begin(number, self._ports.releases))
            return True
        if before.state is RoundState.ANNOTATING:
            offered = self._offer_again(before)
            if offered is not before:
                self._rounds.save(offered)
                return True
        after = advance(before, rounds[:-1], self._ports, self._rules)
        if after is before:
            return False
        self._save(after)
        return True

    def _tried_step(self) -> float:
        """One step; returns the seconds to wait before the next."""
        self._beat()
        try:
            self.leads = self._lease.hold()
            if not self.leads:
                return self._rules.step_seconds
            self._step_roll_out()
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

    def _step_roll_out(self) -> None:
        """One look at the fleet, when it is time; what fails there must not hold up a round."""
        if self._clock() < self._next_roll_out:
            return
        self._next_roll_out = self._clock() + _FLEET_SECONDS
        for what, act in (("the roll-out waits", self._roll_out), ("nodes wait", self._tend)):
            try:
                act()
            except LifelongError as error:
                logger.warning("%s, will try again: %s", what, error)

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
