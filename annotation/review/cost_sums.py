"""What many corrections took together, in sums that can be added up: by class, model, annotator.

One implementation for the terminal (`cornerloop review cost`) and the pages. Sums of rounds are
added without looking at their annotations again.

How much time drafts save is told from tasks that went out without one (`review.blank_share`).
Which ones is decided by a hash of the sample's id, so pictures with and without a draft are drawn
from the same lot, and their mean times may be compared. The share of time saved is 1 - m1/m0; its
interval is that of the logarithm of a ratio of two means (Hedges, Gurevitch & Curtis 1999, "The
meta-analysis of response ratios in experimental ecology", equation 1),

    var(ln(m1/m0)) = s1²/(n1·m1²) + s0²/(n0·m0²),

with Student's t at the degrees of freedom of Welch (1947) and Satterthwaite (1946) instead of the
normal quantile, because n0 is small for long.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lifelong.records.samples import CorrectionCost

CONFIDENCE = 0.95


class Spread(NamedTuple):
    """How many, mean and sum of squared deviations of some numbers."""

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def variance(self) -> float | None:
        """Of the lot the numbers were drawn from; None below two of them."""
        return self.squares / (self.number - 1) if self.number > 1 else None

    @property
    def known_mean(self) -> float | None:
        """None when there are no numbers."""
        return self.mean if self.number else None

    def plus(self, other: "Spread") -> "Spread":
        """Of both lots together (Chan, Golub & LeVeque 1979).

        >>> spread_of([1.0, 3.0]).plus(spread_of([5.0]))
        Spread(number=3, mean=3.0, squares=8.0)
        """
        count = self.number + other.number
        if not count:
            return self
        apart = other.mean - self.mean
        return Spread(
            count,
            self.mean + apart * other.number / count,
            self.squares + other.squares + apart * apart * self.number * other.number / count,
        )

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Student's interval of the mean; None below two numbers."""
        if self.variance is None:
            return None
        half = _student(confidence, self.number - 1) * math.sqrt(self.variance / self.number)
        return (self.mean - half, self.mean + half)


def spread_of(values: Sequence[float]) -> Spread:
    """Of these numbers."""
    if not values:
        return Spread()
    mean = math.fsum(values) / len(values)
    return Spread(len(values), mean, math.fsum((value - mean) ** 2 for value in values))


class ClassSums(NamedTuple):
    """What one class took."""

    annotations: int = 0
    pixels_added: int = 0
    pixels_removed: int = 0
    regions_touched: int = 0
    regions_added: int = 0
    regions_deleted: int = 0
    seconds: float | None = None  # None: nobody measured

    def plus(self, other: "ClassSums") -> "ClassSums":
        """Both together; seconds of those that were measured."""
        known = [one.seconds for one in (self, other) if one.seconds is not None]
        return ClassSums(
            self.annotations + other.annotations,
            self.pixels_added + other.pixels_added,
            self.pixels_removed + other.pixels_removed,
            self.regions_touched + other.regions_touched,
            self.regions_added + other.regions_added,
            self.regions_deleted + other.regions_deleted,
            math.fsum(known) if known else None,
        )

    @property
    def edits(self) -> int:
        """Regions touched, added and deleted."""
        return self.regions_touched + self.regions_added + self.regions_deleted


class Work(NamedTuple):
    """Some annotations of one kind."""

    annotations: int = 0
    seconds: Spread = Spread()  # of those that were measured
    edits: Spread = Spread()  # regions touched, added and deleted; each takes a click at least
    changed: int = 0  # pixels that were given a class they were not shown with
    pixels: int = 0  # of the pictures

    def plus(self, other: "Work") -> "Work":
        """Both together."""
        return Work(
            self.annotations + other.annotations,
            self.seconds.plus(other.seconds),
            self.edits.plus(other.edits),
            self.changed + other.changed,
            self.pixels + other.pixels,
        )

    @property
    def changed_share(self) -> float | None:
        """Of the pixels, 0 .. 1."""
        return self.changed / self.pixels if self.pixels else None


class WorkKind(NamedTuple):
    """Whose work, upon which models' drafts, and whether these were shown."""

    annotator: str
    drafted_by: str
    with_draft: bool


class ClassKind(NamedTuple):
    """Which class, upon which models' drafts, and whether these were shown."""

    drafted_by: str
    with_draft: bool
    name: str


@dataclass(frozen=True, slots=True)
class CostSums:
    """What annotations took together; never changed."""

    work: Mapping[WorkKind, Work] = field(default_factory=dict)
    classes: Mapping[ClassKind, ClassSums] = field(default_factory=dict)

    def of(self, *, annotator: str | None = None, drafted_by: str | None = None) -> "Compared":
        """Work with and without a draft, of one annotator or upon one model's drafts, or all."""
        sums = {True: Work(), False: Work()}
        for kind, work in self.work.items():
            if annotator in {None, kind.annotator} and drafted_by in {None, kind.drafted_by}:
                sums[kind.with_draft] = sums[kind.with_draft].plus(work)
        return Compared(with_draft=sums[True], without_draft=sums[False])

    @property
    def annotators(self) -> tuple[str, ...]:
        """Everybody, by name."""
        return tuple(sorted({kind.annotator for kind in self.work}))

    @property
    def models(self) -> tuple[str, ...]:
        """Whose drafts were corrected, by name."""
        return tuple(sorted({kind.drafted_by for kind in self.work}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Work that began with a draft beside work that began with an empty picture."""

    with_draft: Work
    without_draft: Work

    @property
    def both(self) -> Work:
        """Together."""
        return self.with_draft.plus(self.without_draft)

    @property
    def saved_share(self) -> float | None:
        """Of the time without a draft; negative: drafts cost time. None: not measured."""
        ours, empty = self.with_draft.seconds, self.without_draft.seconds
        return 1.0 - ours.mean / empty.mean if ours.number and empty.number and empty.mean else None

    @property
    def saved_interval(self) -> tuple[float, float] | None:
        """Of `saved_share`; None: not measured, or once only."""
        ours, empty = self.with_draft.seconds, self.without_draft.seconds
        if ours.variance is None or empty.variance is None or not (ours.mean and empty.mean):
            return None
        parts = [s.variance / (s.number * s.mean**2) for s in (ours, empty) if s.variance]
        if not parts:
            return (1.0 - ours.mean / empty.mean,) * 2
        freedom = sum(parts) ** 2 / sum(
            (s.variance / (s.number * s.mean**2)) ** 2 / (s.number - 1)
            for s in (ours, empty)
            if s.variance
        )
        half = _student(CONFIDENCE, freedom) * math.sqrt(sum(parts))
        ratio = math.log(ours.mean / empty.mean)
        return (1.0 - math.exp(ratio + half), 1.0 - math.exp(ratio - half))

    @property
    def saved_seconds(self) -> float | None:
        """A picture, on average; None: not measured."""
        if self.saved_share is None:
            return None
        return self.without_draft.seconds.mean - self.with_draft.seconds.mean


def sums_of(costs: Iterable[CorrectionCost]) -> CostSums:
    """Of these annotations."""
    spent: dict[WorkKind, list[tuple[CorrectionCost, int, int]]] = {}
    classes: dict[ClassKind, ClassSums] = {}
    for cost in costs:
        edits = changed = 0
        for name, of_class in cost.classes.items():
            one = ClassSums(
                1,
                of_class.pixels_added,
                of_class.pixels_removed,
                of_class.regions_touched,
                of_class.regions_added,
                of_class.regions_deleted,
                of_class.seconds,
            )
            kind = ClassKind(cost.drafted_by, cost.with_draft, name)
            classes[kind] = classes[kind].plus(one) if kind in classes else one
            edits += one.edits
            changed += one.pixels_added
        whose = WorkKind(cost.annotator, cost.drafted_by, cost.with_draft)
        spent.setdefault(whose, []).append((cost, edits, changed))
    work = {
        kind: Work(
            annotations=len(many),
            seconds=spread_of([cost.seconds for cost, _, _ in many if cost.seconds is not None]),
            edits=spread_of([float(edits) for _, edits, _ in many]),
            changed=sum(changed for _, _, changed in many),
            pixels=sum(cost.pixels for cost, _, _ in many),
        )
        for kind, many in spent.items()
    }
    return CostSums(work, classes)


def added(many: Iterable[CostSums]) -> CostSums:
    """All of them together."""
    work: dict[WorkKind, Work] = {}
    classes: dict[ClassKind, ClassSums] = {}
    for sums in many:
        for kind, one in sums.work.items():
            work[kind] = work[kind].plus(one) if kind in work else one
        for which, of_class in sums.classes.items():
            classes[which] = classes[which].plus(of_class) if which in classes else of_class
    return CostSums(work, classes)


def told(sums: CostSums) -> dict[str, Any]:
    """As JSON-ready values: what `cornerloop review cost --json` prints."""
    compared = sums.of()
    interval = compared.saved_interval
    return {
        "classes": [
            {
                "class": kind.name,
                "drafted_by": kind.drafted_by,
                "with_draft": kind.with_draft,
                **one._asdict(),
                "seconds": None if one.seconds is None else round(one.seconds, 3),
            }
            for kind, one in sorted(sums.classes.items())
        ],
        "seconds": {
            **{
                name: {"annotations": work.seconds.number, "mean": _rounded(work.seconds, 3)}
                for name, work in _kinds(compared)
            },
            "saved_share": compared.saved_share,
            "saved_interval": None if interval is None else list(interval),
        },
        "edits": {
            name: {"annotations": work.edits.number, "mean": _rounded(work.edits, 3)}
            for name, work in _kinds(compared)
        },
        "models": {model: _figures(sums.of(drafted_by=model)) for model in sums.models},
        "annotators": {name: _figures(sums.of(annotator=name)) for name in sums.annotators},
    }


def _kinds(compared: Compared) -> tuple[tuple[str, Work], tuple[str, Work]]:
    return (("with_draft", compared.with_draft), ("without_draft", compared.without_draft))


def _figures(compared: Compared) -> dict[str, Any]:
    return {
        name: {
            "annotations": work.annotations,
            "seconds": _rounded(work.seconds, 3),
            "edits": _rounded(work.edits, 3),
            "changed_share": work.changed_share,
        }
        for name, work in _kinds(compared)
    } | {"saved_share": compared.saved_share}


def _rounded(spread: Spread, digits: int) -> float | None:
    return round(spread.mean, digits) if spread.number else None


def _student(confidence: float, freedom: float) -> float:
    from scipy.special import stdtrit  # takes half a second to import

    return float(stdtrit(freedom, 0.5 + confidence / 2.0))
