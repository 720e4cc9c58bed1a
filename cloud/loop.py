"""The cloud's main path: one round, one idempotent step at a time; names its ports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud.selecting.selection import without
from lifelong.config import RoundsSection
from lifelong.errors import ModelOutputError, ObjectNotFoundError, RecordError
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Examination, Release
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import (
    Annotation,
    AnnotationTask,
    HardExample,
    PreAnnotation,
    Skip,
)


class Inbox(Protocol):
    """Where hard examples arrive."""

    def collect(self) -> list[HardExample]:
        """Every example ever admitted."""


class Selection(Protocol):
    """The queue: what is worth a person's minute, and what is next."""

    def choose(
        self,
        waiting: Iterable[HardExample],
        *,
        incumbent: VersionId | None,
        budget: int,
        at_least: int,
    ) -> tuple[HardExample, ...]:
        """The best `budget` examples in order; none while too few of the incumbent's wait."""

    def order(
        self,
        open_: Iterable[HardExample],
        *,
        done: Sequence[HardExample],
        incumbent: VersionId | None,
    ) -> tuple[SampleId, ...]:
        """The order in which people should take what is open."""


class Trigger(Protocol):
    """What begins a round."""

    def begins(
        self, round_: Round, waiting: Sequence[HardExample], earlier: Sequence[Round]
    ) -> bool:
        """May the round begin with what waits?"""


class PreAnnotator(Protocol):
    """Who drafts masks."""

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        """Draft one mask and store it."""


class Pulled(Protocol):
    """What people have finished."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Confirmed or corrected masks."""

    @property
    def skips(self) -> tuple[Skip, ...]:
        """Tasks that will never have one."""


class Annotators(Protocol):
    """People, by way of Label Studio."""

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts; those already offered are only named."""

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What is finished of these."""

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """Show the open tasks in this order."""


class Job(Protocol):
    """Who trains and judges: Sedna, or the local job."""

    def hand_over(self, round_: Round) -> tuple[str, ...]:
        """Make a round's annotations samples and offer them for training; what was kept from
        training because a hold-out holds it, in words."""

    def candidate(self, number: RoundNumber) -> VersionId | None:
        """The model that a round trained; None while it has none."""

    def failure(self, number: RoundNumber) -> str:
        """Why a round's training failed; empty while it has not."""

    def examination(self, version_id: VersionId) -> Examination | None:
        """What the gate said; None while it has not."""


class Releases(Protocol):
    """What edges are told to run."""

    def current(self) -> Release | None:
        """The newest release."""

    def publish(self, version_id: VersionId, round_number: RoundNumber, why: str) -> Release | None:
        """Begin to bring a version to the edges; None while an earlier one is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a round needs."""

    inbox: Inbox
    selection: Selection
    preannotator: PreAnnotator
    annotators: Annotators
    job: Job
    releases: Releases
    trigger: Trigger | None = None  # None: as soon as `rounds.min_examples` wait


def advance(round_: Round, earlier: Sequence[Round], at: Ports, rules: RoundsSection) -> Round:
    """Take the one step that `round_` is ready for; every step may be repeated safely."""
    match round_.state:
        case RoundState.COLLECTING:
            chosen = _chosen(round_, earlier, at, rules)
            return round_.next(RoundState.PREANNOTATING, examples=chosen) if chosen else round_
        case RoundState.PREANNOTATING:
            drafts, skips = _drafted(round_, at.preannotator)
            if not drafts:
                return round_.next(RoundState.FAILED, failure="no draft could be made", skips=skips)
            tasks = tuple(at.annotators.push(drafts))
            return round_.next(RoundState.ANNOTATING, drafts=drafts, tasks=tasks, skips=skips)
        case RoundState.ANNOTATING:
            pulled = at.annotators.pull(round_.tasks)
            if len(pulled.annotations) + len(pulled.skips) < _enough(round_, rules):
                _sort(round_, pulled, at)
                return round_  # people are still at work
            skips = (*round_.skips, *pulled.skips)
            people = {"annotations": pulled.annotations, "skips": skips}
            if not pulled.annotations:
                return round_.next(RoundState.FAILED, failure="no task was annotated", **people)
            return round_.next(RoundState.TRAINING, **people)
        case RoundState.TRAINING:
            leaks = at.job.hand_over(round_)
            if reason := at.job.failure(round_.number):
                return round_.next(RoundState.FAILED, failure=reason, leaks=leaks)
            candidate = at.job.candidate(round_.number)
            if not candidate:
                return round_
            return round_.next(RoundState.GATING, candidate=candidate, leaks=leaks)
        case RoundState.GATING:
            examination = at.job.examination(_of(round_.candidate))
            if examination is None:
                return round_
            decision = examination.decision
            after = RoundState.RELEASING if decision.accepted else RoundState.REFUSED
            return round_.next(after, decision=decision)
        case RoundState.RELEASING:
            why = f"round {round_.number} accepted"
            # RELEASED says that the fleet has begun to take it. How far it comes, and whether it
            # is halted, is told by its roll-out: rounds do not wait days for that.
            release = at.releases.publish(_of(round_.candidate), round_.number, why)
            return round_.next(RoundState.RELEASED) if release else round_
        case RoundState.RELEASED | RoundState.REFUSED | RoundState.FAILED:
            return round_


def begin(number: RoundNumber, releases: Releases) -> Round:
    """A new round against what is released now."""
    current = releases.current()
    return Round(number=number, incumbent=current.version_id if current else None)


def _chosen(
    round_: Round, earlier: Sequence[Round], at: Ports, rules: RoundsSection
) -> tuple[HardExample, ...]:
    waiting = without(at.inbox.collect(), (past.examples for past in earlier))
    at_least = rules.min_examples
    if at.trigger is not None:
        if not at.trigger.begins(round_, waiting, earlier):
            return ()
        at_least = 1
    return at.selection.choose(
        waiting,
        incumbent=round_.incumbent,
        budget=rules.annotation_budget,
        at_least=at_least,
    )


def _sort(round_: Round, pulled: Pulled, at: Ports) -> None:
    """What people have done changes what is worth doing next."""
    labelled = {annotation.sample_id for annotation in pulled.annotations}
    skipped = {skip.sample_id for skip in (*pulled.skips, *round_.skips)}
    order = at.selection.order(
        [e for e in round_.examples if e.sample_id not in labelled | skipped],
        done=[e for e in round_.examples if e.sample_id in labelled],
        incumbent=round_.incumbent,
    )
    at.annotators.sort(round_.tasks, order)


def _drafted(
    round_: Round, preannotator: PreAnnotator
) -> tuple[tuple[PreAnnotation, ...], tuple[Skip, ...]]:
    """Drafts of all examples; one that cannot be drafted is left out with its reason."""
    drafts: list[PreAnnotation] = []
    skips: list[Skip] = []
    for example in round_.examples:
        try:
            drafts.append(preannotator.annotate(example, round_.number))
        except (RecordError, ModelOutputError, ObjectNotFoundError) as error:
            skips.append(
                Skip(sample_id=example.sample_id, round_number=round_.number, reason=str(error))
            )
    return tuple(drafts), tuple(skips)


def _enough(round_: Round, rules: RoundsSection) -> int:
    """How many tasks must be finished; a share is rounded up, one at least.

    Tasks that ask nobody are finished and make no share smaller: it is one of the people's.
    """
    done = sum(task.asks_nobody for task in round_.tasks)
    wanted = (len(round_.tasks) - done) * rules.proceed_share
    return max(1, done + int(wanted) + (wanted > int(wanted)))


def _of(candidate: VersionId | None) -> VersionId:
    if candidate is None:  # `Round.next` never leaves TRAINING without one
        raise ValueError("a round past training has a candidate")
    return candidate
