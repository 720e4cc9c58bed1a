"""How a task stands, and what reviewers decided about it.

Community Label Studio has no review, so decisions are records of ours in storage, never changed:

    reviews/{round}/{sample}/{annotation id}-{n}.json           one decision
    reviews/{round}/{sample}/annotation-{annotation id}.json    a rejected annotation, whole
    reviews/{round}/{sample}/draft.json                         the draft before the first rejection
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import count

from annotation.studio_tasks import StudioAnnotation, StudioTask, latest_first
from lifelong.errors import ObjectExistsError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.wire import from_json, to_json
from lifelong.sections.review import ReviewSection

_DECISION = re.compile(r"reviews/\d+/([^/]+)/(\d+)-(\d+)\.json\Z")


class TaskState(StrEnum):
    """How a task stands; OPEN and DRAFT wait for annotators, SUBMITTED and ADJUDICATE may wait
    for a reviewer."""

    OPEN = "open"
    DRAFT = "draft"  # somebody has begun; Label Studio saved it by itself
    SUBMITTED = "submitted"
    ADJUDICATE = "adjudicate"  # annotators disagree
    ACCEPTED = "accepted"
    REJECTED = "rejected"  # it is back in the queue
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """What a reviewer says of one annotation."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAnnotation:
    """An annotation as it was when a reviewer looked: one that changes later is another."""

    annotation_id: int
    at: datetime | None  # UTC, its last change


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One verdict on one annotation."""

    sample_id: SampleId
    round_number: RoundNumber
    about: SeenAnnotation
    annotator: str
    seconds: float | None  # what the annotation had taken
    verdict: Verdict
    reason: str
    reviewer: str
    at: datetime  # UTC
    seen: tuple[SeenAnnotation, ...]  # all annotations of the task at that moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a task stands."""

    state: TaskState
    live: tuple[StudioAnnotation, ...] = ()  # submitted and not rejected, one a person
    counted: tuple[StudioAnnotation, ...] = ()  # what the task's mask is made of; () = unfinished
    skipped_by: tuple[str, ...] = ()


class Decisions:
    """Reads and appends decisions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: dict[str, Decision] = {}  # they never change

    def of_round(self, number: RoundNumber) -> dict[SampleId, tuple[Decision, ...]]:
        """The decisions about each sample of a round, oldest first."""
        found: dict[SampleId, list[Decision]] = {}
        for key in self._storage.keys(f"reviews/{number}"):
            if _DECISION.match(key):
                if key not in self._read:
                    self._read[key] = from_json(Decision, self._storage.get(key), key)
                decision = self._read[key]
                found.setdefault(decision.sample_id, []).append(decision)
        return {
            sample_id: tuple(sorted(decisions, key=lambda one: one.at))
            for sample_id, decisions in found.items()
        }

    def add(self, decision: Decision) -> None:
        """Write a decision beside the earlier ones."""
        folder = review_folder(decision.round_number, decision.sample_id)
        for number in count(1):
            try:
                key = f"{folder}/{decision.about.annotation_id}-{number}.json"
                return self._storage.put_if_absent(key, to_json(decision))
            except ObjectExistsError:
                continue


def review_folder(round_number: RoundNumber, sample_id: SampleId) -> str:
    """Where everything about the review of a task lies."""
    return f"reviews/{round_number}/{sample_id}"


def as_seen(annotation: StudioAnnotation) -> SeenAnnotation:
    """What a decision remembers of an annotation."""
    return SeenAnnotation(annotation_id=annotation.annotation_id, at=annotation.at)


def standing(
    task: StudioTask,
    decisions: Sequence[Decision],
    rules: ReviewSection,
    *,
    disagree: Callable[[Sequence[StudioAnnotation]], bool],
) -> Standing:
    """How a task stands by what people submitted and what reviewers said.

    A verdict is about an annotation as it was: once the annotation changes, or another one comes
    in, nothing is accepted any more. Skips stand in for missing annotators, but somebody must
    have annotated.

    Args:
        task: with annotations.
        decisions: about this task, oldest first.
        disagree: are these annotations too far apart? Asked only when it matters.
    """
    verdicts = {one.about: one.verdict for one in decisions}
    live = tuple(
        one
        for one in reversed(latest_first(task))
        if verdicts.get(as_seen(one)) is not Verdict.REJECTED
    )
    people = {one.annotator for one in live}
    skipped_by = tuple(sorted({one.annotator for one in task.annotations if one.is_skip} - people))
    if not live:
        state = _unsubmitted(task, decisions, skipped_by, rules)
        return Standing(state=state, skipped_by=skipped_by)
    accepted = _accepted(live, decisions)
    if accepted:
        return Standing(state=TaskState.ACCEPTED, live=live, counted=accepted)
    last = live[-1]
    if last.annotator in rules.adjudicators and len(live) > 1:
        return Standing(state=TaskState.ACCEPTED, live=live, counted=(last,))
    submitted = Standing(state=TaskState.SUBMITTED, live=live, skipped_by=skipped_by)
    if not is_enough(submitted, rules):
        return submitted
    if last.annotator not in rules.adjudicators and disagree(live):
        return replace(submitted, state=TaskState.ADJUDICATE)
    return submitted if rules.required else replace(submitted, counted=live)


def is_enough(stands: Standing, rules: ReviewSection) -> bool:
    """Have as many people had their say as the rules ask for?"""
    return len(stands.live) + len(stands.skipped_by) >= rules.annotators


def rejected_seconds(decisions: Sequence[Decision]) -> float:
    """What rejected annotations of a task had taken before they were done again."""
    spent = {one.about: one.seconds or 0.0 for one in decisions if one.verdict is Verdict.REJECTED}
    return sum(spent.values())


def _accepted(
    live: Sequence[StudioAnnotation], decisions: Sequence[Decision]
) -> tuple[StudioAnnotation, ...]:
    """The accepted ones, unless something came in that the last reviewer had not seen."""
    acceptances = [one for one in decisions if one.verdict is Verdict.ACCEPTED]
    if not acceptances or not {as_seen(one) for one in live} <= set(acceptances[-1].seen):
        return ()
    # Together accepted means said at the same moment: a later choice replaces an earlier one.
    chosen = {one.about for one in acceptances if one.at == acceptances[-1].at}
    return tuple(one for one in live if as_seen(one) in chosen)


def _unsubmitted(
    task: StudioTask,
    decisions: Sequence[Decision],
    skipped_by: Sequence[str],
    rules: ReviewSection,
) -> TaskState:
    if len(skipped_by) >= rules.annotators:
        return TaskState.SKIPPED
    if decisions and decisions[-1].verdict is Verdict.REJECTED:
        return TaskState.REJECTED
    return TaskState.DRAFT if task.drafts else TaskState.OPEN
