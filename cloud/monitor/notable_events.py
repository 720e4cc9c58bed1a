"""What happened last: rounds that ended, releases, roll-backs, halts; newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cloud.monitor.look import Look
from lifelong.records.model_versions import Release
from lifelong.records.rounds import Round, RoundState

Tone = Literal["good", "bad", "busy", "calm"]
_LOOKED_AT = 50  # newest rounds and releases


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing worth a line."""

    at: datetime  # UTC
    word: str
    tone: Tone
    what: str
    page: str


def newest_events(look: Look) -> Sequence[Event]:
    """What can be told of the newest rounds and releases, newest first; a fact."""
    rounds = [_ended(round_) for round_ in look.rounds[-_LOOKED_AT:] if round_.is_over]
    # What a round released is told by the round.
    releases = [_release(one) for one in look.releases[-_LOOKED_AT:] if not _of_a_round(one)]
    found = [event for event in (*rounds, *releases, _halt(look)) if event is not None]
    return sorted(found, key=lambda event: event.at, reverse=True)


def _ended(round_: Round) -> Event | None:
    at = round_.entered.get(str(round_.state))
    if at is None:
        return None
    page = f"/rounds/{round_.number}"
    if round_.state is RoundState.RELEASED:
        what = f"round {round_.number}: its model was accepted and goes to the edge"
        return Event(at=at, word="released", tone="good", what=what, page=page)
    if round_.state is RoundState.REFUSED:
        reasons = round_.decision.reasons if round_.decision else ()
        why = reasons[0] if reasons else "no reason was recorded"
        what = f"round {round_.number}: {why}"
        return Event(at=at, word="refused", tone="bad", what=what, page=page)
    what = f"round {round_.number}: {round_.failure or 'no reason was recorded'}"
    return Event(at=at, word="failed", tone="bad", what=what, page=page)


def _of_a_round(release: Release) -> bool:
    return release.round_number > 0 and not release.is_rollback and "accepted" in release.why


def _release(release: Release) -> Event:
    word = "rolled back" if release.is_rollback else "released"
    return Event(
        at=release.released_at,
        word=word,
        tone="busy" if release.is_rollback else "calm",
        what=f"release {release.number}: version {release.version_id}, {release.why}",
        page="/releases",
    )


def _halt(look: Look) -> Event | None:
    rollout = look.rollout
    at = rollout["entered"].get("halted") if rollout else None
    if rollout is None or not at:
        return None
    why = "; ".join(rollout["reasons"][:1])
    return Event(
        at=datetime.fromisoformat(at),
        word="halted",
        tone="bad",
        what=f"the roll-out of release {rollout['number']}" + (f": {why}" if why else ""),
        page="/releases",
    )
