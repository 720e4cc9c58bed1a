"""Places of open tasks, ANN-04, and the text prompt that is kept, ANN-05, over a fake studio."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.labeling_config import PROMPT_TEXT
from annotation.queue_order import (
    STEP,
    VIEW_TITLE,
    QueueOrder,
    View,
    ensure_view,
    first_place,
    new_places,
    place_text,
    prompt_in,
)
from annotation.regions import Region
from annotation.task_fields import PROMPT, RANK, ROUND, SAMPLE
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.samples import AnnotationTask
from tests.fakes_label_studio import FakeStudio


@given(st.lists(st.none() | st.integers(-3, 60), max_size=40))
def test_ann_04_new_places_rise_and_what_was_in_order_with_room_stays(
    places: list[int | None],
) -> None:
    made = new_places(places)
    assert len(made) == len(places)
    assert all(a < b for a, b in pairwise(made))
    assert all(place > 0 for place in made)
    known = [place for place in places if place is not None and place > 0]
    if known == places and known == sorted(set(known)):
        assert made == places, "nothing moves that need not"


@given(st.permutations(range(12)))
def test_ann_04_few_tasks_move(order: list[int]) -> None:
    """With room between places, all but a longest rising subsequence move, and no more."""
    places = [(position + 1) * STEP for position in order]
    moved = sum(new != old for new, old in zip(new_places(places), places, strict=True))
    longest = [1] * len(places)
    for i in range(len(places)):
        longest[i] += max((longest[j] for j in range(i) if places[j] < places[i]), default=0)
    assert moved == len(places) - max(longest)


def test_places_sort_as_text() -> None:
    texts = [place_text(place) for place in (1, 999, 1000, 10_000, 999_999_999)]
    assert texts == sorted(texts)
    assert first_place(0) < first_place(1)


class Desk:
    """A round of tasks in a fake studio."""

    def __init__(self, count: int) -> None:
        self.studio = FakeStudio()
        self.project = self.studio.create_project("Test", "<View/>", "")
        self.samples = [SampleId(f"s{i}") for i in range(count)]
        self.studio.import_tasks(
            self.project,
            [
                {
                    "data": {SAMPLE: sample, ROUND: 1, RANK: first_place(i), PROMPT: ""},
                    "meta": {},
                    "predictions": [],
                }
                for i, sample in enumerate(self.samples)
            ],
        )
        self.tasks = [
            AnnotationTask(
                sample_id=sample,
                round_number=RoundNumber(1),
                project_id=self.project,
                task_id=i + 1,
                draft_key="",
            )
            for i, sample in enumerate(self.samples)
        ]

    def shown(self) -> list[SampleId]:
        """Open tasks as the view orders them."""
        open_ = [t for t in self.studio.round_tasks(self.project, 1) if not t.is_finished]
        return [
            SampleId(str(t.data[SAMPLE])) for t in sorted(open_, key=lambda t: str(t.data[RANK]))
        ]

    def submit(self, task_id: int, words: str | None = None) -> None:
        regions: list[Region] = []
        if words is not None:
            regions.append(a_prompt(words))
        self.studio.create_annotation(task_id, regions, seconds=1.0, parent_prediction=None)

    def prompts(self) -> dict[SampleId, str]:
        listed = self.studio.round_tasks(self.project, 1)
        return {SampleId(str(t.data[SAMPLE])): str(t.data[PROMPT]) for t in listed}


def a_prompt(words: str | Sequence[str]) -> Region:
    region: Region = {"from_name": PROMPT_TEXT, "type": "textarea", "value": {"text": words}}  # type: ignore[typeddict-unknown-key]
    return region


def test_ann_04_the_view_follows_a_new_order_with_few_writes() -> None:
    desk = Desk(6)
    order = QueueOrder(desk.studio, at_once=50)
    assert order.sort(desk.tasks, desk.samples) == 0, "the push has ordered them so"
    wanted = [desk.samples[i] for i in (5, 0, 1, 2, 3, 4)]
    assert order.sort(desk.tasks, wanted) == 1
    assert desk.shown() == wanted
    assert order.sort(desk.tasks, wanted) == 0
    desk.studio.is_up = False
    assert order.sort(desk.tasks, wanted) == 0, "a settled order asks nobody"


def test_ann_04_finished_tasks_are_not_written() -> None:
    desk = Desk(4)
    desk.submit(2)
    before = desk.studio.task(2)
    order = QueueOrder(desk.studio, at_once=50)
    order.sort(desk.tasks, [desk.samples[i] for i in (3, 2, 1, 0)])
    assert desk.studio.task(2) == before, "what was pulled need not be pulled again"
    assert desk.shown() == [desk.samples[i] for i in (3, 2, 0)]


def test_ann_04_writes_are_bounded_and_the_next_call_goes_on() -> None:
    desk = Desk(9)
    order = QueueOrder(desk.studio, at_once=3)
    wanted = desk.samples[::-1]
    written = [order.sort(desk.tasks, wanted) for _ in range(4)]
    assert written == [3, 3, 2, 0]
    assert desk.shown() == wanted
    assert QueueOrder(desk.studio, at_once=0).sort(desk.tasks, desk.samples) == 0


def test_a_task_that_was_deleted_in_between_is_no_reason_to_stop() -> None:
    desk = Desk(3)
    listed = desk.studio.round_tasks(desk.project, 1)
    desk.studio.delete_task(3)
    desk.studio.round_tasks = lambda *_: listed  # type: ignore[method-assign]
    QueueOrder(desk.studio, at_once=50).sort(desk.tasks, desk.samples[::-1])
    assert desk.studio.task(2) is not None


@pytest.mark.parametrize("rank", [None, "", "12", "nonsense", 7, "٣" * 10])
def test_a_place_that_cannot_be_read_is_given_anew(rank: object) -> None:
    desk = Desk(3)
    task = desk.studio.task(2)
    assert task is not None
    desk.studio.set_task_data(2, dict(task.data) | {RANK: rank})
    QueueOrder(desk.studio, at_once=50).sort(desk.tasks, desk.samples)
    assert desk.shown() == desk.samples


def test_ann_05_the_last_text_prompt_stands_in_the_next_tasks() -> None:
    desk = Desk(15)
    order = QueueOrder(desk.studio, at_once=50)
    desk.submit(1, "traffic light")
    assert order.sort(desk.tasks, desk.samples[1:]) == 10
    kept = desk.prompts()
    assert [kept[s] for s in desk.samples[1:11]] == ["traffic light"] * 10
    assert [kept[s] for s in desk.samples[11:]] == [""] * 4
    desk.submit(2)  # without a prompt: the last one stays
    order.sort(desk.tasks, desk.samples[2:])
    assert desk.prompts()[desk.samples[11]] == "traffic light"
    desk.submit(3, "bicycle")
    QueueOrder(desk.studio, at_once=50).sort(desk.tasks, desk.samples[3:])  # a new process
    assert desk.prompts()[desk.samples[3]] == "bicycle"


def test_ann_05_skips_and_other_regions_hold_no_prompt() -> None:
    desk = Desk(3)
    desk.studio.skip_task(1)
    assert QueueOrder(desk.studio, at_once=50).sort(desk.tasks, desk.samples[1:]) == 0
    assert prompt_in([{"from_name": "brush", "value": {"text": ["no"]}}]) == ""  # type: ignore[typeddict-unknown-key,typeddict-item]
    assert prompt_in([a_prompt(["red ", " car"])]) == "red car"
    assert prompt_in([a_prompt([]), a_prompt("pole")]) == ""


def test_ann_04_one_view_next_best_is_made_and_repaired() -> None:
    studio = FakeStudio()
    project = studio.create_project("Test", "<View/>", "")
    ensure_view(studio, project, 1)
    ensure_view(studio, project, 1)
    (view,) = studio.views(project)
    assert view.data["ordering"] == [f"tasks:data.{RANK}"]
    widened = dict(view.data) | {"columnsWidth": {"tasks:id": 50}}
    studio.save_view(project, replace(view, data=widened | {"ordering": ["-tasks:id"]}))
    studio.save_view(project, View(view_id=None, data={"title": VIEW_TITLE}))
    studio.save_view(project, View(view_id=None, data={"title": "Default"}))
    ensure_view(studio, project, 2)
    repaired, default = studio.views(project)
    assert repaired.data["ordering"] == [f"tasks:data.{RANK}"]
    assert repaired.data["columnsWidth"] == {"tasks:id": 50}
    assert repaired.data["filters"]["items"][0]["value"] == 2  # type: ignore[index]
    assert default.title == "Default"
