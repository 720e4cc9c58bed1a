"""Interactive annotation beside a real Label Studio, through its own API."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.brush_rle import mask_from_rle
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from tests.assist_room import CAR_CENTRE, HEIGHT, WIDTH, a_project, assist_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Asked:
    """A connected project, and Label Studio's API as the editor uses it."""

    def __init__(
        self, server: LabelStudioServer, project: int, tasks: list[int], assist: str, folder: Path
    ) -> None:
        self.server, self.project, self.tasks = server, project, tasks
        self.assist, self.folder = assist, folder
        self.http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Token {server.token}"}, timeout=240
        )

    @property
    def backend(self) -> dict[str, Any]:
        (found,) = self.http.get("/api/ml/", params={"project": self.project}).json()
        return dict(found)

    def prompt(self, *prompts: dict[str, Any]) -> dict[str, Any]:
        """What the editor gets for prompts on the first task."""
        answer = self.http.post(
            f"/api/ml/{self.backend['id']}/interactive-annotating",
            json={"task": self.tasks[0], "context": {"result": list(prompts)}},
        )
        return dict(answer.json())

    def state(self) -> dict[str, Any]:
        password = (self.folder / "assist-password").read_text().strip()
        return dict(httpx.get(f"{self.assist}/state", auth=("cornerloop", password)).json())


@pytest.fixture(scope="module")
def asked(
    label_studio_server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    label_studio_server.start()
    folder = tmp_path_factory.mktemp("asked")
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        project, tasks = a_project(label_studio_server, studio, folder, streets=3)
        gone = {"data": {"photo": f"/data/local-files/?d={folder.name}/gone.png"}}
        studio.import_tasks(project, [gone])
    with assist_process(folder, label_studio_server, project) as address:
        asked = Asked(label_studio_server, project, tasks, address, folder)
        with asked.http:
            yield asked


def a_click() -> dict[str, Any]:
    return {
        "id": "a", "type": "keypointlabels", "from_name": "click", "to_name": "photo",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
        "value": {"x": CAR_CENTRE[0] / WIDTH * 100, "y": CAR_CENTRE[1] / HEIGHT * 100,
                  "width": 0.2, "keypointlabels": ["car"]},
    }  # fmt: skip


def test_sec_03_served_alone_it_tells_strangers_nothing_of_itself(asked: Asked) -> None:
    answer = httpx.get(f"{asked.assist}/openapi.json")
    assert answer.status_code == 404
    assert "server" not in answer.headers


def test_int_01_label_studio_is_connected_with_password_and_shows_the_version(
    asked: Asked,
) -> None:
    """INT-01, SEC-01: by `--connect`; the password is not in the address that everybody reads."""
    backend = asked.backend
    assert backend["readable_state"] == "Connected" and backend["is_interactive"]
    assert backend["model_version"].startswith("tiny_sam-")
    assert backend["basic_auth_user"] == "cornerloop" and "@" not in backend["url"]


def test_int_02_a_click_through_label_studio_is_the_mask_under_it(asked: Asked) -> None:
    """INT-02, INT-20: the picture is one of Label Studio's local files."""
    (region,) = asked.prompt(a_click())["data"]["result"]
    mask = mask_from_rle(region["value"]["rle"], HEIGHT, WIDTH, "Label Studio")
    assert mask[CAR_CENTRE[1], CAR_CENTRE[0]] and 200 < mask.sum() < 10_000
    assert region["value"]["brushlabels"] == ["car"]


def test_int_18_words_find_objects_in_whole_tasks_and_a_lost_picture_spoils_none(
    asked: Asked,
) -> None:
    """INT-18, INT-19: "Retrieve predictions" with the words that the project looked for last."""
    text = {"id": "t", "type": "textarea", "from_name": "words", "to_name": "photo",
            "value": {"text": ["cars"]}}  # fmt: skip
    assert asked.prompt(text)["data"]["result"]
    asked.http.post(
        "/api/dm/actions",
        params={"id": "retrieve_tasks_predictions", "project": asked.project},
        json={"selectedItems": {"all": True, "excluded": []}},
    ).raise_for_status()
    found = asked.http.get("/api/predictions/", params={"project": asked.project}).json()
    with_regions = {one["task"] for one in found if one["result"]}
    assert with_regions == set(asked.tasks)
    assert len(found) == len(asked.tasks)  # none for the task whose picture is lost
    assert any("gone.png" in trouble["words"] for trouble in asked.state()["troubles"])


def test_int_09_a_submitted_annotation_prepares_the_next_pictures(asked: Asked) -> None:
    """INT-09: by Label Studio's own webhook, which has no password."""
    asked.http.post(f"/api/tasks/{asked.tasks[0]}/annotations/", json={"result": []})
    deadline = time.monotonic() + 120
    while not any(item["kind"] == "embed" for item in asked.state()["work"]):
        assert time.monotonic() < deadline, asked.state()
        time.sleep(0.2)


def test_ann_03_what_an_open_prompt_left_in_an_annotation_is_no_region(asked: Asked) -> None:
    """ANN-03: submitted with an open suggestion, the editor keeps the box instead of the answer;
    painted, it would be a car from corner to corner."""
    (region,) = asked.prompt(a_click())["data"]["result"]
    left = {"id": "p", "type": "rectanglelabels", "from_name": "frame", "to_name": "photo",
            "original_width": WIDTH, "original_height": HEIGHT,
            "value": {"x": 0, "y": 0, "width": 90, "height": 90, "rectanglelabels": ["car"]},
            }  # fmt: skip
    task = asked.tasks[1]
    asked.http.post(f"/api/tasks/{task}/annotations/", json={"result": [region, left]})
    with closing(LabelStudio(asked.server.url, asked.server.token, 60.0)) as studio:
        (full,) = studio.full_tasks(asked.project, [task])
        alone = studio.task(task)
    for found in (full, alone):
        assert found is not None
        assert [r["id"] for r in found.annotations[0].regions] == [region["id"]]


def test_sec_01_without_the_password_nothing_but_its_health_is_told(asked: Asked) -> None:
    """SEC-01: on the running server."""
    assert httpx.get(f"{asked.assist}/health").json()["status"] == "UP"
    for method, path in (("POST", "predict"), ("POST", "setup"), ("GET", "state"), ("GET", "")):
        assert httpx.request(method, f"{asked.assist}/{path}").status_code == 401


def test_ops_06_no_password_token_or_picture_is_in_the_log(asked: Asked) -> None:
    """OPS-03 asks for words, SEC-01 for silence about secrets."""
    log = (asked.folder / "assist.log").read_text()
    assert (asked.folder / "assist-password").read_text().strip() not in log
    assert asked.server.token not in log and "base64" not in log and '"rle"' not in log


def test_int_16_a_model_without_weights_says_so_in_label_studio(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    """INT-16, INT-17, OPS-03: beside the model's address, with what to do; a click waits for
    nothing that will not come."""
    label_studio_server.start()
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        project, tasks = a_project(label_studio_server, studio, tmp_path)
        words = ("model_name=sam", "sam_config=vit_b", f"sam_checkpoint_file={tmp_path}/no.pth")
        with assist_process(
            tmp_path, label_studio_server, project, *words, state="failed"
        ) as address:
            asked = Asked(label_studio_server, project, tasks, address, tmp_path)
            version = asked.backend["model_version"]
            assert version.startswith("sam_vit_b (failed") and "no.pth" in version
            begin = time.monotonic()
            assert asked.prompt(a_click())["data"]["error"]["kind"] == "ModelLoadError"
            assert time.monotonic() - begin < 30
            asked.http.close()
