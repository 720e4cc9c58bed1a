"""Rounds as the monitor lists them: one line each, with how far people are in the one that is open.

Lines are made for the rounds of the page that is shown, so that a page of a loop that has run for
years costs what the first one did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from annotation.review.standing import TaskState
from cloud.monitor.annotation_tally import tally_of
from cloud.monitor.look import Look
from cloud.reports import condition_of, overview_of, seconds_by_step
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.model_versions import Examination
from lifelong.records.rounds import Round, RoundState

T = TypeVar("T")
Tone = Literal["good", "bad", "busy", "calm"]

TONES: Mapping[RoundState, Tone] = {
    RoundState.COLLECTING: "calm",
    RoundState.RELEASED: "good",
    RoundState.REFUSED: "bad",
    RoundState.FAILED: "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMiou:
    """A learning task's mIoU, 0 .. 1, of the incumbent and of the candidate."""

    task: str
    before: float | None  # None: there was no incumbent, or it was not examined on this
    after: float

    @property
    def change(self) -> float | None:
        """Of mIoU, -1 .. 1."""
        return None if self.before is None else self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLine:
    """One round in a list."""

    number: RoundNumber
    state: RoundState
    tone: Tone
    condition: str  # "" when its examples do not say
    examples: int
    tasks: int  # offered to people, or decided without them
    annotated: int | None  # None: people are at work, and nobody has counted yet
    skipped: int | None
    waiting: int | None  # tasks whose answer does not count yet
    mious: tuple[TaskMiou, ...]
    verdict: str  # one word or two
    reasons: tuple[str, ...]  # of the verdict, in words
    seconds: Mapping[str, float]  # by state that was left
    begun_at: datetime | None  # UTC
    ended_at: datetime | None  # UTC; None while it is open

    @property
    def mean(self) -> TaskMiou | None:
        """Over the learning tasks that both were examined on; None without any."""
        both = [(one.before, one.after) for one in self.mious if one.before is not None]
        if not both:
            return None
        before, after = zip(*both, strict=True)
        count = len(both)
        return TaskMiou(
            task=f"mean of {count}", before=sum(before) / count, after=sum(after) / count
        )

    @property
    def took_s(self) -> float | None:
        """From beginning to end, seconds; None while it is open."""
        if self.begun_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.begun_at).total_seconds()


def rounds_by_number(look: Look) -> Mapping[RoundNumber, Round]:
    """For `Look.fact`."""
    return {round_.number: round_ for round_ in look.rounds}


def newest_first(look: Look) -> tuple[Round, ...]:
    """All rounds; for `Look.fact`."""
    return look.rounds[::-1]


def examination_of(round_: Round, look: Look) -> Examination | None:
    """What was measured of a round's candidate; None: there is none, or nobody has examined it."""
    return look.examinations.get(round_.candidate) if round_.candidate else None


def round_line(round_: Round, look: Look) -> RoundLine:
    """A round in one line."""
    moments = sorted(round_.entered.values())
    annotated, skipped, waiting = answers_of(round_, look) or (None, None, None)
    return RoundLine(
        number=round_.number,
        state=round_.state,
        tone=TONES.get(round_.state, "busy"),
        condition=condition_of(round_),
        examples=len(round_.examples),
        tasks=len(round_.tasks),
        annotated=annotated,
        skipped=skipped,
        waiting=waiting,
        mious=task_mious(examination_of(round_, look)),
        verdict=verdict_of(round_),
        reasons=reasons_of(round_),
        seconds=seconds_by_step(round_),
        begun_at=moments[0] if moments else None,
        ended_at=moments[-1] if moments and round_.is_over else None,
    )


def states_of(round_: Round, look: Look) -> Mapping[SampleId, TaskState]:
    """How its tasks stood when the loop last asked; empty: it need not any more."""
    tally = look.fact(tally_of)
    if tally is None or tally.round_number != round_.number:
        return {}
    return {line.task.sample_id: line.state for line in tally.lines}


def answers_of(round_: Round, look: Look) -> tuple[int, int, int] | None:
    """Annotated, skipped, waiting; None: people are at work, and nobody has counted yet.

    Answers are taken into a round's record when there are enough of them, not one by one.
    """
    tally = look.fact(tally_of)
    if tally is None or tally.round_number != round_.number:
        return len(round_.annotations), len(round_.skips), 0
    if tally.noted_at is None and not round_.annotations:
        return None
    counted = sum(line.counts for line in tally.lines) + tally.without_people
    skipped = tally.by_state.get(TaskState.SKIPPED, 0)
    return counted, skipped, len(tally.lines) + tally.without_people - counted - skipped


def task_mious(examination: Examination | None) -> tuple[TaskMiou, ...]:
    """By learning task, in the order of their names."""
    if examination is None:
        return ()
    before = examination.incumbent.tasks if examination.incumbent else {}
    return tuple(
        TaskMiou(task=task, before=before[task].miou if task in before else None, after=found.miou)
        for task, found in sorted(examination.candidate.tasks.items())
    )


def verdict_of(round_: Round) -> str:
    """Accepted, refused, failed; "" before anybody has judged."""
    if round_.state is RoundState.FAILED:
        return "failed"
    if round_.decision is None:
        return ""
    return "accepted" if round_.decision.accepted else "refused"


def reasons_of(round_: Round) -> tuple[str, ...]:
    """Why it was refused or failed; what was gained when it was accepted."""
    if round_.state is RoundState.FAILED:
        return (round_.failure or "no reason was recorded",)
    if round_.decision is None:
        return ()
    return round_.decision.reasons or round_.decision.notes


def rounds_page(look: Look, page: int, size: int) -> dict[str, Any]:
    """A page of what `cornerloop rounds --json` prints; page 1 has the newest rounds.

    Rounds and releases stand oldest first within a page, as they do in the whole.
    """
    pages = page_count(max(len(look.rounds), len(look.releases)), size)
    page = min(page, pages)
    return {
        **overview_of(
            _slice(look.rounds, page, size),
            look.examinations,
            look.releases,
            conditions_proposed=look.conditions_proposed,
            shown=_slice(look.releases, page, size),
        ),
        "page": page,
        "pages": pages,
        "rounds_total": len(look.rounds),
        "releases_total": len(look.releases),
    }


def page_count(items: int, size: int) -> int:
    """How many pages they fill, 1 at least.

    >>> [page_count(n, 25) for n in (0, 25, 26)]
    [1, 1, 2]
    """
    return max(1, -(-items // size))


def _slice(items: tuple[T, ...], page: int, size: int) -> tuple[T, ...]:
    end = max(0, len(items) - (page - 1) * size)
    return items[max(0, end - size) : end]
