"""`Round` and `RoundState`: one turn of the loop and the steps it may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from lifelong.errors import IllegalTransitionError
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.model_versions import GateDecision
from lifelong.records.samples import Annotation, AnnotationTask, HardExample, PreAnnotation, Skip


class RoundState(StrEnum):
    """Where a round stands; RELEASED, REFUSED and FAILED are ends."""

    COLLECTING = "collecting"
    PREANNOTATING = "preannotating"
    ANNOTATING = "annotating"
    TRAINING = "training"
    GATING = "gating"
    RELEASING = "releasing"
    RELEASED = "released"
    REFUSED = "refused"
    FAILED = "failed"


_MAY_FOLLOW: Mapping[RoundState, frozenset[RoundState]] = {
    RoundState.COLLECTING: frozenset({RoundState.PREANNOTATING}),
    RoundState.PREANNOTATING: frozenset({RoundState.ANNOTATING, RoundState.FAILED}),
    RoundState.ANNOTATING: frozenset({RoundState.TRAINING, RoundState.FAILED}),
    RoundState.TRAINING: frozenset({RoundState.GATING, RoundState.FAILED}),
    RoundState.GATING: frozenset({RoundState.RELEASING, RoundState.REFUSED}),
    RoundState.RELEASING: frozenset({RoundState.RELEASED}),
    RoundState.RELEASED: frozenset(),
    RoundState.REFUSED: frozenset(),
    RoundState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One turn of the loop, as `rounds/{number}.json` keeps it."""

    number: RoundNumber
    state: RoundState = RoundState.COLLECTING
    incumbent: VersionId | None = None  # deployed when the round began
    examples: tuple[HardExample, ...] = ()
    drafts: tuple[PreAnnotation, ...] = ()
    tasks: tuple[AnnotationTask, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    skips: tuple[Skip, ...] = ()
    candidate: VersionId | None = None
    decision: GateDecision | None = None
    failure: str = ""  # why the round FAILED, in words
    leaks: tuple[str, ...] = ()  # samples kept apart because a twin examines, or trains, in words
    entered: Mapping[str, datetime] = field(default_factory=dict)  # state -> UTC

    @property
    def is_over(self) -> bool:
        """Nothing more will happen in this round."""
        return not _MAY_FOLLOW[self.state]

    def next(self, state: RoundState, **changes: object) -> "Round":
        """The round one step on.

        Raises:
            IllegalTransitionError: `state` may not follow the present one.
        """
        if state not in _MAY_FOLLOW[self.state]:
            raise IllegalTransitionError(
                f"round {self.number}: {self.state} may not become {state}; "
                f"allowed: {', '.join(sorted(_MAY_FOLLOW[self.state])) or 'nothing, it is over'}"
            )
        return replace(self, state=state, **changes)  # type: ignore[arg-type]

    def with_time(self, at: datetime) -> "Round":
        """The round with the moment it entered its present state, the first one if repeated."""
        return replace(self, entered={str(self.state): at, **self.entered})
