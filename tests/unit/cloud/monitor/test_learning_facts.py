"""LLL-04, LLL-07: figures of the learning page, from records; what is not known is None."""

from dataclasses import replace

import numpy as np
import pytest

from cloud.monitor.learning_facts import (
    classes_now,
    course,
    kind_of,
    released_reports,
    task_courses,
    verdicts,
)
from cloud.monitor.look import Look
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from lifelong.records.model_versions import EvaluationReport
from lifelong.records.rounds import RoundState
from tests.large_loop import CONDITIONS, live_long, miou_of, version_of
from tests.web_parts import a_watch


@pytest.fixture(scope="module")
def look(tmp_path_factory) -> Look:
    storage = open_storage("memory://")
    live_long(storage, rounds=16, samples=4, edges=3, pictures=0)
    return a_watch(storage, tmp_path_factory.mktemp("journal")).refresh()


def test_lll_04_r_has_a_row_for_each_deployed_model_and_none_for_refused_ones(look):
    found = look.fact(course)
    numbers = [row.round_number for row in found.rows]
    assert numbers == [None, *(n for n in range(1, 16) if n % 7)]
    assert set(found.tasks) == set(CONDITIONS)
    for t, row in enumerate(found.rows):
        for i, task in enumerate(found.tasks):
            place = CONDITIONS.index(task)
            assert found.matrix[t, i] == pytest.approx(miou_of(row.round_number or 0, place))


def test_lll_04_columns_stand_in_the_order_in_which_tasks_were_learned(look):
    found = look.fact(course)
    assert found.tasks == ("fog", "night", "rain", "snow", "clear")
    assert [found.rows[row].round_number for row in found.learned] == [1, 2, 3, 4, 5]


def test_lll_04_bwt_and_forgetting_are_means_over_tasks_learned_before(look):
    found = look.fact(course)
    last, when = found.matrix[-1], found.learned
    past = range(5)
    expected = np.mean([last[i] - found.matrix[when[i], i] for i in past])
    assert found.backward[-1] == pytest.approx(expected)
    expected = np.mean([found.matrix[:-1, i].max() - last[i] for i in past])
    assert found.forgetting[-1] == pytest.approx(expected)
    assert found.backward[:2] == (None, None), "no task had been learned before"
    assert found.accuracy[-1] == pytest.approx(last.mean())


def test_lll_04_a_task_tells_how_it_was_before_it_was_learned_at_best_and_now(look):
    one = next(t for t in look.fact(task_courses) if t.task == "fog")
    place = CONDITIONS.index("fog")
    assert one.learned_in == 1
    assert one.before == pytest.approx(miou_of(0, place))
    assert one.when_learned == pytest.approx(miou_of(1, place))
    assert one.now == pytest.approx(miou_of(15, place))
    assert one.best == pytest.approx(max(miou_of(n, place) for n in range(16) if n % 7 or not n))


def test_lll_04_a_task_that_came_later_has_no_figures_from_before(look):
    """Until round 5 nobody had a hold-out of snow: those cells stay empty."""

    def without(report: EvaluationReport | None, number: int) -> EvaluationReport | None:
        if report is None or number >= 5:
            return report
        kept = {name: result for name, result in report.tasks.items() if name != "snow"}
        return replace(report, tasks=kept)

    grown = {
        key: replace(
            one,
            candidate=without(one.candidate, one.round_number),
            incumbent=without(one.incumbent, one.round_number - 1),
        )
        for key, one in look.examinations.items()
    }
    found = replace(look, examinations=grown, _facts={}).fact(course)
    column = found.matrix[:, found.tasks.index("snow")]
    assert np.isnan(column[:5]).all() and np.isfinite(column[5:]).all()
    told = next(
        t
        for t in replace(look, examinations=grown, _facts={}).fact(task_courses)
        if t.task == "snow"
    )
    assert told.before is None and told.when_learned is None and told.now is not None
    assert all(value is None or np.isfinite(value) for value in found.backward)


def test_before_anything_was_examined_there_is_nothing():
    empty = Look(at=utc_now())
    assert empty.fact(course).rows == ()
    assert empty.fact(task_courses) == []
    assert empty.fact(verdicts).rounds == ()
    assert empty.fact(classes_now).classes == ()
    assert empty.fact(released_reports) == []


def test_classes_of_what_runs_stand_beside_what_ran_before_weakest_first(look):
    found = look.fact(classes_now)
    assert (found.current.version_id, found.before.version_id) == (version_of(15), version_of(13))
    assert [one.name for one in found.classes] == ["person", "car", "road"]
    road = found.classes[-1]
    now = [miou_of(15, i) for i in range(5)]
    assert road.mean == pytest.approx(np.mean(now))
    # Round 15's examination saw the model of "round 14", which ran in its stead in this loop.
    assert road.change is not None and road.by_task.keys() == set(CONDITIONS)


def test_lll_07_refused_rounds_are_counted_with_their_reasons(look):
    found = look.fact(verdicts)
    assert (found.accepted, found.refused, found.failed) == (13, 2, 0)
    assert found.reasons == (("mIoU falls from … to …, more than … points", 2, 14),)
    assert [one.round.number for one in found.rounds] == list(range(1, 16))
    seventh = found.rounds[6]
    assert seventh.round.decision.accepted is False
    expected = np.mean([miou_of(7, i) - miou_of(6, i) for i in range(5)])
    assert seventh.change == pytest.approx(expected)


def test_lll_07_a_round_that_failed_says_why_and_has_no_verdict(look):
    broken = replace(
        look.rounds[0], state=RoundState.FAILED, decision=None, candidate=None, failure="no disk"
    )
    found = replace(look, rounds=(broken, *look.rounds[1:]), _facts={}).fact(verdicts)
    assert (found.failed, found.rounds[0].reasons, found.rounds[0].change) == (
        1,
        ("no disk",),
        None,
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("fog: forgot 9.0 points of mIoU (70.0 -> 61.0, -9.5 to -8.1 with 95 % confidence), 2.0 "
         "are allowed", "forgot … points of mIoU, … are allowed"),
        ("day: a protected class drops by more than 1.0 points of IoU: person 40.0 -> 12.0",
         "a protected class drops by more than … points of IoU"),
        ("no gain: mean mIoU over 3 learning tasks 50.0 -> 49.0, needs more than 50.5", "no gain"),
        ("snow: its hold-out has no images", "its hold-out has no images"),
        ("12", "…"),
    ],
)  # fmt: skip
def test_lll_07_reasons_are_counted_by_kind(reason, kind):
    assert kind_of(reason) == kind


def test_every_release_has_the_examination_of_its_own_model(look):
    found = look.fact(released_reports)
    assert [release.number for release, _ in found] == list(range(1, 15))
    first_release, first_report = found[0]
    assert first_release.round_number == 0
    assert first_report.version_id == version_of(0), "seen beside the first candidate"
    assert all(report.version_id == release.version_id for release, report in found)
