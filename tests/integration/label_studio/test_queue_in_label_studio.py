"""ANN-04 and ANN-05 on a real server: people are given the next best task, with the last prompt."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from annotation.label_studio_server import LabelStudioServer
from annotation.labeling_config import PROMPT_TEXT
from annotation.queue_order import VIEW_TITLE
from annotation.regions import Region
from annotation.studio_tasks import StudioTask
from annotation.task_fields import PROMPT, RANK, SAMPLE
from tests.builders import a_mask
from tests.label_studio_room import Room
from tests.second_annotator import colleague_token

pytestmark = pytest.mark.integration


@pytest.fixture
def room(label_studio_server: LabelStudioServer, tmp_path: Path) -> Iterator[Room]:
    label_studio_server.start()
    made = Room(label_studio_server, tmp_path)
    yield made
    made.close()


def test_ann_04_the_label_stream_follows_the_order_as_it_changes(room: Room) -> None:
    tasks = room.exchange.push(room.drafts(6))
    room.exchange.push(room.drafts(6))
    project = tasks[0].project_id
    (view,) = [one for one in room.studio.views(project) if one.title == VIEW_TITLE]
    assert room.next_task(project, view.data)["id"] == tasks[0].task_id
    ids = [task.sample_id for task in tasks]
    room.exchange.sort(tasks, [ids[i] for i in (4, 2, 0, 1, 3, 5)])
    seen = []
    for position in (4, 2, 0, 1, 3, 5):
        following = room.next_task(project, view.data)
        seen.append(following["data"][SAMPLE])
        assert following["id"] == tasks[position].task_id
        room.submit(tasks[position], a_mask(position))
    assert seen == [ids[i] for i in (4, 2, 0, 1, 3, 5)]


def test_ann_04_label_all_tasks_takes_them_as_they_were_pushed(room: Room) -> None:
    """The button without "as displayed" asks for no order: the order of the push is what counts."""
    tasks = room.exchange.push(room.drafts(3))
    project = tasks[0].project_id
    room.exchange.sort(tasks, [task.sample_id for task in reversed(tasks)])
    assert room.next_task(project, None)["id"] == tasks[0].task_id


def test_ann_04_more_than_nine_places_still_sort(room: Room) -> None:
    """Label Studio sorts a field of the data as text: 10 must not come before 9."""
    tasks = room.exchange.push(room.drafts(12))
    project = tasks[0].project_id
    (view,) = [one for one in room.studio.views(project) if one.title == VIEW_TITLE]
    listed = room.api("GET", f"/api/tasks?project={project}&view={view.view_id}&page_size=50")
    assert [one["id"] for one in listed["tasks"]] == [task.task_id for task in tasks]
    order = [task.sample_id for task in tasks[::-1]]
    room.exchange.sort(tasks, order)
    listed = room.api("GET", f"/api/tasks?project={project}&view={view.view_id}&page_size=50")
    assert [one["data"][SAMPLE] for one in listed["tasks"]] == order


def test_ann_04_a_second_round_has_the_view_to_itself(room: Room) -> None:
    first = room.exchange.push(room.drafts(2))
    second = room.exchange.push(room.drafts(2, round_number=2, first=2))
    project = first[0].project_id
    (view,) = [one for one in room.studio.views(project) if one.title == VIEW_TITLE]
    listed = room.api("GET", f"/api/tasks?project={project}&view={view.view_id}&page_size=50")
    assert [one["id"] for one in listed["tasks"]] == [task.task_id for task in second]


def test_ann_04_new_places_do_not_make_pulling_read_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = room.exchange.push(room.drafts(5))
    for position in (0, 1):
        room.submit(tasks[position], a_mask(position))
    first = room.exchange.pull(tasks)
    room.exchange.sort(tasks, [task.sample_id for task in tasks[:1:-1]])
    read: list[int] = []
    real = room.studio.full_tasks

    def full_tasks(project: int, ids: Iterable[int]) -> list[StudioTask]:
        read.extend(ids)
        return real(project, ids)

    monkeypatch.setattr(room.studio, "full_tasks", full_tasks)
    assert room.exchange.pull(tasks) == first
    assert read == []
    ranks = {
        task.task_id: str(task.data[RANK])
        for task in room.studio.round_tasks(tasks[0].project_id, 1)
    }
    assert ranks[tasks[4].task_id] < ranks[tasks[3].task_id] < ranks[tasks[2].task_id]


def test_ann_05_accept_and_next_finds_the_words_of_the_task_before(room: Room) -> None:
    """The label stream goes on by itself after a submit; the prompt waits in the next task."""
    tasks = room.exchange.push(room.drafts(3))
    project = tasks[0].project_id
    (view,) = [one for one in room.studio.views(project) if one.title == VIEW_TITLE]
    assert room.next_task(project, view.data)["data"][PROMPT] == ""
    prompt: Region = {
        "id": "p1",
        "from_name": PROMPT_TEXT,
        "to_name": "image",
        "type": "textarea",
        "value": {"text": ["traffic light"]},  # type: ignore[typeddict-unknown-key]
    }
    room.submit(tasks[0], a_mask(0), [prompt])
    pulled = room.exchange.pull(tasks)
    assert len(pulled.annotations) == 1, "the words are no region"
    room.exchange.sort(tasks, [task.sample_id for task in tasks[1:]])
    following = room.next_task(project, view.data)
    assert following["id"] == tasks[1].task_id
    assert following["data"][PROMPT] == "traffic light"
    assert room.studio.settings(project)["label_config"].count(f'"${PROMPT}"') == 1


def test_ann_04_two_people_are_kept_apart_by_label_all_tasks_only(
    room: Room, label_studio_server: LabelStudioServer
) -> None:
    """What docs/annotation.md tells about several people: a tab's order knows no locks."""
    tasks = room.exchange.push(room.drafts(3))
    project = tasks[0].project_id
    (view,) = [one for one in room.studio.views(project) if one.title == VIEW_TITLE]
    other = colleague_token(label_studio_server, "second@cornerloop.example")
    for shown, expected in ((view.data, tasks[0]), (None, tasks[1])):
        assert room.next_task(project, shown)["id"] == tasks[0].task_id
        assert room.next_task(project, shown, token=other)["id"] == expected.task_id
