"""The overview, the queues and the people's page, over loops in every state they may be in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from annotation.review.standing import TaskState
from cloud.access.permissions import Caller, Role
from cloud.annotators.work import AnnotationWork, work_key
from cloud.monitor.look import Look, TrainingProgress
from cloud.monitor.people_costs import CostsByRound
from cloud.web.people_pages import annotators_for
from cloud.web.site import FILTERS
from lifelong.config import Config
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState
from lifelong.records.wire import to_json
from tests.large_loop import live_long, sample_of, version_of
from tests.web_parts import a_client, a_watch, some_parts

PAGES = ("/", "/live/overview", "/queues", "/people")
HTML = {"accept": "text/html"}


def a_look(tmp_path: Path, **what: Any) -> Look:
    storage = open_storage("memory://")
    live_long(storage, **{"rounds": 6, "samples": 20, "edges": 30, "pictures": 0, **what})
    return a_watch(storage, tmp_path).refresh()


def pages_of(look: Look, role: Role = Role.OPERATOR, **parts: Any) -> TestClient:
    return a_client(some_parts(look=look, **parts), role)


def changed(look: Look, **facts: Any) -> Look:
    return replace(look, _facts={}, **facts)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.OPERATOR, Role.ADMIN])
def test_ops_pages_answer_over_a_storage_with_nothing_in_it(page: str, role: Role) -> None:
    answer = pages_of(Look(at=utc_now()), role).get(page)
    assert answer.status_code == 200
    assert "None" not in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_sec_01_pages_are_for_those_who_may_see(page: str) -> None:
    parts = some_parts(look=Look(at=utc_now()))
    assert a_client(parts, None).get(page).status_code in {401, 303}
    assert a_client(parts, Role.DEVICE).get(page).status_code == 403


def test_ops_an_empty_overview_says_why_it_is_empty() -> None:
    text = pages_of(Look(at=utc_now())).get("/").text
    for words in (
        "Nothing has happened yet, and nothing is wrong.",
        "no round has begun",
        "No candidate has been examined yet; nothing is released.",
        "There is nothing to go back to: nothing is released yet.",
    ):
        assert words in text
    assert "<script type=" not in text  # no chart of nothing


def test_ops_the_overview_with_a_first_model_and_no_round(tmp_path: Path) -> None:
    look = a_look(tmp_path, rounds=1)
    text = pages_of(changed(look, rounds=(), examinations={})).get("/").text
    assert "the first model runs" in text
    assert "only one model was ever released" in text


def test_ops_the_overview_of_an_open_round(tmp_path: Path) -> None:
    text = pages_of(a_look(tmp_path)).get("/").text
    assert "10 open tasks wait for people" in text
    assert 'href="http://127.0.0.1:8080/projects/1/data"' in text
    assert "Round 5" in text
    assert "20 samples of 1 round unlearned" in text
    assert text.count('class="card ') == 4
    assert 'data-live="/live/overview"' in text
    assert "miou-over-rounds" in text


def test_ops_the_overview_says_why_the_last_candidate_was_refused(tmp_path: Path) -> None:
    text = pages_of(a_look(tmp_path, rounds=7, is_open=False)).get("/").text
    assert (
        "It was refused: clear: mIoU falls from 70.0 to 61.0, more than 2.0 points; "
        "release 7 still runs." in text
    )
    assert f"everybody is to run <code>{version_of(6)}</code>" in text


def test_ops_a_candidate_that_was_refused_unexamined_has_a_reason_and_no_empty_chart(
    tmp_path: Path,
) -> None:
    """OPS: a leakage was told as if there were no hold-out, above a chart of nothing."""
    look = a_look(tmp_path)
    unexamined = {
        version: replace(
            found,
            candidate=replace(found.candidate, tasks={}),
            incumbent=None,
            decision=replace(found.decision, accepted=False, reasons=("leakage: 1 picture",)),
        )
        for version, found in look.examinations.items()
    }
    text = pages_of(changed(look, examinations=unexamined)).get("/").text
    assert "refused before any learning task was examined" in text
    assert "leakage: 1 picture" in text
    assert "no hold-out picture yet" not in text
    assert "miou-over-rounds" not in text
    assert "begins with the first candidate that was examined on a hold-out" in text


def test_ops_a_failed_round_is_the_answer_to_whether_the_last_model_helped(tmp_path: Path) -> None:
    look = a_look(tmp_path, is_open=False)
    failed = Round(number=RoundNumber(7), state=RoundState.FAILED, failure="no draft could be made")
    text = pages_of(changed(look, rounds=(*look.rounds, failed))).get("/").text
    assert "There is none: round 7 failed, no draft could be made" in text


def test_ops_service_trouble_is_told_before_everything_else(tmp_path: Path) -> None:
    look = a_look(tmp_path)
    parts = some_parts(look=look, trouble=lambda: "Label Studio does not answer <b>")
    text = a_client(parts).get("/").text
    assert "Label Studio does not answer &lt;b&gt;." in text
    assert "in alarm" in text  # the nodes' troubles come behind it
    asks = some_parts(look=look, trouble=lambda: "Label Studio is away; is it up?")
    assert "is it up?<" in a_client(asks).get("/").text  # and no full stop behind it


def test_ops_an_old_look_says_so_and_why(tmp_path: Path) -> None:
    look = changed(a_look(tmp_path), trouble="s3://loop: connection refused")
    for page in ("/", "/queues", "/people"):
        text = pages_of(look).get(page).text
        assert "What you see may be old: s3://loop: connection refused" in text


@pytest.mark.parametrize("page", PAGES)
def test_ops_storage_that_was_never_seen_is_a_page_and_no_crash(page: str) -> None:
    def away() -> Look:
        raise StorageUnavailableError("s3://loop: connection refused")

    client = a_client(some_parts(looks=away))
    answer = client.get(page, headers=HTML)
    assert answer.status_code == 503
    assert "s3://loop: connection refused" in answer.text
    assert "Nothing is lost" in answer.text
    assert client.get(page).json()["detail"].startswith("s3://loop")


def in_training(look: Look, seconds_ago: float) -> Look:
    open_ = look.rounds[-1]
    round_ = replace(
        open_,
        state=RoundState.TRAINING,
        entered={**open_.entered, "training": look.at - timedelta(seconds=100)},
    )
    told = TrainingProgress(
        round_number=round_.number,
        step=30,
        steps=120,
        loss=0.4,
        written_at=look.at - timedelta(seconds=seconds_ago),
    )
    return changed(look, rounds=(*look.rounds[:-1], round_), training=told)


def test_ops_a_running_training_is_on_the_overview_and_in_the_queues(tmp_path: Path) -> None:
    client = pages_of(in_training(a_look(tmp_path), 1))
    for page in ("/", "/queues"):
        text = client.get(page).text
        assert 'data-live="/live/training" data-seconds="2"' in text
        assert '<progress value="30" max="120">' in text
    silent = pages_of(in_training(a_look(tmp_path), 500)).get("/").text
    assert "The worker that trains round 6 has been silent for 8 min, at step 30 of 120." in silent


def test_ops_refused_deliveries_show_their_reason_escaped_and_their_folder(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    for number in range(30):
        storage.put(f"refused/edge-9/{number:016x}/reason.txt", b"<script>cut off</script>")
    look = a_watch(storage, tmp_path).refresh()
    client = pages_of(look)
    text = client.get("/queues").text
    assert "&lt;script&gt;cut off" in text
    assert "<script>cut" not in text
    assert text.count("refused/edge-9/") == 25
    assert client.get("/queues?refused=2").text.count("refused/edge-9/") == 5
    assert client.get("/queues?refused=99999").status_code == 200
    assert client.get("/queues?refused=0").status_code == 422


def test_ops_tasks_link_into_label_studio_in_the_order_they_come(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=2, samples=6, edges=2, pictures=0)
    order = [sample_of(2, i) for i in (5, 3, 4)]
    noted = AnnotationWork(
        round_number=RoundNumber(2),
        at=utc_now(),
        states={sample_of(2, 3): TaskState.REJECTED},
        order=tuple(order),
    )
    storage.put(work_key("d"), to_json(noted))
    look = a_watch(storage, tmp_path).refresh()
    text = pages_of(look).get("/queues").text
    places = [text.index(f"http://127.0.0.1:8080/projects/1/data?task=200{i}") for i in (6, 4, 5)]
    assert places == sorted(places)
    assert "1 sent back" in text
    folder = Config.model_validate({"annotation_folder": "people"})
    text = a_client(some_parts(look=look, config=folder)).get("/queues").text
    assert "projects/1" not in text
    assert "Tasks lie in <code>people</code>" in text


def people_text(tmp_path: Path, role: Role) -> str:
    return pages_of(a_look(tmp_path, samples=30, is_open=False), role).get("/people").text


def test_ux_10_operators_see_who_did_what_and_annotators_do_not(tmp_path: Path) -> None:
    assert "ada@example.org" in people_text(tmp_path, Role.OPERATOR)
    text = people_text(tmp_path, Role.ANNOTATOR)
    assert "example.org" not in text
    assert "No work bears the name tess." in text


def test_ux_10_annotators_see_their_own_line(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    live_long(storage, rounds=2, samples=9, edges=0, pictures=0, is_open=False)
    look = a_watch(storage, tmp_path).refresh()
    costs = CostsByRound().of(look)
    ada = Caller(name="Ada@example.org", role=Role.ANNOTATOR, token_id="t")
    assert [name for name, _ in annotators_for(ada, costs)] == ["ada@example.org"]
    assert len(annotators_for(replace(ada, role=Role.OPERATOR), costs)) == 3
    assert annotators_for(None, costs) == []


def test_ux_10_time_saved_is_told_with_its_interval(tmp_path: Path) -> None:
    text = people_text(tmp_path, Role.OPERATOR)
    # Six rounds of thirty: 30 + i % 20 s with a draft, 120 s for the three of each without.
    seconds = [30.0 + i % 20 for i in range(30) if i % 10 != 9]
    share = round(100 * (1 - sum(seconds) / len(seconds) / 120.0))
    assert f'<p class="big">{share} %</p>' in text
    assert "with 95 % confidence" in text
    assert "seconds-over-rounds" in text
    assert "agreement-over-rounds" in text


def test_ux_10_where_nothing_was_measured_there_is_a_dash_and_the_setting(tmp_path: Path) -> None:
    text = pages_of(a_look(tmp_path, samples=5, is_open=False)).get("/people").text
    assert "set review.blank_share" in text
    assert '<p class="big">–</p>' in text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("made", [lambda look: look, lambda look: in_training(look, 1)])
def test_ops_nothing_foreign_or_inline_is_on_a_page(
    page: str, made: Callable[[Look], Look], tmp_path: Path
) -> None:
    text = pages_of(made(a_look(tmp_path))).get(page).text
    assert "onclick" not in text
    assert "style=" not in text
    assert "https://" not in text
    for script in text.split("<script")[1:]:
        assert script.startswith((' src="/static/', ' type="application/json"'))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),
        (0.4, "0.4 s"),
        (9.97, "10 s"),
        (59.8, "1 min 0 s"),
        (75, "1 min 15 s"),
        (539.7, "9 min 0 s"),
        (3599.9, "1 h 00 min"),
        (4000, "1 h 06 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_ops_spans_never_count_sixty_seconds_or_minutes(seconds: float | None, told: str) -> None:
    """A demo's page once told "8 min 60 s"."""
    assert FILTERS["span"](seconds) == told


def test_ops_moments_carry_what_the_reader_needs_to_see_their_own_clock() -> None:
    at = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone(timedelta(hours=2)))
    assert FILTERS["moment"](at) == (
        '<time data-moment datetime="2026-05-04T01:02:01+00:00">2026-05-04 01:02:01 UTC</time>'
    )
