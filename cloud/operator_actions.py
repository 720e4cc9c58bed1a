"""What operators do to the loop and the fleet: recorded before it is done, and how it ended after.

Pages and the command line come through here, so that neither can do a thing unrecorded. An entry
`noun.verb_asked` says that somebody began; what follows it says what came of it.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from cloud.audit_log import Recorder
from cloud.fleet.budgets import Budgets
from cloud.fleet.rollout import Rollouts
from cloud.releasing.releases import Releases
from cloud.round_start import ask_for_round, next_to_begin
from lifelong.errors import LifelongError, RoundError
from lifelong.links.journal import JSONValue
from lifelong.links.storage import Storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import Rollout
from lifelong.records.rounds import Round

logger = logging.getLogger(__name__)


class OperatorActions:
    """Rolls back, begins rounds, ends roll-outs, sets budgets; implements the pages' `Actions`."""

    def __init__(
        self,
        *,
        storage: Storage,
        releases: Releases,
        rollouts: Rollouts,
        rounds: Callable[[], Sequence[Round]],
        budgets: Budgets,
        audit: Recorder,
        now: Callable[[], datetime],
        done: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            rounds: all of them as they are now, oldest first.
            done: called after each action, so that the service and the pages look at once.
        """
        self._storage = storage
        self._releases = releases
        self._rollouts = rollouts
        self._rounds = rounds
        self._budgets = budgets
        self._audit = audit
        self._now = now
        self._done = done

    def why_no_release(self) -> str:
        """Why nothing can be released from here, in words; "" when it can."""
        try:
            self._releases.check_signing()
        except LifelongError as error:
            return str(error)
        return ""

    def roll_back(self, version_id: VersionId, who: str, *, seen: int | None = None) -> Release:
        """Make an earlier version current again; a roll-out that is under way ends by it.

        Args:
            seen: number of the newest release when `who` decided; a second click on the same
                page then does nothing. None: whatever is released by now.

        Raises:
            ChangedMeanwhileError: another release is the newest by now.
            RoundError: the version is on trial at present: it is promoted or halted, not gone
                back to.
            RecordError: it was never released, or its bundle is damaged.
            ConfigError: releases cannot be signed here.
            StorageError: not recorded, or not carried out.
        """
        facts: dict[str, JSONValue] = {"version": version_id, "newest_seen": seen}
        with self._recorded(who, "release", "rollback", "rolled_back", facts) as told:
            self._releases.check_signing()
            under_way = self._rollouts.newest()
            if under_way and not under_way.is_over and under_way.version_id == version_id:
                raise RoundError(
                    f"version {version_id} is on trial in roll-out {under_way.number}: promote it "
                    "or halt it; one goes back to what everybody ran before"
                )
            release = self._releases.roll_back(version_id, who, after=seen)
            told["release"] = release.number
        return release

    def start_round(self, who: str) -> RoundNumber:
        """Ask for a round with whatever waits; asking twice is asking once.

        Raises:
            StorageError: not recorded, or not carried out.
        """
        rounds = self._rounds()
        facts: dict[str, JSONValue] = {"round": next_to_begin(rounds)}
        with self._recorded(who, "round", "start", "start_requested", facts):
            return ask_for_round(self._storage, rounds, self._now(), who)

    def end_rollout(
        self, wish: Literal["halt", "promote"], who: str, *, seen: int | None = None
    ) -> Rollout:
        """Say what is to become of the roll-out under way; the holder of the lease does it.

        Args:
            seen: number of the roll-out that `who` saw; None: whichever is under way.

        Raises:
            ChangedMeanwhileError: another one is under way by now.
            RoundError: none is under way, or somebody wished before.
            StorageError: not recorded, or not carried out.
        """
        facts: dict[str, JSONValue] = {"rollout": seen}
        with self._recorded(who, "rollout", wish, f"{wish}_requested", facts) as told:
            rollout = self._rollouts.wish(wish, who, number=seen)
            told |= {"rollout": rollout.number, "version": rollout.version_id}
        return rollout

    def set_budget(
        self,
        edge: EdgeId,
        who: str,
        *,
        max_mib_per_day: float | None,
        max_samples_per_hour: int | None,
    ) -> UploadBudget:
        """Tell a node how much it may send; None: as much as its own settings allow.

        Raises:
            StorageError: not recorded, or not carried out.
        """
        facts: dict[str, JSONValue] = {
            "edge": edge,
            "max_mib_per_day": max_mib_per_day,
            "max_samples_per_hour": max_samples_per_hour,
        }
        with self._recorded(who, "budget", "set", "was_set", facts):
            return self._budgets.publish(
                edge, max_mib_per_day=max_mib_per_day, max_samples_per_hour=max_samples_per_hour
            )

    def withdraw_budget(self, edge: EdgeId, who: str) -> None:
        """Take back what a node was told; its own settings hold, or `edges.*`.

        Raises:
            StorageError: not recorded, or not carried out.
        """
        with self._recorded(who, "budget", "withdrawal", "withdrawn", {"edge": edge}):
            self._budgets.withdraw(edge)

    @contextmanager
    def _recorded(
        self, who: str, noun: str, verb: str, done: str, facts: dict[str, JSONValue]
    ) -> Iterator[dict[str, JSONValue]]:
        """Record, let it be done, record what came of it; the body adds facts to what it gets."""
        self._audit.record(who, f"{noun}.{verb}_asked", **facts)
        told = dict(facts)
        try:
            yield told
        except LifelongError as error:
            self._afterwards(who, f"{noun}.{verb}_failed", {**told, "reason": str(error)[:500]})
            raise
        self._afterwards(who, f"{noun}.{done}", told)
        self._done()

    def _afterwards(self, who: str, what: str, facts: dict[str, JSONValue]) -> None:
        """It is done, or has failed, whether or not the log can be reached by now."""
        try:
            self._audit.record(who, what, **facts)
        except LifelongError as error:
            logger.warning("the audit log has not taken %s by %s: %s", what, who, error)


def terminal_user() -> str:
    """Whose terminal it is, for the audit log; containers do not always say."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "operator"
