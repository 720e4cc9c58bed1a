"""INT-20 on a real Label Studio: uploads and local files, by a legacy and by a personal token."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from annotation.assist.access import ProjectAccess, Studio
from annotation.assist.pictures import Pictures
from annotation.label_studio_server import LabelStudioServer
from lifelong.errors import PictureAccessError
from lifelong.records.ids import sha256_hex
from lifelong.sections.assist import AssistSection
from tests.integration_fixtures import EXECUTABLE, TEMPLATE

pytestmark = pytest.mark.integration

CONFIG = '<View><Image name="image" value="$image"/></View>'


def a_png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


UPLOADED, LOCAL = a_png(1), a_png(2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One of its own: here an organisation switches its legacy tokens off."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path_factory.mktemp("label-studio-pictures")
    made = LabelStudioServer(
        EXECUTABLE, folder / "data", folder / "documents", folder / "log.txt", template=TEMPLATE
    )
    with made:
        yield made


class Room:
    """A project with an upload and a local file, and both kinds of token."""

    def __init__(self, server: LabelStudioServer) -> None:
        self.server = server
        self.legacy = server.token
        project = self.api(
            "POST", "/api/projects", json={"title": "Pictures", "label_config": CONFIG}
        )
        self.project = int(project["id"])
        files = {"file": ("my cat.png", UPLOADED, "image/png")}
        self.api("POST", f"/api/projects/{self.project}/import", files=files)
        found = self.api("GET", f"/api/tasks?project={self.project}&fields=all")
        task = (found["tasks"] if isinstance(found, dict) else found)[0]
        self.task_id, self.upload = int(task["id"]), str(task["data"]["image"])
        folder = server.documents_root / "set 1"
        folder.mkdir()
        (folder / "a+b.png").write_bytes(LOCAL)
        storage = {"project": self.project, "path": str(folder), "use_blob_urls": True}
        self.api("POST", "/api/storages/localfiles/", json=storage)
        self.local = "/data/local-files/?d=set%201/a%2Bb.png"
        self.personal = str(self.api("POST", "/api/token/")["token"])

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = httpx.request(
            method,
            f"{self.server.url}{path}",
            headers={"Authorization": f"Token {self.legacy}"},
            timeout=240,
            **kwargs,
        )
        assert answer.status_code < 300, f"{answer.status_code} {answer.text[:500]}"
        return answer.json()

    def digest(self, address: str, token: str, *, root: Path | None = None, setup: str = "") -> str:
        """As the model would get it, in a process that knows nothing yet."""
        pictures = Pictures(
            Studio(url=self.server.url, token=token, local_files_root=root), AssistSection()
        )
        hostname = self.server.url.replace("127.0.0.1", "localhost")
        project = ProjectAccess(hostname=hostname, access_token=setup)
        found = pictures.picture(address, task_id=self.task_id, project=project)
        digest = found.digest
        assert found.pixels().shape == (30, 40, 3)
        return digest


@pytest.fixture(scope="module")
def room(server: LabelStudioServer) -> Room:
    return Room(server)


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_int_20_an_upload_comes_with_either_token(room: Room, kind: str) -> None:
    token = getattr(room, kind)
    assert room.upload.startswith("/data/upload/")
    assert room.digest(room.upload, token) == sha256_hex(UPLOADED)
    absolute = room.server.url.replace("127.0.0.1", "localhost") + room.upload
    assert room.digest(absolute, token) == sha256_hex(UPLOADED)


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_int_20_a_local_file_comes_with_either_token_and_from_disk_without(
    room: Room, kind: str
) -> None:
    assert room.digest(room.local, getattr(room, kind)) == sha256_hex(LOCAL)
    root = room.server.documents_root
    assert room.digest(room.local, "", root=root) == sha256_hex(LOCAL)


def test_ops_03_what_label_studio_lacks_is_said_in_words(room: Room) -> None:
    with pytest.raises(PictureAccessError, match="has no such upload"):
        room.digest(f"/data/upload/{room.project}/gone.png", room.legacy)
    with pytest.raises(PictureAccessError, match="Cloud Storage"):
        room.digest("/data/local-files/?d=elsewhere/a.png", room.legacy)
    with pytest.raises(PictureAccessError, match="knows no storage with that bucket"):
        room.digest("s3://nobody-s-bucket/a.png", room.legacy)
    with pytest.raises(PictureAccessError, match=r"takes none|does not take"):
        room.digest(room.upload, "deadbeef" * 5)


def test_int_20_where_legacy_tokens_are_off_a_personal_one_goes_on(room: Room) -> None:
    """The token that Label Studio sends to /setup is a legacy one, and good for nothing then."""
    room.api("POST", "/api/jwt/settings", json={"legacy_api_tokens_enabled": False})
    assert room.digest(room.upload, room.personal, setup=room.legacy) == sha256_hex(UPLOADED)
    assert room.digest(room.local, room.personal, setup=room.legacy) == sha256_hex(LOCAL)
    with pytest.raises(PictureAccessError) as caught:
        room.digest(room.upload, "", setup=room.legacy)
    said = str(caught.value)
    assert "legacy tokens are switched off" in said
    assert "the token that Label Studio sent to /setup" in said
    assert "CORNERLOOP_LABEL_STUDIO_TOKEN" in said
    assert room.legacy not in said
