"""Personal access tokens on a real server: used up in between, revoked, renewed; and restarts."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from lifelong.errors import LabelStudioRefusedError, LabelStudioUnavailableError
from tests.builders import a_mask
from tests.integration_fixtures import EXECUTABLE, TEMPLATE
from tests.label_studio_room import Room

# The SDK reads the answer with a method that pydantic will drop one day.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One of its own: a user has a single personal token, and here it is revoked."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path_factory.mktemp("label-studio-tokens")
    made = LabelStudioServer(
        EXECUTABLE, folder / "data", folder / "documents", folder / "log.txt", template=TEMPLATE
    )
    with made:
        yield made


class Tokens:
    """The user's only personal token; Label Studio shows it whole when it is made, never again."""

    def __init__(self, server: LabelStudioServer) -> None:
        self._server = server
        self.current = self._asked("", None)

    def rotate(self) -> str:
        """Revoke the token and take a new one."""
        self.current = self._asked("rotate/", {"refresh": self.current})
        return self.current

    def _asked(self, path: str, body: object) -> str:
        answer = httpx.post(
            f"{self._server.url}/api/token/{path}",
            json=body,
            headers={"Authorization": f"Token {self._server.token}"},
        )
        assert answer.status_code < 300, answer.text
        told = answer.json()
        return str(told.get("token") or told["refresh"])


@pytest.fixture(scope="module")
def tokens(server: LabelStudioServer) -> Tokens:
    return Tokens(server)


def aged(studio: LabelStudio) -> str:
    """Let the access token be one that ran out a minute ago; returns it."""
    tokens = studio._sdk._client_wrapper._tokens_client
    old = jwt.encode({"exp": time.time() - 60, "token_type": "access"}, "x" * 32)
    tokens._access_token = old
    return old


def test_push_and_pull_go_on_when_the_access_token_has_run_out(
    server: LabelStudioServer, tokens: Tokens, tmp_path: Path
) -> None:
    room = Room(server, tmp_path, token=tokens.current)
    try:
        drafts = room.drafts(3)
        room.exchange.push(drafts[:1])
        old = aged(room.studio)
        tasks = room.exchange.push(drafts)
        assert len({task.task_id for task in tasks}) == 3
        assert room.studio._sdk._client_wrapper._tokens_client._access_token != old
        room.submit(tasks[0], a_mask(0))
        aged(room.studio)
        assert len(room.exchange.pull(tasks).annotations) == 1
    finally:
        room.close()


def test_a_revoked_token_names_the_variable_and_a_new_one_goes_on(
    server: LabelStudioServer, tokens: Tokens, tmp_path: Path
) -> None:
    first = tokens.current
    room = Room(server, tmp_path, token=first)
    try:
        tasks = room.exchange.push(room.drafts(2))
        room.submit(tasks[0], a_mask(0))
        second = tokens.rotate()
        assert second != first
        aged(room.studio)
        with pytest.raises(LabelStudioRefusedError) as caught:
            room.exchange.pull(tasks)
        assert "check the token in A_TOKEN_VARIABLE" in str(caught.value)
        assert first not in str(caught.value)
        with pytest.raises(LabelStudioRefusedError, match="A_TOKEN_VARIABLE"):
            room.exchange.push(room.drafts(3))
    finally:
        room.close()
    again = Room(server, tmp_path, token=second)
    try:
        assert len(again.exchange.pull(tasks).annotations) == 1
        assert again.exchange.push(again.drafts(2)) == tasks
    finally:
        again.close()


def test_a_restart_between_batches_and_pulls_loses_nothing(
    server: LabelStudioServer, tokens: Tokens, tmp_path: Path
) -> None:
    room = Room(server, tmp_path, token=tokens.current)
    try:
        drafts = room.drafts(150)
        real = room.studio.import_tasks
        batches = [0]

        def between(project_id: int, tasks: list[dict[str, object]]) -> None:
            batches[0] += 1
            if batches[0] == 2:
                server.kill()
            real(project_id, tasks)

        room.studio.import_tasks = between  # type: ignore[method-assign,assignment]
        with pytest.raises(LabelStudioUnavailableError):
            room.exchange.push(drafts)
        server.start()
        tasks = room.exchange.push(drafts)
        assert len({task.task_id for task in tasks}) == 150
        project = tasks[0].project_id
        assert len(room.studio.round_tasks(project, 1)) == 150
        assert len([view for view in room.studio.views(project) if view.title == "Next best"]) == 1
        room.submit(tasks[0], a_mask(0))
        server.stop()
        with pytest.raises(LabelStudioUnavailableError):
            room.exchange.pull(tasks)
        with pytest.raises(LabelStudioUnavailableError):
            room.exchange.sort(tasks, [task.sample_id for task in tasks[:0:-1]])
        server.start()
        assert len(room.exchange.pull(tasks).annotations) == 1
        room.exchange.sort(tasks, [task.sample_id for task in tasks[:0:-1]])
    finally:
        server.start()
        room.close()


def test_errors_never_quote_a_token(server: LabelStudioServer) -> None:
    stranger = LabelStudio(server.url, "deadbeef" * 5, 10.0)
    with pytest.raises(LabelStudioRefusedError) as caught:
        stranger.whoami()
    stranger.close()
    assert "deadbeef" not in json.dumps([str(caught.value), repr(caught.value.__cause__)])
