"""Rounds as lines, steps and measurements: what is not known is None, never a number."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from annotation.review.standing import TaskState
from cloud.annotators.work import AnnotationWork
from cloud.monitor.look import Look
from cloud.monitor.queues_seen import QueuesSeen
from cloud.monitor.round_facts import steps_of, task_lines
from cloud.monitor.rounds_facts import (
    answers_of,
    examination_of,
    round_line,
    rounds_page,
    states_of,
    task_mious,
)
from cloud.monitor.sample_records import samples_of
from cloud.reports import rounds_overview
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.rounds import RoundState
from tests.builders import NOON, a_round
from tests.large_loop import live_long, sample_of
from tests.web_parts import a_watch


@pytest.fixture(scope="module")
def storage() -> Storage:
    made = open_storage("memory://")
    live_long(made, rounds=9, samples=10, edges=2)
    return made


@pytest.fixture
def look(storage: Storage, tmp_path: Path) -> Look:
    return a_watch(storage, tmp_path).refresh()


def test_a_line_tells_state_verdict_reasons_and_times(look: Look) -> None:
    refused = round_line(look.rounds[6], look)
    assert (refused.state, refused.tone, refused.verdict) == (RoundState.REFUSED, "bad", "refused")
    assert refused.reasons == ("clear: mIoU falls from 70.0 to 61.0, more than 2.0 points",)
    assert (refused.annotated, refused.skipped, refused.waiting) == (10, 0, 0)
    assert refused.took_s == 50 * 60
    assert refused.seconds["training"] == 600
    released = round_line(look.rounds[7], look)
    assert (released.tone, released.verdict) == ("good", "accepted")
    assert [one.task for one in released.mious] == ["clear", "fog", "night", "rain", "snow"]
    assert released.mean is not None
    changes = [one.change or 0.0 for one in released.mious]
    assert released.mean.change == pytest.approx(sum(changes) / 5)


def test_an_open_round_counts_what_the_loop_noted_and_nothing_before(look: Look) -> None:
    open_ = a_round(
        RoundState.ANNOTATING,
        examples=look.rounds[-1].examples,
        tasks=look.rounds[-1].tasks,
    )
    unseen = Look(at=NOON, rounds=(open_,))
    assert answers_of(open_, unseen) is None
    line = round_line(open_, unseen)
    assert (line.annotated, line.skipped, line.waiting, line.took_s) == (None, None, None, None)
    work = AnnotationWork(
        round_number=open_.number,
        at=NOON,
        states={
            sample_of(9, 0): TaskState.ACCEPTED,
            sample_of(9, 1): TaskState.SKIPPED,
            sample_of(9, 2): TaskState.SUBMITTED,
        },
        counted=(sample_of(9, 0),),
    )
    seen = Look(at=NOON, rounds=(open_,), queues=QueuesSeen(work=(work,)))
    assert answers_of(open_, seen) == (1, 1, 8)
    assert states_of(open_, seen)[sample_of(9, 2)] is TaskState.SUBMITTED


def test_steps_tell_what_was_what_is_and_what_is_to_come(look: Look) -> None:
    open_ = look.rounds[-1]
    now = open_.entered["annotating"] + timedelta(minutes=3)
    steps = {str(step.state): step for step in steps_of(open_, now)}
    assert steps["collecting"].seconds == 600
    assert steps["annotating"].is_now
    assert steps["annotating"].seconds == 180
    assert steps["training"].entered_at is None
    assert "refused" not in steps
    over = steps_of(look.rounds[6], now)
    assert [str(step.state) for step in over] == [
        "collecting", "preannotating", "annotating", "training", "gating", "refused",
    ]  # fmt: skip
    assert (over[-1].tone, over[-1].seconds) == ("bad", None)


def test_what_was_measured_is_listed_with_the_greatest_loss_first(look: Look) -> None:
    examination = examination_of(look.rounds[7], look)
    lines = task_lines(examination)
    assert len(lines) == 5
    assert [one.change for one in lines] == sorted(one.change or 0.0 for one in lines)
    road = next(one for one in lines[0].classes() if one.name == "road")
    assert road.images == 20
    assert road.before is not None
    assert road.after is not None
    assert task_lines(None) == ()
    assert task_mious(None) == ()


def test_pictures_come_by_what_people_changed_then_what_waits(look: Look) -> None:
    found = samples_of(look.rounds[-1])
    assert [one.stage for one in found] == ["corrected"] * 5 + ["open"] * 5
    assert found[0].changed_share == 300 / (48 * 64)
    assert found[0].seconds == 30.0


def test_a_page_of_json_is_what_the_command_prints_and_no_longer(
    look: Look, storage: Storage
) -> None:
    kb = KnowledgeBase(storage)
    whole = rounds_overview(look.rounds, kb, look.releases)
    told = rounds_page(look, 1, 100)
    assert {name: told[name] for name in whole} == whole
    assert (told["page"], told["pages"], told["rounds_total"]) == (1, 1, 9)
    newest, oldest = rounds_page(look, 1, 4), rounds_page(look, 99, 4)
    assert [one["number"] for one in newest["rounds"]] == [6, 7, 8, 9]
    assert (oldest["page"], [one["number"] for one in oldest["rounds"]]) == (3, [1])
    assert newest["deployed"] == oldest["deployed"] == whole["deployed"]
    assert json.dumps(told)
