"""ANN-01 on a real server: settings, pictures from a bucket, a model and webhooks, by API alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from annotation.label_studio_server import LabelStudioServer
from annotation.labeling_config import labeling_config
from annotation.project_settings import BACKEND_TITLE, SETTINGS
from annotation.webhooks import HINT_PATH, SECRET_HEADER
from lifelong.errors import ProjectMismatchError
from lifelong.links.storage import open_storage
from lifelong.records.label_map import label_map_of
from tests.builders import a_jpeg
from tests.contract.test_storage import BUCKET, pointed_at, s3_server
from tests.label_studio_room import SECRET, Room

pytestmark = pytest.mark.integration

__all__ = ["s3_server"]


@pytest.fixture
def server(label_studio_server: LabelStudioServer) -> LabelStudioServer:
    label_studio_server.start()
    return label_studio_server


@pytest.fixture
def room(server: LabelStudioServer, tmp_path: Path) -> Iterator[Room]:
    made = Room(server, tmp_path)
    yield made
    made.close()


class Model(BaseHTTPRequestHandler):
    """A model that can only say that it is there."""

    def do_GET(self) -> None:
        self._answer(b'{"status": "UP", "model_class": "Stub"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked().append(self.path)
        self._answer(b'{"model_version": "stub-1", "results": []}')

    def asked(self) -> list[str]:
        return self.server.asked  # type: ignore[attr-defined, no-any-return]

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def a_model() -> Iterator[tuple[str, list[str]]]:
    """Address of a running stub, and what is asked of it."""
    stub = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    stub.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=stub.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{stub.server_address[1]}", stub.asked  # type: ignore[attr-defined]
    finally:
        stub.shutdown()
        thread.join()
        stub.server_close()


def test_ann_01_settings_for_annotators_are_made_and_repaired(room: Room) -> None:
    project = room.exchange.push(room.drafts(1))[0].project_id

    def told() -> dict[str, object]:
        found = room.studio.settings(project)
        return {name: found[name] for name in SETTINGS}

    assert told() == dict(SETTINGS)
    assert room.studio.shown_version(project) == "round-1"
    spoilt = {"show_skip_button": False, "sampling": "Uncertainty sampling"}
    room.api("PATCH", f"/api/projects/{project}/", spoilt)
    room.again().push(room.drafts(1))
    assert told() == dict(SETTINGS)


def test_ann_01_served_pictures_arrive(room: Room) -> None:
    task = room.exchange.push(room.drafts(1))[0]
    shown = room.api("GET", f"/api/tasks/{task.task_id}/")["data"]["image"]
    answer = httpx.get(
        f"{room.server.url}{shown}", headers={"Authorization": f"Token {room.server.token}"}
    )
    assert answer.content == a_jpeg(0)


def test_ann_01_pictures_of_a_bucket_arrive_through_label_studio(
    server: LabelStudioServer,
    s3_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pointed_at(s3_server, monkeypatch)
    monkeypatch.setenv("SECRET_ACCESS_KEY", "a-secret-that-is-never-told")
    storage = open_storage(f"s3://{BUCKET}/{uuid4().hex}/room")
    room = Room(server, tmp_path, storage=storage)
    try:
        task = room.exchange.push(room.drafts(2))[1]
        room.exchange.push(room.drafts(2))
        room.again().push(room.drafts(2))
        (bucket,) = room.studio.buckets(task.project_id)
        assert (bucket.endpoint, bucket.presign, bucket.syncs) == (s3_server, False, False)
        raw = room.api("GET", f"/api/tasks/{task.task_id}/?resolve_uri=false")["data"]["image"]
        assert raw == f"{storage.url}/images/{task.sample_id}.jpg"
        shown = room.api("GET", f"/api/tasks/{task.task_id}/")["data"]["image"]
        assert shown.startswith(f"/tasks/{task.task_id}/resolve/")
        answer = httpx.get(
            f"{server.url}{shown}",
            headers={"Authorization": f"Token {server.token}"},
            follow_redirects=False,
        )
        assert answer.status_code == 200, "handed on, not redirected: browsers need no way to S3"
        assert answer.content == a_jpeg(1)
        # Somebody moved it; the next push of a process puts it right.
        room.api("PATCH", f"/api/storages/s3/{bucket.storage_id}", {"presign": True})
        room.exchange.push(room.drafts(2))
        assert [one.presign for one in room.studio.buckets(task.project_id)] == [False]
        told = "".join(path.read_text() for path in room.journal_folder.rglob("*.jsonl"))
        assert "task.pushed" in told
        assert "a-secret-that-is-never-told" not in told
    finally:
        room.close()


def test_ann_01_a_model_is_connected_once_after_the_drafts(room: Room) -> None:
    with a_model() as (url, asked):
        room.exchange = room.again(ml_backend=url)
        task = room.exchange.push(room.drafts(2))[0]
        room.again().push(room.drafts(2))
        (backend,) = room.studio.backends(task.project_id)
        assert (backend.url, backend.title, backend.is_interactive) == (url, BACKEND_TITLE, True)
        assert "/setup" in asked
        assert room.studio.shown_version(task.project_id) == "round-1"
        room.api("GET", f"/api/tasks/{task.task_id}/")
        assert "/predict" not in asked, "drafts are ours: opening a task asks no model"
        assert room.studio.round_tasks(task.project_id, 1)[0].submitted == 0


def test_ann_01_a_model_that_is_down_does_not_keep_drafts_from_people(room: Room) -> None:
    with a_model() as (url, _):
        pass
    room.exchange = room.again(ml_backend=url)
    tasks = room.exchange.push(room.drafts(2))
    assert len(tasks) == 2
    (event,) = room.events("project.refused")
    assert f"interactive model {url} is not connected" in event["reason"]


def test_ann_01_webhooks_are_registered_once_and_repaired(room: Room) -> None:
    room.exchange = room.again(webhook_url="http://127.0.0.1:9")
    project = room.exchange.push(room.drafts(1))[0].project_id
    room.exchange.push(room.drafts(1))
    (hook,) = room.studio.webhooks(project)
    assert hook.url == f"http://127.0.0.1:9{HINT_PATH}"
    assert hook.headers == {SECRET_HEADER: SECRET}
    room.api("PATCH", f"/api/webhooks/{hook.webhook_id}/", {"is_active": False, "headers": {}})
    room.exchange.push(room.drafts(1))
    assert room.studio.webhooks(project) == [hook]
    room.again(webhook_url="http://127.0.0.1:10").push(room.drafts(1))
    assert [one.url for one in room.studio.webhooks(project)] == [f"http://127.0.0.1:10{HINT_PATH}"]
    room.again(webhook_url="").push(room.drafts(1))
    assert room.studio.webhooks(project) == []


def test_ann_01_a_project_that_no_longer_fits_is_refused_with_the_difference(room: Room) -> None:
    project = room.exchange.push(room.drafts(1))[0].project_id
    other = label_map_of([("road", (1, 2, 3)), ("boat", (4, 5, 6))])
    room.studio.set_label_config(project, labeling_config(other))
    with pytest.raises(ProjectMismatchError) as caught:
        room.again().push(room.drafts(2))
    assert "boat" in str(caught.value)
    assert "'car'" in str(caught.value)
    assert room.section.project in str(caught.value)
