"""OPS-03, OPS-04: faults that people told of (D9, D10, D14), made at a real Label Studio.

`cornerloop doctor --json` names each of them with what to do about it.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from annotation import label_studio_server
from annotation.label_studio_server import LabelStudioServer
from cloud.cli import app
from tests.integration_fixtures import EXECUTABLE, TEMPLATE, access_token, personal_token
from tests.label_studio_room import Room

# The SDK reads the answer with a method that pydantic will drop one day.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated"),
]
VARIABLE = "CORNERLOOP_LABEL_STUDIO_TOKEN"


def a_server(folder: Path) -> LabelStudioServer:
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    return LabelStudioServer(
        EXECUTABLE, folder / "data", folder / "documents", folder / "log.txt", template=TEMPLATE
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One of its own: which tokens it takes is changed here."""
    with a_server(tmp_path_factory.mktemp("label-studio-faults")) as made:
        yield made


def a_config(server: LabelStudioServer, room: Room, tmp_path: Path, **section: str) -> Path:
    settings = {
        "storage": str(server.documents_root / tmp_path.name),
        "label_studio": {
            "url": server.url,
            "project": room.section.project,
            "local_files_root": str(server.documents_root),
            **section,
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def room(server: LabelStudioServer, tmp_path: Path) -> Iterator[Room]:
    made = Room(server, tmp_path)
    yield made
    made.close()


def found(
    config: Path, token: str, monkeypatch: pytest.MonkeyPatch, *checks: str
) -> list[dict[str, str]]:
    """What is not well, as `cornerloop doctor --json` tells; never with the token in it."""
    monkeypatch.setenv(VARIABLE, token)
    only = [word for check in checks for word in ("--only", check)]
    ran = CliRunner().invoke(app, ["doctor", "-c", str(config), "--json", *only])
    assert token not in ran.output
    told = json.loads(ran.stdout)
    ill = [
        finding
        for check in told["checks"]
        for finding in check["findings"]
        if finding["level"] != "well"
    ]
    assert ran.exit_code == int(any(one["level"] == "broken" for one in ill))
    return ill


def allow(server: LabelStudioServer, bearer: str, **settings: bool) -> None:
    answer = httpx.post(
        f"{server.url}/api/jwt/settings",
        json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True, **settings},
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=240,
    )
    assert answer.status_code < 300, answer.text


def test_ops_04_d9_a_wrong_token(
    server: LabelStudioServer, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = a_config(server, room, tmp_path)
    assert not found(config, server.token, monkeypatch, "label-studio")
    (one,) = found(config, "0123456789" * 4, monkeypatch, "label-studio")
    assert one["level"] == "broken" and one["where"] == VARIABLE
    assert "Account & Settings" in one["to_do"]


def test_ops_04_d9_one_kind_of_token_where_only_the_other_is_taken(
    server: LabelStudioServer, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = a_config(server, room, tmp_path)
    personal = personal_token(server)
    bearer = access_token(server, personal)
    try:
        allow(server, bearer, legacy_api_tokens_enabled=False)
        assert not found(config, personal, monkeypatch, "label-studio")
        (one,) = found(config, server.token, monkeypatch, "label-studio")
        assert one["level"] == "broken" and one["where"] == VARIABLE
        assert "legacy tokens are switched off there" in one["to_do"]
        assert "make a personal access token" in one["to_do"]
        allow(server, bearer, api_tokens_enabled=False)
        assert not found(config, server.token, monkeypatch, "label-studio")
        (one,) = found(config, personal, monkeypatch, "label-studio")
        assert one["level"] == "broken" and one["where"] == VARIABLE
        assert "Organization > Access Token Settings" in one["to_do"]
    finally:
        httpx.post(
            f"{server.url}/api/jwt/settings",
            json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True},
            headers={"Authorization": f"Token {server.token}"},
            timeout=240,
        )


@pytest.mark.parametrize("fault", ["switched off", "another root"])
def test_ops_04_d10_local_files_are_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """As they are when the variables were forgotten, or name another folder."""
    with a_server(tmp_path) as server:
        room = Room(server, tmp_path)
        room.exchange.push(room.drafts(1))
        config = a_config(server, room, tmp_path)
        assert not found(config, server.token, monkeypatch, "label-studio", "pictures")
        room.close()
    environment = label_studio_server._environment

    def faulty(data: Path, documents: Path) -> dict[str, str]:
        told = environment(data, documents)
        if fault == "another root":
            return told | {"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(data / "cwd")}
        return {name: value for name, value in told.items() if "LOCAL_FILES" not in name}

    monkeypatch.setattr(label_studio_server, "_environment", faulty)
    with a_server(tmp_path) as again:
        assert again.url == server.url
        (one,) = found(config, again.token, monkeypatch, "label-studio", "pictures")
    assert one["level"] == "broken" and "cannot be shown" in one["what"]
    for word in ("SERVING_ENABLED=true", "LOCAL_FILES_DOCUMENT_ROOT", "same path"):
        assert word in one["to_do"]


class _Model(BaseHTTPRequestHandler):
    """As much of an interactive model as Label Studio asks for to connect it."""

    def _say(self) -> None:
        body = json.dumps({"status": "UP", "model_version": "1", "model_class": "A"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._say()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._say()

    def log_message(self, *args: object) -> None:
        return None


@contextmanager
def a_model() -> Iterator[str]:
    """An interactive model that answers until the end of the block."""
    model = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=model.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{model.server_address[1]}"
    finally:
        model.shutdown()
        thread.join()
        model.server_close()


def test_ops_04_d14_a_connected_model_that_is_gone(
    server: LabelStudioServer, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_model() as url:
        room.again(ml_backend=url).push(room.drafts(1))
        project = room.studio.projects_titled(room.section.project)[0].project_id
        assert [one.url for one in room.studio.backends(project)] == [url]
        config = a_config(server, room, tmp_path, ml_backend=url)
        checks = ("configuration", "storage", "label-studio", "project")
        before = found(config, server.token, monkeypatch, *checks)
        assert not [one for one in before if one["where"] == url]
    after = found(config, server.token, monkeypatch, *checks)
    (one,) = [one for one in after if one["where"] == url]
    assert "does not answer" in one["what"]
    assert one["to_do"] == "start it, or clear label_studio.ml_backend"
