"""`Rollout` and `RolloutState`: one model's way from a few nodes to all, or back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from lifelong.errors import IllegalTransitionError
from lifelong.records.ids import EdgeId, RoundNumber, VersionId


class RolloutState(StrEnum):
    """Where a roll-out stands; PROMOTED and HALTED are ends.

    PROMOTING and HALTING say that the decision is made and is being carried out: a crash in
    between repeats the carrying out and never the decision.
    """

    OBSERVING = "observing"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    HALTING = "halting"
    HALTED = "halted"


_MAY_FOLLOW: Mapping[RolloutState, frozenset[RolloutState]] = {
    RolloutState.OBSERVING: frozenset(
        {RolloutState.OBSERVING, RolloutState.PROMOTING, RolloutState.HALTING, RolloutState.HALTED}
    ),
    RolloutState.PROMOTING: frozenset({RolloutState.PROMOTED, RolloutState.HALTED}),
    RolloutState.HALTING: frozenset({RolloutState.HALTED}),
    RolloutState.PROMOTED: frozenset(),
    RolloutState.HALTED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How a node did before it was to take the new model."""

    p50_ms: float
    fallbacks: int
    alarms: tuple[str, ...]  # names of those it already had


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One staged release, as `rollouts/{number}.json` keeps it."""

    number: int  # of the staged release
    version_id: VersionId
    round_number: RoundNumber
    why: str  # "round 3 accepted"
    before: VersionId  # what everybody ran; a halt goes back to it
    stages: tuple[float, ...]  # shares of the fleet, rising to 1.0
    stage: int = 0  # index into `stages`
    share: float = 0.0  # of the present stage, wide enough for one node that reports
    state: RolloutState = RolloutState.OBSERVING
    stage_began_at: datetime  # UTC
    baselines: Mapping[EdgeId, Baseline] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()  # of a halt, in words
    entered: Mapping[str, datetime] = field(default_factory=dict)  # state or "stage 0.1" -> UTC

    @property
    def is_over(self) -> bool:
        """Nothing more will happen in this roll-out."""
        return not _MAY_FOLLOW[self.state]

    def next(self, state: RolloutState, at: datetime, **changes: object) -> "Rollout":
        """The roll-out one step on; `at` is remembered as the moment of the step.

        Raises:
            IllegalTransitionError: `state` may not follow the present one.
        """
        if state not in _MAY_FOLLOW[self.state]:
            raise IllegalTransitionError(
                f"roll-out {self.number}: {self.state} may not become {state}; "
                f"allowed: {', '.join(sorted(_MAY_FOLLOW[self.state])) or 'nothing, it is over'}"
            )
        after = replace(self, state=state, **changes)  # type: ignore[arg-type]
        name = (
            f"stage {after.stages[after.stage]:g}"
            if state is RolloutState.OBSERVING
            else str(state)
        )
        return replace(after, entered={**self.entered, name: at})
