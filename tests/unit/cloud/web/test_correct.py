"""UX-09 and ANN-05: the page's own addresses, over files in a folder."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from annotation.assist.segmenter import Readiness
from annotation.class_runs import mask_from_runs, runs_from_mask
from cloud.access.permissions import Role
from lifelong.errors import ModelBusyError
from lifelong.records.pixels import mask_from_png
from tests.builders import HEIGHT, SMALL_MAP, WIDTH, a_jpeg, a_mask
from tests.correct_room import CorrectRoom, DiscModel, discs
from tests.web_parts import a_client, some_parts

PAGE, OTHER_PAGE = "a" * 32, "b" * 32


class Somebody:
    """Asks as the page's script does."""

    def __init__(self, room: CorrectRoom, role: Role | None = Role.ANNOTATOR) -> None:
        parts = some_parts(correction_desk=room.desk, storage=room.storage)
        self.client: TestClient = a_client(parts, role)

    def next(self, page: str = PAGE, **more: Any) -> dict[str, Any]:
        answer = self.client.post("/correct/next", json={"page": page, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def accept(
        self, key: str, mask: NDArray[np.uint8], *, submission: str = "", page: str = PAGE
    ) -> Any:
        query = {"page": page, "submission": submission or str(uuid4()), "seconds": "12.5"}
        return self.client.post(
            f"/correct/{key}/accept", params=query, content=runs_from_mask(mask)
        )


def shown(task: dict[str, Any]) -> NDArray[np.uint8]:
    return mask_from_runs(base64.b64decode(task["draft"]), task["height"], task["width"], "draft")


@pytest.fixture
def room(tmp_path: Path) -> CorrectRoom:
    return CorrectRoom(tmp_path, model=DiscModel())


@pytest.fixture
def somebody(room: CorrectRoom) -> Somebody:
    return Somebody(room)


def test_ux_09_an_untouched_accept_is_the_draft_pixel_for_pixel(
    room: CorrectRoom, somebody: Somebody
) -> None:
    given = somebody.next()
    assert given["progress"] == {"round": 1, "done": 0, "total": 3}
    task = given["task"]
    answer = somebody.accept(task["key"], shown(task))
    assert answer.json() == {"outcome": "taken"}
    (annotation,) = room.pulled().values()
    written = mask_from_png(room.storage.get(annotation.mask_key), "mask")
    assert np.array_equal(written, a_mask(0))
    assert (annotation.agreement, annotation.changed_pixels) == (1.0, 0)
    assert (annotation.annotator, annotation.seconds) == ("tess", 12.5)
    assert annotation.costs[0].seconds == 12.5
    (event,) = room.events("task.corrected")
    assert (event["by"], event["seconds"]) == ("tess", 12.5)
    assert somebody.next()["progress"]["done"] == 1


def test_ux_09_a_correction_comes_back_exactly_with_nobody_knows(
    room: CorrectRoom, somebody: Somebody
) -> None:
    task = somebody.next()["task"]
    mask = shown(task).copy()
    mask[:10, :10] = 2
    mask[30:, 40:] = 255
    assert somebody.accept(task["key"], mask).status_code == 200
    (annotation,) = room.pulled().values()
    assert np.array_equal(mask_from_png(room.storage.get(annotation.mask_key), "mask"), mask)


def test_ux_09_the_best_of_the_queue_comes_first(room: CorrectRoom, somebody: Somebody) -> None:
    order = [task.sample_id for task in reversed(room.tasks)]
    room.exchange.sort(room.tasks, order)
    seen = []
    for _ in order:
        task = somebody.next()["task"]
        seen.append(task["key"])
        somebody.accept(task["key"], shown(task))
    assert seen == [f"1-{sample_id}" for sample_id in order]
    last = somebody.next()
    assert last["task"] is None
    assert last["progress"] == {"round": 1, "done": 3, "total": 3}


def test_ux_09_two_people_never_have_the_same_task(room: CorrectRoom, somebody: Somebody) -> None:
    first = somebody.next(PAGE)["task"]["key"]
    second = somebody.next(OTHER_PAGE)["task"]["key"]
    assert first != second
    assert somebody.next(PAGE)["task"]["key"] == first  # the page was loaded again
    body = {"page": OTHER_PAGE, "task": first}
    assert somebody.client.post("/correct/keep", json=body).json() == {"kept": False}
    somebody.client.post("/correct/leave", json={"page": PAGE})
    assert somebody.client.post("/correct/keep", json=body).json() == {"kept": True}


def test_ux_09_a_lease_runs_out_unless_it_is_kept(room: CorrectRoom, somebody: Somebody) -> None:
    key = somebody.next(PAGE)["task"]["key"]
    room.seconds = 100.0
    body = {"page": PAGE, "task": key}
    assert somebody.client.post("/correct/keep", json=body).json() == {"kept": True}
    room.seconds = 200.0
    assert somebody.next(OTHER_PAGE)["task"]["key"] != key
    room.seconds = 400.0
    assert somebody.next("c" * 32)["task"]["key"] == key


def test_ux_09_later_puts_a_task_behind_the_others(somebody: Somebody) -> None:
    first = somebody.next()["task"]["key"]
    keys = [first]
    for _ in range(2):
        keys.append(somebody.next(later=keys[-1])["task"]["key"])
    assert len(set(keys)) == 3
    assert somebody.next(later=keys[-1])["task"]["key"] in keys  # all were put aside: again


def test_ux_09_sent_twice_it_is_one_annotation(room: CorrectRoom, somebody: Somebody) -> None:
    task = somebody.next()["task"]
    once = str(uuid4())
    for _ in range(2):
        answer = somebody.accept(task["key"], shown(task), submission=once)
        assert answer.json() == {"outcome": "taken"}
    Somebody(room)
    room.again()  # also after a restart
    answer = Somebody(room).accept(task["key"], shown(task), submission=once)
    assert answer.json() == {"outcome": "taken"}
    assert len(room.pulled()) == 1


def test_ux_09_what_others_finished_meanwhile_is_not_overwritten(
    room: CorrectRoom, somebody: Somebody
) -> None:
    task = somebody.next()["task"]
    theirs = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    place = room.place(room.tasks[0])
    from annotation.folder_exchange import palette_png

    (place / "corrected.png").write_bytes(palette_png(theirs, SMALL_MAP))
    answer = somebody.accept(task["key"], shown(task))
    assert answer.json() == {"outcome": "finished"}
    (annotation,) = room.pulled().values()
    assert np.array_equal(mask_from_png(room.storage.get(annotation.mask_key), "mask"), theirs)
    assert annotation.seconds is None
    assert annotation.annotator != "tess"
    assert somebody.next()["task"]["key"] != task["key"]


def test_ux_09_a_deleted_task_is_told(room: CorrectRoom, somebody: Somebody) -> None:
    task = somebody.next()["task"]
    for path in room.place(room.tasks[0]).iterdir():
        path.unlink()
    assert somebody.accept(task["key"], shown(task)).json() == {"outcome": "gone"}


def test_ux_09_a_task_of_a_round_that_went_on_is_told_in_words(
    room: CorrectRoom, somebody: Somebody
) -> None:
    task = somebody.next()["task"]
    room.without(room.tasks[0].sample_id)
    answer = somebody.accept(task["key"], shown(task))
    assert answer.status_code == 404
    assert "waits for people" in answer.json()["error"]
    assert somebody.next()["task"]["key"] != task["key"]


def test_ux_09_a_skip_needs_a_reason_which_the_loop_reads(
    room: CorrectRoom, somebody: Somebody
) -> None:
    key = somebody.next()["task"]["key"]
    body = {"page": PAGE, "submission": str(uuid4()), "seconds": 3.0, "reason": ""}
    assert somebody.client.post(f"/correct/{key}/skip", json=body).status_code == 422
    body["reason"] = "too dark"
    for _ in range(2):
        answer = somebody.client.post(f"/correct/{key}/skip", json=body)
        assert answer.json() == {"outcome": "taken"}
    (skip,) = room.exchange.pull(room.tasks).skips
    assert skip.reason == "skipped: too dark (tess)"
    assert somebody.next()["task"]["key"] != key


BAD: list[tuple[str, Callable[[], bytes], str]] = [
    ("too few pixels", lambda: runs_from_mask(a_mask(0)[:-1]), "pixels"),
    ("a class that is none", lambda: runs_from_mask(np.full_like(a_mask(0), 77)), "77"),
    ("nothing known", lambda: runs_from_mask(np.full_like(a_mask(0), 255)), "skip it"),
    ("nothing", lambda: b"", "empty"),
    ("cut off", lambda: runs_from_mask(a_mask(0))[:-1], "cut off"),
    ("a bomb", lambda: b"\x01\0\0\0\0" + b"\xff\xff\xff\xff\x7f", "pixels"),
    ("a longer bomb", lambda: b"\x01\0\0\0\0" + b"\xff" * 9 + b"\x01", "longer than any"),
    ("more runs than pixels", lambda: b"\xff\xff\xff\x7f" + b"\0" * 99, "cut off"),
    ("a PNG", lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "cut off"),
]


@pytest.mark.parametrize(("what", "body", "told"), BAD, ids=[one[0] for one in BAD])
def test_ux_09_a_mask_that_is_none_is_refused_in_words(
    room: CorrectRoom, somebody: Somebody, what: str, body: Callable[[], bytes], told: str
) -> None:
    key = somebody.next()["task"]["key"]
    query = {"page": PAGE, "submission": str(uuid4()), "seconds": "1"}
    answer = somebody.client.post(f"/correct/{key}/accept", params=query, content=body())
    assert answer.status_code == 400, what
    assert told in answer.json()["error"]
    assert answer.json()["id"] == "trouble-1"
    assert not room.pulled()
    assert somebody.next()["task"]["key"] == key  # still there, still this person's


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "100000", "x"])
def test_ux_09_seconds_that_cannot_be_are_refused(somebody: Somebody, seconds: str) -> None:
    task = somebody.next()["task"]
    query = {"page": PAGE, "submission": str(uuid4()), "seconds": seconds}
    body = runs_from_mask(shown(task))
    answer = somebody.client.post(f"/correct/{task['key']}/accept", params=query, content=body)
    assert answer.status_code == 422


def test_ux_09_too_large_a_body_is_not_read(
    somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.web.correct_pages._LARGEST", 10)
    task = somebody.next()["task"]
    answer = somebody.accept(task["key"], shown(task))
    assert answer.status_code == 413


def test_ux_09_a_full_disk_is_told_and_may_be_tried_again(
    room: CorrectRoom, somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = somebody.next()["task"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("annotation.correcting.in_folder.write_whole", full)
        answer = somebody.accept(task["key"], shown(task))
    assert answer.status_code == 503
    assert answer.json()["retry"] is True
    assert "No space left" in answer.json()["error"]
    assert somebody.accept(task["key"], shown(task)).json() == {"outcome": "taken"}


def test_ux_09_clicks_and_boxes_are_answered_with_a_mask(
    room: CorrectRoom, somebody: Somebody
) -> None:
    key = somebody.next()["task"]["key"]
    body = {
        "label": "car",
        "points": [{"x": 20.5, "y": 20.5}, {"x": 24.5, "y": 20.5, "positive": False}],
        "box": [30, 12, 10, 30],
    }
    told = somebody.client.post(f"/correct/{key}/prompt", json=body).json()
    found = mask_from_runs(base64.b64decode(told["mask"]), HEIGHT, WIDTH, "answer")
    points = [(20.5, 20.5, True), (24.5, 20.5, False)]
    wanted = discs((HEIGHT, WIDTH), points, (10.0, 12.0, 30.0, 30.0))
    assert np.array_equal(found, wanted)
    assert told["objects"] == 1
    assert told["score"] == pytest.approx(0.9)


def test_ann_05_words_find_things_of_the_class_chosen(
    room: CorrectRoom, somebody: Somebody
) -> None:
    key = somebody.next()["task"]["key"]
    body = {"label": "person", "words": " somebody walking "}
    told = somebody.client.post(f"/correct/{key}/prompt", json=body).json()
    found = mask_from_runs(base64.b64decode(told["mask"]), HEIGHT, WIDTH, "answer")
    assert found[:, :3].all()
    assert not found[:, 3:].any()
    assert room.model is not None
    assert room.model.words == [("somebody walking",)]
    body["words"] = "unicorn"
    told = somebody.client.post(f"/correct/{key}/prompt", json=body).json()
    assert told["objects"] == 0


def test_ux_09_a_model_that_loads_says_so(room: CorrectRoom, somebody: Somebody) -> None:
    assert room.model is not None
    room.model.readiness = Readiness.LOADING
    given = somebody.next()
    assert given["model"] == {"name": "discs", "state": "loading", "words": "2 of 3 files"}
    body = {"label": "car", "points": [{"x": 1, "y": 1}]}
    answer = somebody.client.post(f"/correct/{given['task']['key']}/prompt", json=body)
    assert answer.status_code == 503
    told = answer.json()
    assert (told["kind"], told["retry"]) == ("ModelNotReadyError", True)
    assert "still loading" in told["error"]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"label": "car"}, 400, "nothing was pointed at"),
        ({"label": "boat", "points": [{"x": 1, "y": 1}]}, 400, "'boat'"),
        ({"label": "car", "box": [1, 2, 3]}, 422, ""),
        ({"label": "car", "points": [{"x": "nan", "y": 1}]}, 422, ""),
        ({"label": "car", "words": "x" * 501}, 422, ""),
        ({"label": "car", "model": "other"}, 422, ""),
    ],
)
def test_ux_09_prompts_that_mean_nothing_are_told(
    somebody: Somebody, body: dict[str, object], status: int, told: str
) -> None:
    key = somebody.next()["task"]["key"]
    answer = somebody.client.post(f"/correct/{key}/prompt", json=body)
    assert answer.status_code == status
    assert told in answer.text


def test_ux_09_a_failing_model_is_told_with_an_id(room: CorrectRoom, somebody: Somebody) -> None:
    assert room.model is not None
    room.model.failure = ModelBusyError("too many wait already")
    key = somebody.next()["task"]["key"]
    body = {"label": "car", "points": [{"x": 1, "y": 1}]}
    answer = somebody.client.post(f"/correct/{key}/prompt", json=body)
    assert answer.status_code == 503
    assert answer.json()["id"] == "trouble-1"


def test_ux_09_without_a_model_regions_are_renamed_all_the_same(tmp_path: Path) -> None:
    room = CorrectRoom(tmp_path)
    somebody = Somebody(room)
    page = somebody.client.get("/correct").text
    assert 'data-model="no"' in page
    given = somebody.next()
    assert given["model"] is None
    answer = somebody.client.post(f"/correct/{given['task']['key']}/prompt", json={"label": "car"})
    assert answer.status_code == 400
    assert "no interactive model" in answer.json()["error"]
    assert somebody.accept(given["task"]["key"], shown(given["task"])).status_code == 200


def test_ux_09_the_picture_comes_as_it_lies_in_storage(somebody: Somebody) -> None:
    key = somebody.next()["task"]["key"]
    answer = somebody.client.get(f"/correct/{key}/picture")
    assert answer.content == a_jpeg(0)
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("key", ["1-0000000000000000", "..", "1-../../x", "%2e%2e%2fetc", "0-"])
def test_ux_09_only_tasks_that_wait_have_pictures(somebody: Somebody, key: str) -> None:
    answer = somebody.client.get(f"/correct/{key}/picture")
    assert answer.status_code in {404, 405}


@pytest.mark.parametrize("role", [None, Role.DEVICE])
def test_ux_09_only_who_may_label_is_let_in(room: CorrectRoom, role: Role | None) -> None:
    stranger = Somebody(room, role)
    status = 401 if role is None else 403
    assert stranger.client.get("/correct").status_code == status
    assert stranger.client.post("/correct/next", json={"page": PAGE}).status_code == status
    key = f"1-{room.tasks[0].sample_id}"
    assert stranger.client.get(f"/correct/{key}/picture").status_code == status
    assert stranger.accept(key, a_mask(0)).status_code == status


def test_ux_09_the_page_lists_its_keys_and_runs_no_script_of_its_own(somebody: Somebody) -> None:
    page = somebody.client.get("/correct").text
    for key in ("Enter", "Space", "Tab", "Delete", "Backspace", "Esc"):
        assert f"<kbd>{key}</kbd>" in page
    assert 'role="status"' in page
    assert "onclick" not in page
    assert page.count("<script") == page.count("<script src=") + page.count('type="module" src=')


def test_ux_09_without_a_desk_the_page_says_why_it_is_empty() -> None:
    page = a_client(some_parts()).get("/correct")
    assert page.status_code == 200
    assert "Nothing is corrected here" in page.text


def test_ux_09_no_open_round_is_told(room: CorrectRoom, somebody: Somebody) -> None:
    room.without(*(task.sample_id for task in room.tasks))
    told = somebody.next()
    assert told["task"] is None
    assert told["progress"] == {"round": 1, "done": 0, "total": 0}


def test_ux_09_a_draft_that_cannot_be_read_does_not_stop_the_others(
    room: CorrectRoom, somebody: Somebody
) -> None:
    room.storage.put(room.tasks[0].draft_key, b"no PNG")
    task = somebody.next()["task"]
    assert task["key"] == f"1-{room.tasks[1].sample_id}"


def test_ux_09_the_mark_beside_a_file_means_that_file_alone(
    room: CorrectRoom, somebody: Somebody
) -> None:
    from annotation.folder_exchange import palette_png

    task = somebody.next()["task"]
    somebody.accept(task["key"], shown(task))
    place = room.place(room.tasks[0])
    told = json.loads((place / "correction.json").read_text())
    assert (told["by"], told["seconds"]) == ("tess", 12.5)
    (place / "corrected.png").write_bytes(palette_png(np.zeros_like(a_mask(0)), SMALL_MAP))
    (annotation,) = room.pulled().values()
    assert annotation.annotator != "tess"
    assert annotation.seconds is None
