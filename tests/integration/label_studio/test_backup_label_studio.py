"""OPS-07: Label Studio's database is lost, comes back from a backup, and the open round goes on."""

import shutil
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from annotation.label_studio_server import DATABASE, LabelStudioServer
from cloud.annotators.lost_work import LostWork
from cloud.cli import app
from cloud.rounds import Rounds
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState
from tests.builders import a_mask
from tests.integration_fixtures import EXECUTABLE, TEMPLATE, access_token, personal_token
from tests.label_studio_room import Room

# The SDK reads the answer with a method that pydantic will drop one day.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated"),
]
VARIABLE = "CORNERLOOP_LABEL_STUDIO_TOKEN"


def a_server(folder: Path) -> LabelStudioServer:
    """As `cornerloop label-studio` runs one for a configuration in that folder."""
    data = folder / "label-studio"
    return LabelStudioServer(EXECUTABLE, data, folder, data / "server.log", template=TEMPLATE)


def ran(*words: str) -> None:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output


def test_ops_07_our_own_label_studio_is_lost_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same tokens, task ids, pictures and annotations; what was open is finished afterwards."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path / "loop"
    folder.mkdir()
    server = a_server(folder)
    storage = open_storage(str(folder / "storage"))
    config, copy = folder / "config.yaml", str(tmp_path / "copy")
    with server:
        monkeypatch.setenv(VARIABLE, server.token)
        _configure(config, server, tmp_path)
        room = Room(server, tmp_path, storage=storage)
        tasks = room.exchange.push(room.drafts(2))
        room.submit(tasks[0], a_mask(7))
        (before,) = room.exchange.pull(tasks).annotations
        mask = storage.get(before.mask_key)
        picture = room.studio.full_tasks(tasks[0].project_id, [tasks[0].task_id])[0].data["image"]
        shown = _shown(server, str(picture))
        personal = personal_token(server)
        ran("backup", copy, "-c", str(config))  # while the server runs
        room.close()
    token, url = server.token, server.url
    settings = config.read_text()
    shutil.rmtree(folder)

    folder.mkdir()
    config.write_text(settings)
    ran("restore", copy, "-c", str(config))
    assert (folder / "label-studio" / DATABASE).stat().st_mode & 0o777 == 0o600
    storage.delete(before.mask_key)  # it is to come from Label Studio
    with a_server(folder) as again:
        assert (again.token, again.url) == (token, url)
        room = Room(again, tmp_path, storage=storage)
        pulled = room.exchange.pull(tasks)
        assert [one.mask_sha256 for one in pulled.annotations] == [before.mask_sha256]
        assert storage.get(before.mask_key) == mask and not pulled.skips
        assert [t.task_id for t in room.exchange.push(room.drafts(2))] == [t.task_id for t in tasks]
        assert _shown(again, str(picture)) == shown
        access_token(again, personal)  # the secret key in `.env` came back too
        room.submit(tasks[1], a_mask(8))
        after = room.exchange.pull(tasks)
        assert len(after.annotations) == 2
        room.close()


def _shown(server: LabelStudioServer, address: str) -> bytes:
    """A picture as an annotator's browser gets it."""
    answer = httpx.get(
        f"{server.url}{address}", headers={"Authorization": f"Token {server.token}"}, timeout=60
    )
    assert answer.status_code == 200, answer.text[:300]
    return answer.content


def test_ops_07_somebody_elses_label_studio_is_lost_and_the_open_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its API was known: another server gets the round's tasks again, and people's work."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder, copy = tmp_path / "loop", str(tmp_path / "copy")
    folder.mkdir()
    config = folder / "config.yaml"
    storage = open_storage(str(folder / "storage"))
    with _elsewhere(tmp_path / "one", folder) as server:
        monkeypatch.setenv(VARIABLE, server.token)
        _configure(config, server, tmp_path)
        room = Room(server, tmp_path, storage=storage)
        drafts = room.drafts(3)
        tasks = room.exchange.push(drafts)
        room.submit(tasks[0], a_mask(7))
        room.studio.skip_task(tasks[1].task_id)
        (before,) = room.exchange.pull(tasks).annotations
        mask = storage.get(before.mask_key)
        round_ = Round(
            number=RoundNumber(1), state=RoundState.ANNOTATING, drafts=tuple(drafts),
            tasks=tuple(tasks),
        )  # fmt: skip
        Rounds(storage).save(round_)
        ran("backup", copy, "-c", str(config))
        room.close()
    shutil.rmtree(folder)

    folder.mkdir()
    with _elsewhere(tmp_path / "two", folder) as other:
        monkeypatch.setenv(VARIABLE, other.token)
        _configure(config, other, tmp_path)
        room = Room(other, tmp_path, storage=storage)
        room.studio.create_project("somebody else's", "<View></View>", "")  # takes the first id
        ran("restore", copy, "-c", str(config))
        (restored,) = Rounds(storage).all()
        journal = Journal(tmp_path / "journal", "cloud")
        lost = LostWork(storage, room.exchange, lambda: room.studio, journal)
        offered = lost.offer_again(restored)
        assert offered.tasks[0].project_id != restored.tasks[0].project_id
        for _ in range(2):  # work comes back once
            assert lost.offer_again(offered) is offered
        storage.delete(before.mask_key)
        pulled = room.exchange.pull(offered.tasks)
        (after,) = pulled.annotations
        assert storage.get(after.mask_key) == mask
        assert (after.annotator, after.seconds) == (before.annotator, before.seconds)
        assert after.costs[0].classes == before.costs[0].classes
        assert [skip.sample_id for skip in pulled.skips] == [tasks[1].sample_id]
        room.submit(offered.tasks[2], a_mask(8))
        assert len(room.exchange.pull(offered.tasks).annotations) == 2
        room.close()


def _elsewhere(data: Path, documents: Path) -> LabelStudioServer:
    return LabelStudioServer(
        EXECUTABLE, data, documents, data.with_name(f"{data.name}.log"), template=TEMPLATE
    )


def _configure(config: Path, server: LabelStudioServer, tmp_path: Path) -> None:
    settings = {
        "storage": str(config.parent / "storage"),
        "label_studio": {
            "url": server.url,
            "project": f"Room {tmp_path.name}"[:50],
            "local_files_root": str(config.parent),
        },
    }
    config.write_text(yaml.safe_dump(settings))
