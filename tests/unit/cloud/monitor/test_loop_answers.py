"""The overview's facts: what is not well, what waits for whom, what the last model did, what
happened last."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from annotation.review.standing import TaskState
from cloud.annotators.work import AnnotationWork
from cloud.fleet.edges import EdgeState, SeenEdge, Standing
from cloud.monitor.annotation_tally import tally_of
from cloud.monitor.last_model import judged_rounds, last_failure, last_model
from cloud.monitor.learning_facts import course
from cloud.monitor.look import Look, TrainingProgress, Waiting
from cloud.monitor.loop_health import health_of, longest_step, low_disks
from cloud.monitor.notable_events import newest_events
from cloud.monitor.queues_seen import QueuesSeen, RefusedDelivery
from cloud.monitor.who_waits import waits
from lifelong.config import RoundsSection
from lifelong.links.storage import open_storage
from lifelong.records.ids import EdgeId, RoundNumber, SampleId
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask
from tests.builders import NOON
from tests.large_loop import live_long, miou_of, version_of
from tests.web_parts import a_watch


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def a_finished(number: int, *, training: float, end: RoundState = RoundState.RELEASED) -> Round:
    """A round whose training took so many minutes."""
    begun = NOON + timedelta(hours=number)
    return Round(
        number=RoundNumber(number),
        state=end,
        entered={
            "training": begun,
            "gating": begun + minutes(training),
            str(end): begun + minutes(training + 1),
        },
    )


def in_state(state: RoundState, **changes: Any) -> Round:
    entered = {str(state): NOON + timedelta(hours=9)}
    return Round(**{"number": RoundNumber(9), "state": state, "entered": entered, **changes})


def after(lasted: float, *rounds: Round, **facts: Any) -> Look:
    """So many minutes after round 9 entered its state."""
    return Look(at=NOON + timedelta(hours=9) + minutes(lasted), rounds=rounds, **facts)


def words_of(look: Look) -> list[str]:
    return [sign.words for sign in health_of(look).signs]


@pytest.mark.parametrize(("lasted", "stuck"), [(11, False), (29, False), (31, True)])
def test_ops_a_step_is_stuck_when_it_lasts_longer_than_it_ever_did(
    lasted: float, stuck: bool
) -> None:
    over = [a_finished(1, training=12), a_finished(2, training=30)]
    assert longest_step(over, RoundState.TRAINING) == 1800.0
    told = words_of(after(lasted, *over, in_state(RoundState.TRAINING)))
    assert told == (
        ["round 9 has been training for 31 min; the longest so far took 30 min"] if stuck else []
    )


def test_ops_people_and_edges_may_take_their_time() -> None:
    for state in (RoundState.ANNOTATING, RoundState.COLLECTING):
        assert words_of(after(99_999, in_state(state))) == []
    assert words_of(after(59, in_state(RoundState.GATING))) == [], "nobody knows how long it takes"
    assert "none was done before" in words_of(after(61, in_state(RoundState.GATING)))[0]


@pytest.mark.parametrize(
    ("step", "seconds_ago", "stuck"),
    [(40, 5, False), (100, 300, False), (100, 700, True)],
)
def test_ops_a_training_that_still_takes_steps_is_not_stuck(
    step: int, seconds_ago: float, stuck: bool
) -> None:
    """However long it lasts: seen in a demo on a machine with much else to do."""
    look = after(90, a_finished(1, training=12), in_state(RoundState.TRAINING))
    told = TrainingProgress(
        round_number=RoundNumber(9),
        step=step,
        steps=100,
        loss=0.5,
        written_at=look.at - timedelta(seconds=seconds_ago),
    )
    assert ("longest so far" in " ".join(words_of(replace(look, training=told)))) == stuck


def test_ops_a_worker_that_says_nothing_any_more_is_told() -> None:
    told = TrainingProgress(
        round_number=RoundNumber(9),
        step=40,
        steps=100,
        loss=0.5,
        written_at=NOON + timedelta(hours=9) + minutes(1),
    )
    silent = words_of(after(6, in_state(RoundState.TRAINING), training=told))
    assert silent == ["the worker that trains round 9 has been silent for 5 min, at step 40 of 100"]
    assert words_of(after(1.2, in_state(RoundState.TRAINING), training=told)) == []


def a_node(name: str, state: EdgeState, *reasons: str) -> Standing:
    seen = SeenEdge(edge_id=EdgeId(name), arrived_at=NOON, health=None)
    return Standing(seen=seen, state=state, reasons=reasons, wanted=None, age_s=1.0)


def test_ops_nodes_that_are_silent_or_in_alarm_are_counted_with_the_first_of_them() -> None:
    fleet = (
        a_node("a", EdgeState.WELL),
        a_node("b", EdgeState.SILENT, "silent for 2 h"),
        a_node("c", EdgeState.ALARM, "95 °C"),
        a_node("d", EdgeState.ALARM, "drift"),
    )
    health = health_of(Look(at=NOON, fleet=fleet))
    assert [sign.words for sign in health.signs] == [
        "1 edge node is silent: b: silent for 2 h",
        "2 edge nodes are in alarm, the first: c: 95 °C",
    ]
    assert [sign.page for sign in health.signs] == ["/edges?state=silent", "/edges?state=alarm"]
    assert (health.nodes, health.reporting) == (4, 3)


def test_ops_refused_deliveries_are_a_warning_for_a_day() -> None:
    def refused(hours: float) -> RefusedDelivery:
        at = NOON - timedelta(hours=hours)
        return RefusedDelivery(folder="f", edge_id="e", reason="cut off", refused_at=at)

    look = Look(at=NOON, queues=QueuesSeen(refused=(refused(1), refused(30))))
    (sign,) = health_of(look).signs
    assert sign.words == "1 delivery was refused within a day, last of e: cut off"
    assert not sign.is_grave


def test_ops_failed_rounds_rollouts_inbox_and_disks() -> None:
    failed = replace(a_finished(8, training=1, end=RoundState.FAILED), failure="out of memory")
    rollout = {
        "number": 4,
        "state": "halted",
        "entered": {"halted": NOON.isoformat()},
        "reasons": ["3 nodes fell back"],
    }
    inbox = Waiting(deliveries=2, refused=0, oldest_at=NOON)
    look = after(1, failed, in_state(RoundState.COLLECTING), rollout=rollout, inbox=inbox)
    assert words_of(look) == [
        "round 8 failed: out of memory",
        "the roll-out of release 4 was halted: 3 nodes fell back",
        "deliveries have waited in the inbox for 9 h, nobody admits them",
    ]
    refused = [a_finished(n, training=1, end=RoundState.REFUSED) for n in (1, 2, 3)]
    assert words_of(after(1, *refused)) == ["the last 3 rounds brought no model to the edge"]
    assert low_disks({"storage": 2**40, "journal": 2**20})[0].words.startswith("1 MiB are left")


def a_task(number: int, task_id: int) -> AnnotationTask:
    return AnnotationTask(
        sample_id=SampleId(f"{number:016x}"),
        round_number=RoundNumber(9),
        project_id=3 if task_id else 0,
        task_id=task_id,
        draft_key="d",
    )


def work(order: tuple[int, ...] = (), **states: TaskState) -> QueuesSeen:
    noted = AnnotationWork(
        round_number=RoundNumber(9),
        at=NOON,
        states={SampleId(f"{int(key[1:]):016x}"): value for key, value in states.items()},
        counted=(SampleId(f"{2:016x}"),),
        order=tuple(SampleId(f"{one:016x}") for one in order),
    )
    return QueuesSeen(work=(noted,), untaken=5)


ANNOTATING = in_state(
    RoundState.ANNOTATING, tasks=(a_task(1, 11), a_task(2, 12), a_task(3, 13), a_task(4, 0))
)


def test_ops_tasks_stand_in_the_order_that_people_see() -> None:
    queues = work((3, 1), s1=TaskState.OPEN, s2=TaskState.SUBMITTED, s3=TaskState.REJECTED)
    tally = tally_of(after(1, ANNOTATING, queues=queues))
    assert tally is not None
    assert [(line.task.task_id, line.place, str(line.state)) for line in tally.lines] == [
        (13, 1, "rejected"),
        (11, 2, "open"),
        (12, None, "submitted"),
    ]
    assert (tally.waiting, tally.at_review, tally.without_people) == (2, 0, 1)
    assert (tally.noted_at, tally.project_id) == (NOON, 3)


def test_ops_before_the_service_has_looked_all_tasks_are_open() -> None:
    tally = tally_of(after(1, ANNOTATING))
    assert tally is not None
    assert (tally.waiting, tally.noted_at) == (3, None)
    assert tally_of(Look(at=NOON)) is None


def test_ops_what_waits_for_a_person_is_told_first() -> None:
    fleet = (a_node("a", EdgeState.BEHIND, "runs x, should run y"),)
    storage = open_storage("memory://")
    live_long(storage, rounds=1, samples=1, edges=0)
    queues = work((1,), s1=TaskState.OPEN, s2=TaskState.SUBMITTED, s3=TaskState.ADJUDICATE)
    look = after(1, ANNOTATING, queues=queues, fleet=fleet, conditions_proposed=2)
    found = waits(look, RoundsSection())
    assert [(one.whom, one.count, one.what) for one in found] == [
        ("people", 1, "open task"),
        ("reviewers", 1, "submitted task"),
        ("an operator", 2, "new conditions without a name"),
    ]


@pytest.mark.parametrize(
    ("state", "whom"),
    [
        (RoundState.COLLECTING, "edge nodes"),
        (RoundState.PREANNOTATING, "the drafting models"),
        (RoundState.TRAINING, "the training job"),
        (RoundState.GATING, "the gate"),
        (RoundState.RELEASING, "the roll-out"),
    ],
)
def test_ops_each_open_state_waits_for_somebody(state: RoundState, whom: str) -> None:
    (found,) = waits(after(1, in_state(state)), RoundsSection())
    assert found.whom == whom
    assert found.since == NOON + timedelta(hours=9)


def test_ops_nobody_waits_when_no_round_is_open() -> None:
    assert waits(Look(at=NOON), RoundsSection()) == ()
    assert waits(after(1, a_finished(8, training=1)), RoundsSection()) == ()


def a_long_look(tmp_path: Path, rounds: int, *, is_open: bool = False) -> Look:
    storage = open_storage("memory://")
    live_long(storage, rounds=rounds, samples=3, edges=3, pictures=0, is_open=is_open)
    return a_watch(storage, tmp_path).refresh()


def test_ops_the_last_model_beside_the_one_before(tmp_path: Path) -> None:
    look = a_long_look(tmp_path, 6)
    model = last_model(look)
    assert model is not None
    assert (model.round_number, model.accepted, model.is_running) == (6, True, True)
    clear = next(one for one in model.tasks if one.task == "clear")
    assert (clear.before, clear.after) == (miou_of(5, 0), miou_of(6, 0))
    changes = [miou_of(6, i) - miou_of(5, i) for i in range(5)]
    assert model.mean is not None
    assert model.mean.change == pytest.approx(sum(changes) / 5)
    # Rounds 1 to 4 were the first in fog, night, rain and snow, round 5 in clear.
    learned = {1: 1, 2: 2, 3: 3, 4: 4, 0: 5}
    backward = [miou_of(6, i) - miou_of(number, i) for i, number in learned.items()]
    assert model.backward == pytest.approx(sum(backward) / 5)
    assert model.backward == course(look).backward[-1]  # as the page of learning tells it
    assert judged_rounds(look)[-1].mious["clear"] == miou_of(6, 0)


def test_ops_of_a_refused_model_it_says_why_and_what_still_runs(tmp_path: Path) -> None:
    look = a_long_look(tmp_path, 7)
    model = last_model(look)
    assert model is not None
    assert model.accepted is False
    assert model.reasons == ("clear: mIoU falls from 70.0 to 61.0, more than 2.0 points",)
    assert model.running is not None
    assert model.running.version_id == version_of(6)
    learned = {1: 1, 2: 2, 3: 3, 4: 4, 0: 5}
    backward = [miou_of(7, i) - miou_of(number, i) for i, number in learned.items()]
    assert model.backward == pytest.approx(sum(backward) / 5)  # had it been released
    # What runs after a refused round is what ran before it.
    assert judged_rounds(look)[-1].mious == judged_rounds(look)[-2].mious
    events = newest_events(look)
    assert [event.word for event in events[:2]] == ["refused", "released"]
    assert events[0].page == "/rounds/7"
    assert events[-1].what.startswith("release 1: version")


def test_ops_a_round_that_failed_after_the_last_examination_is_named(tmp_path: Path) -> None:
    look = a_long_look(tmp_path, 3)
    assert last_failure(look) is None
    failed = replace(a_finished(4, training=1, end=RoundState.FAILED), failure="no draft")
    found = last_failure(replace(look, rounds=(*look.rounds, failed), _facts={}))
    assert found is failed


def test_ops_a_loop_without_anything_has_answers_too() -> None:
    look = Look(at=NOON)
    assert health_of(look).signs == ()
    assert health_of(look).moved_at is None
    assert last_model(look) is None
    assert newest_events(look) == []
    assert judged_rounds(look) == []
