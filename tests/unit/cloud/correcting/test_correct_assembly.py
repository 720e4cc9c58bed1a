"""UX-09: `/correct` as `cornerloop serve` puts it together, with the model that is shipped."""

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient

from annotation.class_runs import mask_from_runs, runs_from_mask
from cloud.assembly import open_cloud
from cloud.assist_service.assembly import make_segmenter
from cloud.correcting.assembly import make_desk
from cloud.demo.scenes import draw_scene
from lifelong.config import Config
from lifelong.errors import LabelStudioError, LifelongError
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask
from lifelong.records.rounds import Round, RoundState
from tests.builders import a_pre_annotation, a_round
from tests.correct_room import CorrectRoom
from tests.web_parts import a_client, some_parts

PAGE = "a" * 32
SEED, HEIGHT, WIDTH = 507, 320, 480
CAR_BOX, CAR_CENTRE = (239, 143, 299, 198), (274, 168)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        storage=str(tmp_path / "storage"),
        journal_path=tmp_path / "journal",
        annotation_folder=tmp_path / "people",
    )


@pytest.fixture
def room(config: Config, tmp_path: Path) -> CorrectRoom:
    """A round with one street in storage, and the tasks in the folder that `config` names."""
    cloud = open_cloud(config)
    scene = draw_scene(SEED, "clear", HEIGHT, WIDTH)
    draft = a_pre_annotation(0, height=HEIGHT, width=WIDTH, regions=())
    cloud.storage.put(draft.image_key, jpeg_from_image(scene.image))
    cloud.storage.put(draft.mask_key, png_from_mask(np.zeros_like(scene.mask)))
    return CorrectRoom(tmp_path, drafts=[draft], storage=cloud.storage, label_map=cloud.label_map)


@pytest.fixture
def client(config: Config, room: CorrectRoom) -> Iterator[TestClient]:
    segmenter = make_segmenter(config)
    desk = make_desk(open_cloud(config), lambda: (room.round,), segmenter)
    yield a_client(some_parts(correction_desk=desk))
    segmenter.close()


@pytest.mark.slow
def test_ux_09_a_click_is_answered_by_the_model_that_is_shipped(
    client: TestClient, room: CorrectRoom
) -> None:
    task = client.post("/correct/next", json={"page": PAGE}).json()["task"]
    body = {"label": "car", "points": [{"x": CAR_CENTRE[0], "y": CAR_CENTRE[1]}]}
    answer = client.post(f"/correct/{task['key']}/prompt", json=body)
    deadline = time.monotonic() + 120
    while answer.status_code == 503 and time.monotonic() < deadline:  # it is loading, and says so
        assert answer.json()["kind"] == "ModelNotReadyError"
        time.sleep(0.5)
        answer = client.post(f"/correct/{task['key']}/prompt", json=body)
    found = mask_from_runs(base64.b64decode(answer.json()["mask"]), HEIGHT, WIDTH, "answer") > 0
    car = np.zeros_like(found)
    x0, y0, x1, y1 = CAR_BOX
    truth = draw_scene(SEED, "clear", HEIGHT, WIDTH).mask == CITYSCAPES.id_of("car")
    car[y0:y1, x0:x1] = truth[y0:y1, x0:x1]
    assert (found & car).sum() / (found | car).sum() > 0.6

    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[found] = CITYSCAPES.id_of("car")
    query = {"page": PAGE, "submission": str(uuid4()), "seconds": "4"}
    handed = client.post(
        f"/correct/{task['key']}/accept", params=query, content=runs_from_mask(mask)
    )
    assert handed.json() == {"outcome": "taken"}
    (annotation,) = room.pulled().values()
    assert np.array_equal(mask_from_png(room.storage.get(annotation.mask_key), "mask"), mask)


def test_ux_09_a_round_that_is_over_asks_nobody(config: Config, room: CorrectRoom) -> None:
    over: Round = replace(room.round, state=RoundState.TRAINING)
    desk = make_desk(open_cloud(config), lambda: (a_round(), over), None)
    assert desk.next("p", "tess") is None
    assert desk.progress().round_number is None


def test_ux_09_a_label_studio_that_is_away_is_told_and_asked_again(
    config: Config, room: CorrectRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORNERLOOP_LABEL_STUDIO_TOKEN", "t" * 40)
    away = config.model_copy(
        update={
            "annotation_folder": None,
            "label_studio": config.label_studio.model_copy(
                update={"url": "http://127.0.0.1:9", "timeout_seconds": 2.0}
            ),
        }
    )
    desk = make_desk(open_cloud(away), lambda: (room.round,), None)
    for _ in range(2):
        with pytest.raises(LabelStudioError) as failure:
            desk.next("p", "tess")
        error: LifelongError = failure.value
        assert error.retryable
