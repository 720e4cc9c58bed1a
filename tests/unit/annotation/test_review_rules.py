"""ANN-06, ANN-07: how a task stands, worked out without Label Studio."""

from datetime import timedelta

import pytest

from annotation.review.blank_drafts import is_blank
from annotation.review.standing import (
    Decision,
    Decisions,
    TaskState,
    Verdict,
    as_seen,
    rejected_seconds,
    standing,
)
from annotation.studio_tasks import StudioAnnotation, StudioTask
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.sections.review import ReviewSection
from tests.builders import NOON


def done(number: int, who: str = "anna", *, skip: bool = False) -> StudioAnnotation:
    return StudioAnnotation(
        annotation_id=number,
        annotator=who,
        at=NOON + timedelta(minutes=number),
        is_skip=skip,
        seconds=10.0,
    )


def a_task(*annotations: StudioAnnotation, drafts: int = 0) -> StudioTask:
    return StudioTask(
        task_id=1,
        data={},
        meta={},
        updated_at=NOON,
        submitted=sum(not one.is_skip for one in annotations),
        skipped=sum(one.is_skip for one in annotations),
        annotations=annotations,
        drafts=drafts,
    )


def said(
    verdict: Verdict, about: StudioAnnotation, *seen: StudioAnnotation, minutes: int = 60
) -> Decision:
    return Decision(
        sample_id=SampleId("s"),
        round_number=RoundNumber(1),
        about=as_seen(about),
        annotator=about.annotator,
        seconds=about.seconds,
        verdict=verdict,
        reason="",
        reviewer="ruth",
        at=NOON + timedelta(minutes=minutes),
        seen=tuple(as_seen(one) for one in (seen or (about,))),
    )


A, B, SKIP = done(1), done(2, "bert"), done(3, "carl", skip=True)
OK, NO = Verdict.ACCEPTED, Verdict.REJECTED
ALONE, PAIR = ReviewSection(), ReviewSection(annotators=2)
STRICT = ReviewSection(required=True)


@pytest.mark.parametrize(
    ("task", "decisions", "rules", "state", "counted"),
    [
        (a_task(), (), ALONE, "open", ()),
        (a_task(drafts=1), (), ALONE, "draft", ()),
        (a_task(A), (), ALONE, "submitted", (1,)),
        (a_task(A), (), STRICT, "submitted", ()),
        (a_task(A), (said(OK, A),), STRICT, "accepted", (1,)),
        (a_task(done(1), drafts=1), (), ALONE, "submitted", (1,)),
        # A verdict is about an annotation as it was.
        (a_task(done(1), done(4)), (said(OK, A),), STRICT, "submitted", ()),
        (a_task(A), (said(OK, B),), STRICT, "submitted", ()),
        # The last word counts.
        (a_task(A), (said(NO, A), said(OK, A, minutes=61)), STRICT, "accepted", (1,)),
        (a_task(A), (said(OK, A), said(NO, A, minutes=61)), STRICT, "rejected", ()),
        (a_task(), (said(NO, A),), ALONE, "rejected", ()),
        (a_task(drafts=1), (said(NO, A),), ALONE, "rejected", ()),
        (a_task(B), (said(NO, A),), ALONE, "submitted", (2,)),
        # Skips.
        (a_task(SKIP), (), ALONE, "skipped", ()),
        (a_task(SKIP), (), PAIR, "open", ()),  # somebody else may still do it
        (a_task(SKIP, done(4, "dora", skip=True)), (), PAIR, "skipped", ()),
        (a_task(A, SKIP), (), ALONE, "submitted", (1,)),
        (a_task(A, SKIP), (), PAIR, "submitted", (1,)),
        # Several annotators.
        (a_task(A), (), PAIR, "submitted", ()),
        (a_task(A, B), (), PAIR, "submitted", (1, 2)),
        (a_task(A, done(4)), (), PAIR, "submitted", ()),  # twice the same person
        (a_task(A, B), (said(OK, A, A, B),), PAIR, "accepted", (1,)),
        (a_task(A, B), (said(OK, A, A, B), said(OK, B, A, B)), PAIR, "accepted", (1, 2)),
        (
            a_task(A, B),
            (said(OK, A, A, B), said(OK, B, A, B, minutes=61)),
            PAIR,
            "accepted",
            (2,),
        ),
        (a_task(A, B, done(5, "dora")), (said(OK, A, A, B),), PAIR, "submitted", (1, 2, 5)),
    ],
)
def test_ann_06_how_a_task_stands(
    task: StudioTask,
    decisions: tuple[Decision, ...],
    rules: ReviewSection,
    state: str,
    counted: tuple[int, ...],
) -> None:
    found = standing(task, decisions, rules, disagree=lambda ones: False)
    assert found.state == state
    assert tuple(one.annotation_id for one in found.counted) == counted


def test_ann_07_disagreement_is_asked_for_only_when_enough_people_are_there() -> None:
    asked: list[int] = []

    def disagree(ones: object) -> bool:
        asked.append(1)
        return True

    assert standing(a_task(A), (), PAIR, disagree=disagree).state == TaskState.SUBMITTED
    assert not asked
    found = standing(a_task(A, B), (), PAIR, disagree=disagree)
    assert (found.state, found.counted) == (TaskState.ADJUDICATE, ())
    chosen = standing(a_task(A, B), (said(OK, B, A, B),), PAIR, disagree=disagree)
    assert [one.annotation_id for one in chosen.counted] == [2]
    again = standing(a_task(done(9), B), (said(OK, B, A, B),), PAIR, disagree=disagree)
    assert again.state == TaskState.ADJUDICATE


def test_ann_07_the_adjudicator_has_the_last_word() -> None:
    rules = ReviewSection(annotators=2, adjudicators=("dora",), required=True)
    judge = done(5, "dora")
    found = standing(a_task(A, B, judge), (), rules, disagree=lambda ones: True)
    assert (found.state, found.counted) == (TaskState.ACCEPTED, (judge,))
    later = standing(a_task(judge, done(6), B), (), rules, disagree=lambda ones: True)
    assert later.state == TaskState.ADJUDICATE  # somebody answered back


def test_ann_06_decisions_are_appended_and_read_back() -> None:
    storage = open_storage("memory://")
    decisions = Decisions(storage)
    first, second = said(OK, A), said(NO, A, minutes=61)
    decisions.add(first)
    decisions.add(second)
    decisions.add(said(NO, B, minutes=62))
    assert sorted(storage.keys("reviews")) == [
        "reviews/1/s/1-1.json",
        "reviews/1/s/1-2.json",
        "reviews/1/s/2-1.json",
    ]
    storage.put("reviews/1/s/annotation-1.json", b"{}")  # lies beside them and is none
    found = Decisions(storage).of_round(RoundNumber(1))[SampleId("s")]
    assert found[:2] == (first, second)
    assert rejected_seconds(found) == 20.0
    assert rejected_seconds([second, second]) == 10.0  # a rejection said twice


def test_ann_09_about_the_share_goes_out_blank_and_always_the_same() -> None:
    samples = [SampleId(f"{number:016x}") for number in range(2000)]
    chosen = [sample for sample in samples if is_blank(sample, 0.2)]
    assert 340 <= len(chosen) <= 460
    assert chosen == [sample for sample in samples if is_blank(sample, 0.2)]
    assert set(chosen) <= {sample for sample in samples if is_blank(sample, 0.3)}
