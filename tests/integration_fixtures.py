"""A real Label Studio server for tests that ask for one; started once, stopped at the end."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from annotation.label_studio_server import LabelStudioServer

REPOSITORY = Path(__file__).parents[1]
EXECUTABLE = REPOSITORY / ".venv-label-studio" / "bin" / "label-studio"
TEMPLATE = REPOSITORY / ".cache" / "label-studio-template"


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A running Label Studio that serves local files from its `documents` folder."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path_factory.mktemp("label-studio")
    server = LabelStudioServer(
        EXECUTABLE,
        folder / "data",
        folder / "documents",
        folder / "label-studio.log",
        template=TEMPLATE,
    )
    with server:
        yield server


def personal_token(server: LabelStudioServer) -> str:
    """A new personal access token of the only user."""
    headers = {"Authorization": f"Token {server.token}"}
    answer = httpx.post(f"{server.url}/api/token/", headers=headers, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def access_token(server: LabelStudioServer, personal: str) -> str:
    """What a personal token is changed into; refused if another secret key signed it."""
    asked = {"refresh": personal}
    answer = httpx.post(f"{server.url}/api/token/refresh/", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    access = str(answer.json()["access"])
    assert access
    return access
