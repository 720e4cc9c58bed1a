"""What lies between the steps, as the watch finds it in storage; people's work as it is noted."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from annotation.pulling import Pulled
from annotation.review.standing import TaskState
from cloud.admissions import Admissions, tell_forgotten
from cloud.annotators.work import AnnotationWork, NotedWork, work_key
from cloud.monitor.look import Look
from cloud.monitor.outboxes import outboxes_of
from cloud.monitor.people_costs import CostsByRound, why_not_measured
from cloud.monitor.queues_seen import QueuesWatch
from lifelong.config import Config
from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.keys import example_record_key
from lifelong.records.rounds import Round
from lifelong.records.samples import AnnotationTask, PreAnnotation, Skip
from lifelong.records.wire import from_json, to_json
from tests.builders import NOON, a_hard_example
from tests.large_loop import live_long
from tests.web_parts import a_watch


def admit(storage: Storage, *seeds: int) -> list[SampleId]:
    examples = [a_hard_example(seed) for seed in seeds]
    for example in examples:
        storage.put(example_record_key(example.sample_id), to_json(example))
    names = [example.sample_id for example in examples]
    Admissions(storage).append(names)
    return names


def test_ops_examples_that_no_round_has_taken_are_counted() -> None:
    storage = open_storage("memory://")
    admit(storage, 1, 2, 3)
    seen = QueuesWatch(storage)
    assert seen.look(()).untaken == 3
    taken = Round(number=RoundNumber(1), examples=(a_hard_example(1), a_hard_example(2)))
    assert seen.look((taken,)).untaken == 1
    names = admit(storage, 4, 5)
    assert seen.look((taken,)).untaken == 3
    tell_forgotten(storage, names[:1])
    assert seen.look((taken,)).untaken == 2
    assert QueuesWatch(storage).look((taken,)).untaken == 3  # its record is still there
    storage.delete(example_record_key(names[0]))
    assert QueuesWatch(storage).look((taken,)).untaken == 2


def test_ops_refused_deliveries_are_told_with_their_reasons() -> None:
    storage = open_storage("memory://")
    seen = QueuesWatch(storage)
    assert seen.look(()).refused == ()
    storage.put("refused/edge-1/aa/reason.txt", b"image.jpg is cut off")
    storage.put("refused/edge-1/aa/image.jpg", b"x")
    storage.put("refused/edge-2/bb/reason.txt", b"\xff" * 9000)
    found = {one.edge_id: one for one in seen.look(()).refused}
    assert found["edge-1"].reason == "image.jpg is cut off"
    assert found["edge-1"].folder == "refused/edge-1/aa"
    assert len(found["edge-2"].reason) == 500  # whatever somebody wrote there
    storage.delete("refused/edge-1/aa/reason.txt")
    assert [one.edge_id for one in seen.look(()).refused] == ["edge-2"]


def test_ops_a_note_of_people_work_that_cannot_be_read_costs_nothing_else() -> None:
    storage = open_storage("memory://")
    storage.put("work/damaged.json", b"{")
    noted = AnnotationWork(round_number=RoundNumber(1), at=NOON, states={})
    storage.put(work_key("d"), to_json(noted))
    assert QueuesWatch(storage).look(()).work == (noted,)


@dataclass
class Desk:
    """People who have finished what a test says."""

    pulled: Pulled = field(default_factory=Pulled)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        return []

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        return self.pulled

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        pass


A, B, C = (SampleId(letter * 16) for letter in "abc")


def tasks() -> list[AnnotationTask]:
    return [
        AnnotationTask(
            sample_id=sample, round_number=RoundNumber(2), project_id=1, task_id=i, draft_key="d"
        )
        for i, sample in enumerate((A, B, C), start=1)
    ]


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


def test_ops_people_work_is_noted_at_each_look_and_written_when_it_changed() -> None:
    storage, desk, clock = open_storage("memory://"), Desk(), Clock()
    noted = NotedWork(people=desk, storage=storage, name="digest", now=clock)

    def written() -> AnnotationWork:
        return from_json(AnnotationWork, storage.get(work_key("digest")), "note")

    noted.pull(tasks())
    assert dict(written().states) == dict.fromkeys((A, B, C), TaskState.OPEN)
    noted.sort(tasks(), [C, A, B])
    clock.at += timedelta(seconds=2)
    skip = Skip(sample_id=B, round_number=RoundNumber(2), reason="blurred")
    desk.pulled = Pulled(skips=(skip,), states={C: TaskState.ADJUDICATE})
    assert noted.pull(tasks()) is desk.pulled
    assert dict(written().states) == {
        A: TaskState.OPEN,
        B: TaskState.SKIPPED,
        C: TaskState.ADJUDICATE,
    }
    assert written().order == (C, A, B)
    at = written().at
    clock.at += timedelta(seconds=30)
    noted.pull(tasks())
    assert written().at == at  # nothing changed
    clock.at += timedelta(seconds=31)
    noted.pull(tasks())
    assert written().at == clock.at  # but its age says that somebody still looks
    noted.pull([])
    assert written().states


def test_ops_a_note_that_cannot_be_written_stops_no_round(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = open_storage("memory://")

    def away(key: str, data: bytes) -> None:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(storage, "put", away)
    noted = NotedWork(people=Desk(), storage=storage, name="d", now=Clock())
    assert noted.pull(tasks()) == Pulled()
    assert "could not be noted" in caplog.text


def test_ops_outboxes_of_silent_nodes_come_first(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=1, samples=2, edges=40, pictures=0)
    look = a_watch(storage, tmp_path).refresh()
    found = outboxes_of(look)
    assert found.examples == sum(number % 17 for number in range(40))
    assert found.size == 1000 * found.examples
    assert found.oldest_s == 1600.0, "the fullest has sixteen, the oldest for 1,600 s"
    assert (len(found.nodes), found.empty) == (37, 3)  # 0, 17 and 34
    fullest = [one.seen.health.outbox_examples for one in found.nodes if one.seen.health]
    assert fullest == sorted(fullest, reverse=True)


def test_ux_10_costs_are_counted_once_a_finished_round(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=3, samples=20, edges=0, pictures=0)
    look = a_watch(storage, tmp_path).refresh()
    counting = CostsByRound()
    costs = counting.of(look)
    # Of every twenty two are blank: 120 s without, 30 + i % 20 s with; ten of the open round.
    seconds = [30.0 + i for i in range(20) if i % 10 != 9]
    with_, without = 2 * seconds + seconds[:9], 5
    assert costs.all.with_draft.seconds.number == len(with_)
    assert costs.all.with_draft.seconds.mean == pytest.approx(sum(with_) / len(with_))
    assert costs.all.without_draft.seconds.number == without
    assert costs.all.saved_share == pytest.approx(1 - sum(with_) / len(with_) / 120.0)
    assert [one.number for one in costs.rounds] == [3, 2, 1]
    assert costs.blank_agreement.number == without
    again = counting.of(look)
    assert again.rounds[1] is costs.rounds[1]  # kept
    assert again.all == costs.all


def test_ux_10_a_round_that_was_rewritten_is_counted_anew(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=2, samples=10, edges=0, pictures=0, is_open=False)
    look = a_watch(storage, tmp_path).refresh()
    counting = CostsByRound()
    assert counting.of(look).all.both.annotations == 20
    first, second = look.rounds
    forgotten = replace(first, annotations=first.annotations[:4])  # somebody wanted so
    other = replace(look, rounds=(forgotten, second), _facts={})
    assert counting.of(other).all.both.annotations == 14
    assert counting.of(look).all.both.annotations == 20


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "no annotation with a draft has come"),
        ({"annotation_folder": "people"}, "files in a folder"),
    ],
)
def test_ux_10_what_was_not_measured_says_why(changes: dict[str, object], told: str) -> None:
    empty = CostsByRound().of(a_look_at_nothing())
    assert told in why_not_measured(empty.all, Config.model_validate(changes))


def test_ux_10_without_blank_tasks_the_setting_is_named(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=1, samples=5, edges=0, pictures=0, is_open=False)  # none is blank
    costs = CostsByRound().of(a_watch(storage, tmp_path).refresh())
    assert costs.all.saved_share is None
    assert "set review.blank_share" in why_not_measured(costs.all, Config())
    some = Config.model_validate({"review": {"blank_share": 0.1}})
    assert "no task without a draft has come" in why_not_measured(costs.all, some)


def a_look_at_nothing() -> Look:
    return Look(at=NOON)
