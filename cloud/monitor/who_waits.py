"""What waits for whom: people, the job, the gate, edge nodes, conditions without a name."""

from dataclasses import dataclass
from datetime import datetime

from cloud.fleet.edges import EdgeState
from cloud.monitor.annotation_tally import tally_of
from cloud.monitor.edge_facts import by_state
from cloud.monitor.look import Look
from cloud.monitor.training_facts import training_view
from lifelong.config import RoundsSection
from lifelong.records.rounds import Round, RoundState


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something that waits, and for whom."""

    whom: str  # "people", "the job" …
    count: int | None  # of what waits; None: it is not counted
    what: str  # of that count: "tasks", "edge nodes"
    words: str
    page: str
    since: datetime | None = None  # UTC
    needs_person: bool = False
    is_supply: bool = False  # the loop itself waits, for what they bring


def waits(look: Look, rules: RoundsSection) -> tuple[Wait, ...]:
    """Everything that waits; what waits for a person comes first."""
    found = [*of_open_round(look, rules), *_conditions(look), *_edges(look)]
    return tuple(sorted(found, key=lambda wait: not wait.needs_person))


def of_open_round(look: Look, rules: RoundsSection) -> list[Wait]:
    """Whom the open round waits for; nobody when none is open."""
    return [*_open_round(look, rules), *_reviewers(look)]


def _open_round(look: Look, rules: RoundsSection) -> list[Wait]:
    if not look.rounds or look.rounds[-1].is_over:
        return []
    open_ = look.rounds[-1]
    match open_.state:
        case RoundState.COLLECTING:
            return [_collecting(look, rules)]
        case RoundState.PREANNOTATING:
            words = "masks are being drafted"
            return [_step(open_, "the drafting models", len(open_.examples), "pictures", words)]
        case RoundState.ANNOTATING:
            return _people(look)
        case RoundState.TRAINING:
            words = training_view(look).words
            words = words[:1].lower() + words[1:]  # within a sentence
            return [_step(open_, "the training job", len(open_.annotations), "annotations", words)]
        case RoundState.GATING:
            words = "the candidate is being examined on every hold-out"
            return [_step(open_, "the gate", 1, "candidate", words)]
        case _:
            words = "an earlier release is still on its way to the edge nodes"
            return [_step(open_, "the roll-out", 1, "model", words)]


def _collecting(look: Look, rules: RoundsSection) -> Wait:
    if rules.trigger.condition or rules.trigger.conditions or rules.trigger.timer:
        begins = "the next round begins when rounds.trigger says so"
    else:
        least = rules.min_examples
        begins = (
            f"the next round begins when {least} are from the model that runs now; "
            "those of earlier ones fill it up"
        )
    return Wait(
        whom="edge nodes",
        count=look.queues.untaken,
        what="hard examples in no round yet",
        words=begins,
        is_supply=True,
        page="/queues#outboxes",
        since=look.rounds[-1].entered.get(str(RoundState.COLLECTING)),
    )


def _people(look: Look) -> list[Wait]:
    tally = look.fact(tally_of)
    if tally is None or (tally.noted_at is not None and not tally.waiting):
        return []
    word = "task" if tally.waiting == 1 else "tasks"
    finished = len(tally.lines) - tally.waiting
    return [
        Wait(
            whom="people",
            count=tally.waiting,
            what=f"open {word}",
            words=f"round {tally.round_number}: {finished} of {len(tally.lines)} tasks are "
            "submitted or skipped",
            page="/queues#annotation",
            since=tally.since,
            needs_person=True,
        )
    ]


def _reviewers(look: Look) -> list[Wait]:
    tally = look.fact(tally_of)
    if tally is None or tally.noted_at is None or not tally.at_review:
        return []
    word = "task" if tally.at_review == 1 else "tasks"
    return [
        Wait(
            whom="reviewers",
            count=tally.at_review,
            what=f"submitted {word}",
            words="nobody has accepted them, or annotators disagree (cornerloop review list)",
            page="/queues#annotation",
            needs_person=True,
        )
    ]


def _conditions(look: Look) -> list[Wait]:
    if not look.conditions_proposed:
        return []
    word = "condition" if look.conditions_proposed == 1 else "conditions"
    return [
        Wait(
            whom="an operator",
            count=look.conditions_proposed,
            what=f"new {word} without a name",
            words="pictures unlike all that is known; cornerloop conditions list shows them",
            page="/learning",
            needs_person=True,
        )
    ]


def _edges(look: Look) -> list[Wait]:
    behind = look.fact(by_state)[EdgeState.BEHIND]
    if not behind or look.current is None:
        return []
    word = "edge node" if behind == 1 else "edge nodes"
    return [
        Wait(
            whom="edge nodes",
            count=behind,
            what=f"{word} to update",
            words=f"they report, and do not run what they should; newest release: "
            f"{look.current.number}",
            page="/edges?state=behind",
            since=look.current.released_at,
        )
    ]


def _step(round_: Round, whom: str, count: int, what: str, words: str) -> Wait:
    return Wait(
        whom=whom,
        count=count,
        what=what,
        words=words,
        page=f"/rounds/{round_.number}",
        since=round_.entered.get(str(round_.state)),
    )
