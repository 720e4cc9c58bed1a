"""The training that runs, from what its worker wrote; a dead worker is not called alive."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from cloud.monitor.look import Look, TrainingProgress
from cloud.monitor.training_facts import steps_a_second, training_view
from cloud.monitor.watch import _progress as read_progress
from cloud.sedna_train import _progress as write_progress
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import TRAINING_PROGRESS
from lifelong.records.rounds import RoundState
from tests.builders import NOON, a_round

TRAINING = a_round(RoundState.TRAINING)
TOLD = TrainingProgress(
    round_number=TRAINING.number,
    step=50,
    steps=200,
    loss=0.75,
    written_at=NOON,
    history=((10, 5.0, 2.0), (20, 10.0, 1.5), (30, 15.0, 1.0), (50, 19.0, 0.75)),
)


def a_look(told: TrainingProgress | None, after_s: float = 1.0) -> Look:
    return Look(at=NOON + timedelta(seconds=after_s), rounds=(TRAINING,), training=told)


def test_speed_and_rest_come_from_what_was_seen() -> None:
    view = training_view(a_look(TOLD))
    assert view.standing == "runs"
    assert view.steps_a_second == pytest.approx((50 - 20) / (19 - 10))
    assert view.rest_s == pytest.approx(150 / (30 / 9))
    assert view.losses == ((10, 2.0), (20, 1.5), (30, 1.0), (50, 0.75))
    assert (view.silent_s, view.ran_s) == (1.0, 19.0)


def test_a_worker_without_a_word_for_a_minute_is_silent_and_nothing_is_estimated() -> None:
    view = training_view(a_look(TOLD, 61.0))
    assert view.standing == "silent"
    assert "no news from its worker for 61 s" in view.words
    assert view.steps_a_second is None
    assert view.rest_s is None


@pytest.mark.parametrize(
    ("told", "standing"),
    [
        (None, "waits"),
        (replace(TOLD, round_number=RoundNumber(7)), "waits"),  # of a round before
        (replace(TOLD, step=200), "done"),
        (replace(TOLD, steps=0), "waits"),  # a damaged record
    ],
)
def test_what_else_there_may_be(told: TrainingProgress | None, standing: str) -> None:
    assert training_view(a_look(told)).standing == standing


def test_no_training_runs_while_no_round_waits_for_one() -> None:
    look = Look(at=NOON, rounds=(a_round(RoundState.ANNOTATING),), training=TOLD)
    assert training_view(look).standing == "none"


def test_an_older_worker_tells_no_course_and_a_loss_may_be_no_number() -> None:
    view = training_view(a_look(replace(TOLD, loss=float("nan"), history=())))
    assert (view.standing, view.loss, view.steps_a_second, view.rest_s) == (
        "runs", None, None, None,
    )  # fmt: skip
    assert steps_a_second(replace(TOLD, history=TOLD.history[:1])) is None


def test_the_worker_writes_once_a_second_and_keeps_the_whole_course() -> None:
    storage, now = open_storage("memory://"), [100.0]
    tell = write_progress(storage, RoundNumber(3), lambda: now[0])
    for step in range(1, 401):
        now[0] += 0.5
        tell(step, 400, 1.0 / step)
    told = json.loads(storage.get(TRAINING_PROGRESS))
    assert (told["round"], told["step"], told["steps"]) == (3, 400, 400)
    steps = [step for step, _, _ in told["history"]]
    assert steps[0] == 1
    assert steps[-1] == 400
    assert len(steps) <= 60
    assert steps == sorted(set(steps))
    told_of = [step for step in steps if step < 400]
    assert all(after - before >= 2 for before, after in pairwise(told_of)), "a second is two steps"


def test_what_the_worker_writes_is_what_the_monitor_reads() -> None:
    storage, now = open_storage("memory://"), [100.0]
    tell = write_progress(storage, RoundNumber(3), lambda: now[0])
    tell(1, 10, 2.0)
    now[0] += 4.0
    tell(9, 10, 1.0)
    entry = storage.entries("progress")[0]
    told = read_progress(storage.get(TRAINING_PROGRESS), entry)
    assert told.history == ((1, 0.0, 2.0), (9, 4.0, 1.0))
    older = {"schema": 1, "round": 3, "step": 9, "steps": 10, "loss": 1.0}
    assert read_progress(json.dumps(older).encode(), entry).history == ()
    for damaged in ({**older, "history": [[1]]}, {**older, "step": "many"}, {}):
        assert read_progress(json.dumps(damaged).encode(), entry).steps == 0
