"""What people's corrections cost, round by round, and what drafts save: from rounds' records.

A round that is over never changes, so its sums are made once and the running total is kept from
look to look: a hundred thousand annotations are counted once, when the monitor starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import scipy.special  # noqa: F401 - intervals need it; no request is to wait for its import

from annotation.review.cost_sums import (
    ClassKind,
    ClassSums,
    Compared,
    CostSums,
    Spread,
    added,
    spread_of,
    sums_of,
)
from cloud.monitor.look import Look
from lifelong.config import Config
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round
from lifelong.records.samples import Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCosts:
    """One round's work."""

    number: RoundNumber
    annotations: int
    skipped: int
    sums: CostSums
    all: Compared
    agreement: Spread  # of drafts with what people made of them, mIoU
    blank_agreement: Spread  # the same of drafts that were kept from people
    people_agreement: Spread  # between annotators of one picture, mIoU


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleCosts:
    """All rounds' work."""

    rounds: tuple[RoundCosts, ...] = ()  # with any annotation, newest first
    total: CostSums = field(default_factory=CostSums)
    all: Compared
    agreement: Spread = Spread()
    blank_agreement: Spread = Spread()
    people_agreement: Spread = Spread()
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """The total over the first rounds, all of which are over."""

    rounds: tuple[Round, ...] = ()
    costs: tuple[RoundCosts, ...] = ()
    total: CostSums = CostSums()


class CostsByRound:
    """Counts and remembers; `of` is for `Look.fact`. One object an application."""

    def __init__(self) -> None:
        self._kept = _Kept()

    def of(self, look: Look) -> PeopleCosts:
        """Everything that was ever corrected, at this look."""
        over = tuple(round_ for round_ in look.rounds if round_.is_over)
        kept = self._kept
        known = len(kept.rounds)
        # Records are replaced and never changed: the same object says the same. Somebody may have
        # been forgotten in an old round, whose record is a new one then.
        if known > len(over) or any(
            a is not b for a, b in zip(kept.rounds, over[:known], strict=True)
        ):
            kept, known = _Kept(), 0
        fresh = _counted(over[known:])
        if known < len(over):
            total = added([kept.total, *(one.sums for one in fresh)])
            kept = _Kept(over, (*kept.costs, *fresh), total)
            self._kept = kept
        open_ = _counted([round_ for round_ in look.rounds if not round_.is_over])
        costs = (*kept.costs, *open_)
        total = added([kept.total, *(one.sums for one in open_)])
        return PeopleCosts(
            rounds=costs[::-1],
            total=total,
            all=total.of(),
            agreement=_together([one.agreement for one in costs]),
            blank_agreement=_together([one.blank_agreement for one in costs]),
            people_agreement=_together([one.people_agreement for one in costs]),
            skipped=sum(one.skipped for one in costs),
        )


def round_costs(round_: Round) -> RoundCosts | None:
    """None: nobody has annotated or skipped anything in it."""
    by_people = [one for one in round_.annotations if one.costs]
    if not by_people and not round_.skips:
        return None
    blank = {task.sample_id for task in round_.tasks if task.is_blank}
    drafted = {task.sample_id for task in round_.tasks if task.draft_key}
    sums = sums_of(cost for one in by_people for cost in one.costs)

    def agreed(wanted: Sequence[Annotation]) -> Spread:
        return spread_of([one.agreement for one in wanted if one.sample_id in drafted])

    return RoundCosts(
        number=round_.number,
        annotations=len(by_people),
        skipped=len(round_.skips),
        sums=sums,
        all=sums.of(),
        agreement=agreed([one for one in by_people if one.sample_id not in blank]),
        blank_agreement=agreed([one for one in by_people if one.sample_id in blank]),
        people_agreement=spread_of(
            [one.people_agreement for one in by_people if one.people_agreement is not None]
        ),
    )


def _counted(rounds: Sequence[Round]) -> list[RoundCosts]:
    return [found for found in map(round_costs, rounds) if found is not None]


def by_class(sums: CostSums) -> list[tuple[ClassKind, ClassSums]]:
    """The dearest first: by seconds, where nobody measured by pixels that changed."""

    def dear(item: tuple[ClassKind, ClassSums]) -> tuple[float, int, str]:
        _, of = item
        return (-(of.seconds or 0.0), -(of.pixels_added + of.pixels_removed), item[0].name)

    return sorted(sums.classes.items(), key=dear)


def why_not_measured(compared: Compared, config: Config) -> str:
    """Why nobody can say what drafts save, and what would tell; "" when it was measured."""
    if compared.saved_share is not None:
        return ""
    if config.annotation_folder is not None:
        return "files in a folder do not say how long they took; Label Studio measures it"
    if compared.with_draft.seconds.number == 0:
        return "no annotation with a draft has come with its time yet"
    if not config.review.blank_share:
        return (
            "every task went out with its draft, so there is nothing to compare with: set "
            "review.blank_share, 0.1 say, and one task in ten goes out empty"
        )
    return (
        f"review.blank_share is {config.review.blank_share:g}; no task without a draft has come "
        "with its time yet"
    )


def _together(many: Sequence[Spread]) -> Spread:
    found = Spread()
    for one in many:
        found = found.plus(one)
    return found
