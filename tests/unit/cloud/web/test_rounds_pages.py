"""The pages of rounds: what they tell, what they link to, and that nothing is made up."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.access.permissions import Role
from cloud.monitor.look import Look, TrainingProgress
from lifelong.config import Config
from lifelong.links.storage import Storage, open_storage
from lifelong.records.rounds import RoundState
from lifelong.records.samples import Skip
from tests.builders import NOON, a_round
from tests.large_loop import live_long, sample_of
from tests.web_parts import a_client, a_watch, some_parts

SAMPLE = sample_of(8, 3)


@pytest.fixture(scope="module")
def storage() -> Storage:
    made = open_storage("memory://")
    live_long(made, rounds=30, samples=6, edges=2)
    return made


@pytest.fixture(scope="module")
def look(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Look:
    return a_watch(storage, tmp_path_factory.mktemp("watch")).refresh()


def page(look: Look, address: str, storage: Storage | None = None, **parts: object) -> str:
    answer = a_client(some_parts(storage, look, **parts)).get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_all_rounds_newest_first_with_verdict_reasons_and_a_second_page(look: Look) -> None:
    first, second = page(look, "/rounds"), page(look, "/rounds?page=2")
    assert first.index("Round 30") < first.index("Round 29") < first.index("Round 6")
    assert "Round 5<" not in first
    assert "Round 5<" in second
    assert "page 2 of 2" in second
    for words in ("refused", "clear: mIoU falls from 70.0 to 61.0", "released", "mean of 5"):
        assert words in first
    assert "waits for <strong>people</strong>" in first
    assert page(look, "/rounds?page=900").count("<tr>") == second.count("<tr>")


def test_an_empty_loop_says_why_the_page_is_empty() -> None:
    told = page(Look(at=NOON), "/rounds")
    assert "No round yet: no hard example has arrived" in told
    assert page(Look(at=NOON), "/rounds.json").count('"rounds":[]') == 1


def test_one_round_tells_its_steps_decision_measurements_and_tasks(look: Look) -> None:
    told = page(look, "/rounds/28?task=fog")
    for words in (
        "preannotating",
        "clear: mIoU falls from 70.0 to 61.0, more than 2.0 points",
        "What was gained and lost",
        "IoU by class on fog, 24 pictures",
        'id="iou-by-class-figure"',
        "http://127.0.0.1:8080/projects/1/data?task=28001",
        f"/rounds/28/samples/{sample_of(28, 0)}",
    ):
        assert words in told
    assert "nothing was released when it began" not in told


def test_a_round_without_a_measurement_shows_dashes_and_reasons() -> None:
    round_ = a_round(RoundState.PREANNOTATING, entered={"preannotating": NOON})
    told = page(Look(at=NOON + timedelta(minutes=2), rounds=(round_,)), f"/rounds/{round_.number}")
    for words in (
        "not trained yet",
        "Nobody has judged yet",
        "Nothing was measured yet",
        "so far 2 min 0 s",
    ):
        assert words in told
    assert "0.0" not in told.split("<h2>")[2]


def test_tasks_in_a_folder_have_no_link_into_label_studio(look: Look, tmp_path: Path) -> None:
    config = Config(annotation_folder=tmp_path)
    assert "/data?task=" not in page(look, "/rounds/28", config=config)


def test_names_of_strangers_are_text_and_never_markup(look: Look) -> None:
    old = look.rounds[27]
    skip = Skip(sample_id=SAMPLE, round_number=old.number, reason="<b>dark</b>")
    example = replace(old.examples[0], sample_id=SAMPLE, reasons=("<i>odd</i>",))
    evil = replace(old, examples=(example,), annotations=(), tasks=(), skips=(skip,), drafts=(),
                   leaks=("<script>1</script>",), failure="<u>")  # fmt: skip
    strange = replace(look, rounds=(evil,), _facts={})
    told = page(strange, "/rounds/28") + page(strange, f"/rounds/28/samples/{SAMPLE}")
    for markup in ("<b>dark", "<i>odd", "<script>1", "<u>"):
        assert markup not in told
    assert "&lt;b&gt;dark&lt;/b&gt;" in told


def test_a_sample_tells_scores_cost_and_its_neighbours(look: Look, storage: Storage) -> None:
    told = page(look, f"/rounds/8/samples/{SAMPLE}", storage)
    for words in (
        'accesskey="n"',
        'accesskey="p"',
        "mean entropy 0.52 ≥ 0.40",
        "tiny_sam + tiny_segformer",
        "ada@example.org",
        "What correcting took, by class",
        "What the candidate answers",
        "being computed",
        "rain, trains",
    ):
        assert words in told, words


def test_a_draft_that_people_never_saw_is_not_called_their_work(look: Look) -> None:
    old = look.rounds[7]
    blank = replace(old.tasks[3], is_blank=True)
    tasks = tuple(blank if task.sample_id == SAMPLE else task for task in old.tasks)
    seen = replace(look, rounds=(replace(old, tasks=tasks),), _facts={})
    told = page(seen, f"/rounds/8/samples/{SAMPLE}")
    assert "people were not shown the draft" in told
    assert "/pictures/people/" not in told


def test_training_is_told_live_and_a_dead_worker_as_dead() -> None:
    round_ = a_round(RoundState.TRAINING)
    told = TrainingProgress(
        round_number=round_.number, step=5, steps=20, loss=0.5, written_at=NOON,
        history=((1, 1.0, 2.0), (3, 2.0, 1.0), (5, 3.0, 0.5)),
    )  # fmt: skip

    def live(after_s: float) -> str:
        at = NOON + timedelta(seconds=after_s)
        return page(Look(at=at, rounds=(round_,), training=told), "/live/training")

    assert '<progress max="20" value="5"' in live(1)
    assert "2.00 steps a second" in live(1)
    assert "about 7.5 s at this speed" in live(1)
    assert "polyline" in live(1)
    assert "no news from its worker for 90 s" in live(90)
    assert "steps a second" not in live(90)
    assert "No training runs" in page(Look(at=NOON), "/live/training")
    assert 'data-live="/live/training"' in page(
        Look(at=NOON, rounds=(round_,), training=told), f"/rounds/{round_.number}"
    )


@pytest.mark.parametrize(
    "address",
    [
        "/rounds/31",
        "/rounds/28?task=nowhere",
        f"/rounds/28/samples/{SAMPLE}",  # of another round
        "/rounds/8/samples/..%2f..%2fetc",
        f"/live/rounds/28/samples/{SAMPLE}",
    ],
)
def test_sec_03_what_no_record_knows_is_not_found(look: Look, address: str) -> None:
    assert a_client(some_parts(None, look)).get(address).status_code == 404


@pytest.mark.parametrize(
    "address",
    ["/rounds?page=0", "/rounds?page=x", f"/rounds/{10**12}", "/rounds/-1", "/rounds/%00"],
)
def test_sec_03_numbers_have_bounds(look: Look, address: str) -> None:
    assert a_client(some_parts(None, look)).get(address).status_code == 422


@pytest.mark.parametrize(
    "address",
    [
        "/rounds",
        "/rounds.json",
        "/rounds/8",
        f"/rounds/8/samples/{SAMPLE}",
        "/live/training",
        f"/live/rounds/8/samples/{SAMPLE}",
        f"/pictures/frame/8/{SAMPLE}",
    ],
)
def test_sec_03_who_may_not_see_sees_nothing(look: Look, address: str) -> None:
    assert a_client(some_parts(None, look), Role.DEVICE).get(address).status_code == 403
    assert a_client(some_parts(None, look), None).get(address).status_code == 401
    assert a_client(some_parts(None, look), Role.ANNOTATOR).get(address).status_code in {200, 404}
