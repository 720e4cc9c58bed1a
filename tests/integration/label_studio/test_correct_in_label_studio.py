"""UX-09 on a real server: what `/correct` accepts is an annotation as any other one."""

import base64
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient

from annotation.class_runs import mask_from_runs, runs_from_mask
from annotation.correcting.in_studio import StudioCorrections
from annotation.label_studio_server import LabelStudioServer
from annotation.page_marks import mark_of
from annotation.review.correction_cost import costs_from_events
from lifelong.errors import LabelStudioRefusedError
from lifelong.links.journal import read_events
from lifelong.records.pixels import mask_from_png
from lifelong.records.rounds import RoundState
from lifelong.records.samples import AnnotationTask
from tests.builders import SMALL_MAP, a_mask, a_round
from tests.correct_room import CorrectRoom
from tests.label_studio_room import Room
from tests.web_parts import a_client, some_parts

pytestmark = pytest.mark.integration

PAGE = "a" * 32


@pytest.fixture
def room(label_studio_server: LabelStudioServer, tmp_path: Path) -> Iterator[Room]:
    label_studio_server.start()
    made = Room(label_studio_server, tmp_path)
    yield made
    made.close()


def a_page(room: Room, tasks: list[AnnotationTask], tmp_path: Path) -> TestClient:
    """The page's addresses over this project."""
    drafts = room.drafts(len(tasks))
    there = CorrectRoom(tmp_path / "desk", drafts=drafts, storage=room.storage)
    there.round = a_round(
        RoundState.ANNOTATING, examples=(), drafts=tuple(drafts), tasks=tuple(tasks)
    )
    work = StudioCorrections(
        storage=room.storage,
        studio=room.studio,
        label_map=SMALL_MAP,
        section=room.section,
        annotators=1,
    )
    return a_client(some_parts(correction_desk=there.again(work), storage=room.storage))


def test_ux_09_accepted_on_the_page_pulled_from_label_studio_to_the_pixel(
    room: Room, tmp_path: Path
) -> None:
    """Untouched, corrected, sent twice, skipped; cost has seconds and the person's name."""
    tasks = room.exchange.push(room.drafts(4))
    client = a_page(room, tasks, tmp_path)
    masks = {}
    for number in range(3):
        told = client.post("/correct/next", json={"page": PAGE}).json()
        assert told["progress"]["done"] == number
        task = told["task"]
        assert task["key"] == f"1-{tasks[number].sample_id}"  # as "Next best" orders them
        mask = mask_from_runs(base64.b64decode(task["draft"]), 48, 64, "draft").copy()
        assert np.array_equal(mask, a_mask(number))
        if number:
            mask[5:20, 7:30] = number
            mask[40:, :9] = 255
        masks[tasks[number].sample_id] = mask
        query = {"page": PAGE, "submission": str(uuid4()), "seconds": "7.5"}
        for _ in range(2):
            answer = client.post(
                f"/correct/{task['key']}/accept", params=query, content=runs_from_mask(mask)
            )
            assert answer.json() == {"outcome": "taken"}
    last = client.post("/correct/next", json={"page": PAGE}).json()["task"]
    body = {"page": PAGE, "submission": str(uuid4()), "seconds": 1.0, "reason": "too dark"}
    assert client.post(f"/correct/{last['key']}/skip", json=body).json() == {"outcome": "taken"}

    pulled = room.exchange.pull(tasks)
    assert len(pulled.annotations) == 3
    for annotation in pulled.annotations:
        read = mask_from_png(room.storage.get(annotation.mask_key), "mask")
        assert np.array_equal(read, masks[annotation.sample_id])
        assert (annotation.annotator, annotation.seconds) == ("tess", 7.5)
    assert pulled.annotations[0].changed_pixels == 0
    assert [skip.sample_id for skip in pulled.skips] == [tasks[3].sample_id]
    costs = costs_from_events(read_events(room.journal_folder))
    assert [(cost.annotator, cost.seconds, cost.with_draft) for cost in costs] == [
        ("tess", 7.5, True)
    ] * 3
    untouched = costs[0].classes.values()
    assert all(one.regions_touched + one.regions_added == 0 for one in untouched)

    listed = room.api("GET", f"/api/tasks/{tasks[1].task_id}")
    (annotation_,) = listed["annotations"]
    assert annotation_["lead_time"] == 7.5
    assert annotation_["parent_prediction"] is not None
    mark = mark_of(annotation_["result"])
    assert mark is not None
    assert mark.by == "tess"
    assert listed["is_labeled"] is True


def test_ux_09_what_label_studio_finished_meanwhile_is_not_overwritten(
    room: Room, tmp_path: Path
) -> None:
    tasks = room.exchange.push(room.drafts(2))
    client = a_page(room, tasks, tmp_path)
    task = client.post("/correct/next", json={"page": PAGE}).json()["task"]
    room.submit(tasks[0], a_mask(7))
    query = {"page": PAGE, "submission": str(uuid4()), "seconds": "1"}
    answer = client.post(
        f"/correct/{task['key']}/accept", params=query, content=runs_from_mask(a_mask(0))
    )
    assert answer.json() == {"outcome": "finished"}
    (annotation,) = room.exchange.pull(tasks).annotations
    assert np.array_equal(mask_from_png(room.storage.get(annotation.mask_key), "mask"), a_mask(7))
    following = client.post("/correct/next", json={"page": PAGE}).json()["task"]
    assert following["key"] == f"1-{tasks[1].sample_id}"


def test_ux_09_label_studio_itself_refuses_a_second_annotation_of_one_submission(
    room: Room,
) -> None:
    """Two that are sent at the same moment: the one that comes second finds the first one there."""
    (task,) = room.exchange.push(room.drafts(1))
    once = str(uuid4())
    room.studio.create_annotation(
        task.task_id, [], seconds=1.0, parent_prediction=None, unique_id=once
    )
    with pytest.raises(LabelStudioRefusedError):
        room.studio.create_annotation(
            task.task_id, [], seconds=1.0, parent_prediction=None, unique_id=once
        )
    found = room.studio.task(task.task_id)
    assert found is not None
    assert len(found.annotations) == 1
