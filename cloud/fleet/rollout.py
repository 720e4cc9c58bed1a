"""A model's way to the fleet: a few nodes first, then more, then all; or back.

`rollouts/{number}.json` is a state machine like a round: one holder of the lease advances it, one
step at a time, and every step may be repeated. What nodes see follows from it: the record is
written first, `releases/staged.json` and the history of releases after it, and each step mends
what a crash left out. What a person wishes (`cornerloop rollout halt`) waits in storage as
`rollouts/{number}.wish.json` until the holder of the lease carries it out.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cloud.fleet.edges import Edges
from cloud.fleet.judgement import Judgement, baselines_of, judge, wide_enough
from cloud.releasing.releases import Releases
from lifelong.errors import (
    ChangedMeanwhileError,
    ObjectExistsError,
    ObjectNotFoundError,
    RoundError,
)
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.keys import ROLLOUTS
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import Rollout, RolloutState
from lifelong.records.wire import from_json, to_json
from lifelong.sections.fleet import ReleasesSection
from lifelong.staging import draw_of

logger = logging.getLogger(__name__)

_RECORD = re.compile(rf"{ROLLOUTS}/\d{{6,}}\.json\Z")
_REASONS_TOLD = 20  # of a halt; a thousand nodes may fail for one cause


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutWish:
    """What a person wants of a roll-out that is under way."""

    number: int  # of the roll-out
    wish: Literal["halt", "promote"]
    who: str


class Rollouts:
    """Brings accepted models to the fleet, stage by stage; one object per service."""

    def __init__(
        self,
        *,
        storage: Storage,
        releases: Releases,
        edges: Edges,
        section: ReleasesSection,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._releases = releases
        self._edges = edges
        self._section = section
        self._journal = journal
        self._now = now
        self._over: dict[str, Rollout] = {}  # ended ones never change again

    def current(self) -> Release | None:
        """The newest release, staged or not: what rounds learn from."""
        return self._releases.current()

    def publish(self, version_id: VersionId, round_number: RoundNumber, why: str) -> Release | None:
        """Begin to bring a version to the fleet; safe to repeat.

        With one stage, and when nothing is released that one could go back to, everybody gets it
        at once.

        Returns:
            The release, or None while an earlier one is still on its way.

        Raises:
            RecordError: the version's bundle is missing or damaged.
        """
        newest = self.newest()
        if newest and (newest.version_id, newest.round_number) == (version_id, round_number):
            return self._releases.current()  # begun before a crash
        if newest and not newest.is_over:
            return None
        everybody = self._releases.for_everybody()
        stages = self._section.stages
        if len(stages) == 1 or everybody is None:
            return self._releases.publish(version_id, round_number, why)
        release = self._releases.publish(version_id, round_number, why, share=stages[0])
        begun = Rollout(
            number=release.number,
            version_id=version_id,
            round_number=round_number,
            why=why,
            before=everybody.version_id,
            stages=stages,
            stage_began_at=self._now(),
        )
        # How nodes do without the model is remembered before the first of them may see it.
        begun = self._save(self._entered(begun, 0))
        self._event("rollout.begun", begun, version_id=version_id, share=begun.share)
        self._releases.show_staged(begun.number, begun.share)
        return release

    def step(self) -> bool:
        """Look at the roll-out that is under way; True when it moved."""
        rollout = self.newest()
        if rollout is None or rollout.is_over:
            return False
        came_between = self._came_between(rollout)
        match rollout.state:
            case RolloutState.HALTING:
                return self._carry_out_halt(rollout, came_between)
            case RolloutState.PROMOTING if not came_between:
                return self._carry_out_promotion(rollout)
            case _ if came_between:
                return self._superseded(rollout, came_between)
            case _:
                return self._observe(rollout)

    def judgement(self, rollout: Rollout) -> Judgement:
        """How the present stage goes, by the reports that have come."""
        return judge(rollout, self._edges.look(), self._section, self._now())

    def newest(self) -> Rollout | None:
        """The last roll-out, under way or over; None before the first."""
        keys = [key for key in self._storage.keys(ROLLOUTS) if _RECORD.match(key)]
        return self._read(keys[-1]) if keys else None

    def wish(
        self, wish: Literal["halt", "promote"], who: str, *, number: int | None = None
    ) -> Rollout:
        """Leave word of what is to become of the roll-out that is under way.

        Args:
            number: of the roll-out that `who` saw; None: whichever is under way.

        Raises:
            RoundError: none is under way, or somebody wished before.
            ChangedMeanwhileError: another one is under way by now.
        """
        rollout = self.newest()
        if rollout is None or rollout.is_over:
            raise RoundError("no roll-out is under way; `cornerloop rollback` goes back")
        if number is not None and number != rollout.number:
            raise ChangedMeanwhileError(
                f"roll-out {rollout.number} is under way by now, and not {number}; nothing was "
                "done: look again"
            )
        wanted = RolloutWish(number=rollout.number, wish=wish, who=who)
        try:
            self._storage.put_if_absent(_wish_key(rollout.number), to_json(wanted))
        except ObjectExistsError as error:
            raise RoundError(
                f"roll-out {rollout.number}: somebody decided before; the service that holds the "
                "lease carries it out at its next look"
            ) from error
        return rollout

    def _observe(self, rollout: Rollout) -> bool:
        self._releases.show_staged(rollout.number, rollout.share)
        wished = self._wished(rollout)
        if wished is not None:
            if wished.wish == "promote":
                self._save(rollout.next(RolloutState.PROMOTING, self._now()))
            else:
                self._halt(rollout, (f"halted by {wished.who}",))
            return True
        judged = self.judgement(rollout)
        if judged.is_bad:
            told = [f"{edge}: {why}" for edge, why in sorted(judged.failed.items())]
            more = len(told) - _REASONS_TOLD
            rest = [f"and {more} more"] if more > 0 else []
            self._halt(rollout, (judged.told(), *told[:_REASONS_TOLD], *rest))
            return True
        if not judged.is_proven:
            return False
        if rollout.stages[rollout.stage + 1] >= 1.0:
            self._save(rollout.next(RolloutState.PROMOTING, self._now()))
            return True
        wider = self._save(self._entered(rollout, rollout.stage + 1))
        self._event("rollout.widened", wider, share=wider.share, why=judged.told())
        self._releases.show_staged(wider.number, wider.share)
        return True

    def _entered(self, rollout: Rollout, stage: int) -> Rollout:
        """The roll-out at the beginning of a stage."""
        now = self._now()
        found = baselines_of(self._edges.look(), self._section, now)
        # Nodes of the stages before have run the model for a while: how they do now is not how
        # they did without it.
        kept = {
            edge: baseline
            for edge, baseline in rollout.baselines.items()
            if draw_of(edge, rollout.number) < rollout.share
        }
        share = wide_enough(rollout.stages[stage], found, rollout.number)
        return rollout.next(
            RolloutState.OBSERVING,
            now,
            stage=stage,
            share=share,
            stage_began_at=now,
            baselines={**found, **kept},
        )

    def _halt(self, rollout: Rollout, reasons: tuple[str, ...]) -> None:
        self._save(rollout.next(RolloutState.HALTING, self._now(), reasons=reasons))
        logger.warning("release %d is halted: %s", rollout.number, "; ".join(reasons))

    def _carry_out_halt(self, rollout: Rollout, came_between: Release | None) -> bool:
        # The version before may be there because a crash came between history and pointer.
        try:
            if came_between is None or came_between.version_id == rollout.before:
                self._releases.roll_back(rollout.before, f"roll-out {rollout.number}, halted")
        finally:
            # Also when nothing can be signed at present: no further node is to try it.
            self._releases.withdraw_staged()
        halted = self._save(rollout.next(RolloutState.HALTED, self._now()))
        self._event("rollout.halted", halted, reasons=list(halted.reasons))
        return True

    def _carry_out_promotion(self, rollout: Rollout) -> bool:
        self._releases.publish(rollout.version_id, rollout.round_number, rollout.why)
        self._releases.withdraw_staged()
        promoted = self._save(rollout.next(RolloutState.PROMOTED, self._now()))
        self._event("rollout.promoted", promoted, version_id=promoted.version_id)
        return True

    def _superseded(self, rollout: Rollout, by: Release) -> bool:
        if rollout.state is RolloutState.PROMOTING and by.version_id == rollout.version_id:
            return self._carry_out_promotion(rollout)  # a crash came between the two halves
        self._releases.withdraw_staged()
        reason = f"release {by.number} came in between: {by.why}"
        halted = self._save(rollout.next(RolloutState.HALTED, self._now(), reasons=(reason,)))
        self._event("rollout.halted", halted, reasons=list(halted.reasons))
        return True

    def _came_between(self, rollout: Rollout) -> Release | None:
        newest = self._releases.current()
        return newest if newest and newest.number > rollout.number else None

    def _wished(self, rollout: Rollout) -> RolloutWish | None:
        key = _wish_key(rollout.number)
        try:
            return from_json(RolloutWish, self._storage.get(key), key)
        except ObjectNotFoundError:
            return None

    def _read(self, key: str) -> Rollout:
        if key not in self._over:
            rollout = from_json(Rollout, self._storage.get(key), key)
            if not rollout.is_over:
                return rollout
            self._over = {key: rollout}
        return self._over[key]

    def _save(self, rollout: Rollout) -> Rollout:
        self._storage.put(f"{ROLLOUTS}/{rollout.number:06d}.json", to_json(rollout))
        return rollout

    def _event(self, name: str, rollout: Rollout, **fields: object) -> None:
        self._journal.event(name, number=rollout.number, **fields)  # type: ignore[arg-type]
        logger.info("%s: release %d %s", name, rollout.number, fields)


def _wish_key(number: int) -> str:
    return f"{ROLLOUTS}/{number:06d}.wish.json"
