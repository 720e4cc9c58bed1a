"""Pictures and numbers of a report."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cloud.reports import (
    accuracy_matrix,
    condition_of,
    miou_by_task,
    round_summary,
    seconds_by_step,
)
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.model_versions import (
    EvaluationReport,
    Examination,
    GateDecision,
    TaskResult,
)
from lifelong.records.rounds import RoundState
from tests.builders import a_hard_example, a_round

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = VersionId("0" * 16), VersionId("1" * 16)


def a_report(version: VersionId, **miou: float) -> EvaluationReport:
    return EvaluationReport(
        version_id=version,
        tasks={
            task: TaskResult(miou=value, pixel_accuracy=value, iou={"road": value}, images=3)
            for task, value in miou.items()
        },
    )


def a_story(accepted: bool) -> tuple[list, KnowledgeBase]:
    kb = KnowledgeBase(open_storage("memory://"))
    decision = GateDecision(
        version_id=NEW,
        incumbent=OLD,
        accepted=accepted,
        reasons=() if accepted else ("clear: forgot 9.0 points",),
    )
    kb.add(
        [
            Examination(
                round_number=RoundNumber(1),
                candidate=a_report(NEW, clear=0.51, fog=0.4),
                incumbent=a_report(OLD, clear=0.52, fog=0.1),
                decision=decision,
            )
        ],
        why="test",
    )
    state = RoundState.RELEASED if accepted else RoundState.REFUSED
    return [a_round(state, candidate=NEW, incumbent=OLD, decision=decision)], kb


def test_lll04_the_accuracy_matrix_has_a_row_for_each_deployed_model() -> None:
    """LLL-04: row 0 is the model before the first round; a refused candidate adds none."""
    rounds, kb = a_story(accepted=True)
    assert accuracy_matrix(rounds, kb, ["clear", "fog"]) == [[0.52, 0.1], [0.51, 0.4]]
    rounds, kb = a_story(accepted=False)
    assert accuracy_matrix(rounds, kb, ["clear", "fog", "night"]) == [[0.52, 0.1, None]]


def test_ops_01_figures_are_rounded_once_where_they_are_shown() -> None:
    """OPS-01: 11.853 % rounded to 11.85 first became 11.8 on one page, 11.9 on the next."""
    seen = a_report(NEW, dusk=0.11853440161, night=0.09746914333)
    told = miou_by_task(seen)
    assert told == {"dusk": 0.11853440161, "night": 0.09746914333}
    assert [f"{100 * value:.1f}" for value in told.values()] == ["11.9", "9.7"]


def test_a_round_that_has_reached_nothing_says_so_instead_of_zero() -> None:
    summary = round_summary(a_round(), KnowledgeBase(open_storage("memory://")))
    assert summary["accepted"] is None
    assert summary["changed_pixels_share"] is None
    assert summary["draft_agreement"] is None
    assert summary["miou_after"] == {}


def test_lll07_the_reasons_of_a_refusal_reach_the_report() -> None:
    """LLL-07."""
    rounds, kb = a_story(accepted=False)
    summary = round_summary(rounds[0], kb)
    assert summary["accepted"] is False
    assert summary["reasons"] == ["clear: forgot 9.0 points"]


def test_steps_are_timed_from_the_moments_they_were_entered() -> None:
    round_ = a_round(
        RoundState.GATING,
        entered={
            "training": NOON + timedelta(seconds=5),
            "collecting": NOON,
            "gating": NOON + timedelta(seconds=65),
        },
    )
    assert seconds_by_step(round_) == {"collecting": 5.0, "training": 60.0}


def test_the_condition_of_a_round_is_what_most_of_its_examples_show() -> None:
    def shows(seed: int, condition: str) -> object:
        return replace(a_hard_example(seed), attributes={"condition": condition})

    examples = (shows(0, "fog"), shows(1, "clear"), shows(2, "fog"))
    assert condition_of(a_round(RoundState.TRAINING, examples=examples)) == "fog"
    assert condition_of(a_round()) == ""
