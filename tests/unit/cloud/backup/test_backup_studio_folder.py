"""OPS-07: the data folder of our own Label Studio in a backup, while its server writes."""

import fcntl
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from annotation.label_studio_server import DATABASE, LOCK, SECRETS
from cloud.backup.parts import storage_part
from cloud.backup.records import read_record
from cloud.backup.restoring import restore
from cloud.backup.studio_folder import NAME, StudioFolder, studio_folder_part
from cloud.backup.writing import back_up, open_place
from cloud.cli import app
from cloud.own_label_studio import is_ours
from cloud.releasing.releases import Releases
from lifelong.config import load_config
from lifelong.errors import ConfigError, StorageUnavailableError
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import open_storage


def a_folder(folder: Path, *, port: int = 8080) -> Path:
    """As `cornerloop label-studio` leaves one, with a database of two tables that agree."""
    for key, text in (
        (".env", "SECRET_KEY=abc"),
        (SECRETS, json.dumps({"token": "t", "port": str(port)})),
        ("media/upload/1/a.jpg", "a picture"),
        ("media/export/1.json", "a snapshot"),
        ("export/copy.json", "a copy of an export"),
        ("server.log", "lines"),
        (LOCK, "4711"),
    ):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(text)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.executescript(
            "CREATE TABLE task (id INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT);"
            "CREATE TABLE annotation (id INTEGER PRIMARY KEY, task INTEGER);"
        )
    return folder


def add(database: sqlite3.Connection, data: str) -> None:
    """One task and its annotation, or none of both."""
    with database:
        made = database.execute("INSERT INTO task (data) VALUES (?)", (data,)).lastrowid
        database.execute("INSERT INTO annotation (task) VALUES (?)", (made,))


def counted(path: Path) -> tuple[int, int]:
    """Rows of both tables in a sound database."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        one = database.execute("SELECT count(*) FROM task").fetchone()[0]
        other = database.execute("SELECT count(*) FROM annotation").fetchone()[0]
        return int(one), int(other)


def copied(folder: Path, out: Path) -> Path:
    data = StudioFolder(folder).read(DATABASE)
    assert data is not None
    out.write_bytes(data)
    return out


def test_ops_07_a_copy_of_a_database_that_is_written_to_is_one_state_of_it(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data")
    allowed, wrote = threading.Semaphore(0), threading.Semaphore(0)
    rounds, at_once = 5, 40

    def work() -> None:
        with closing(sqlite3.connect(folder / DATABASE, timeout=60.0)) as database:
            for _ in range(rounds * at_once):
                allowed.acquire()
                add(database, "x" * 5_000)
                wrote.release()

    person = threading.Thread(target=work)
    person.start()
    seen = []
    for number in range(rounds):
        allowed.release(at_once)
        assert wrote.acquire(timeout=60)  # others are written while the copy is made
        seen.append(counted(copied(folder, tmp_path / f"copy-{number}")))
    person.join(60)
    assert all(tasks == annotations > 0 for tasks, annotations in seen)
    assert seen == sorted(seen)


def test_ops_07_what_lies_beside_the_database_file_is_in_the_copy(tmp_path: Path) -> None:
    """With a write-ahead log, the file itself lacks what was written last."""
    folder = a_folder(tmp_path / "data")
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        add(database, "the newest")
        assert b"the newest" not in (folder / DATABASE).read_bytes()
        copy = copied(folder, tmp_path / "copy")
        assert counted(copy) == (1, 1)
        keys = [found.key for found in StudioFolder(folder).listing(print)]
        assert not [key for key in keys if key.startswith(f"{DATABASE}-")]
    assert b"the newest" in copy.read_bytes()


def test_ops_07_what_was_deleted_there_is_not_in_the_copy(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data")
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("PRAGMA secure_delete = OFF")
        add(database, "somebody's name")
        with database:
            database.execute("DELETE FROM task")
    assert b"somebody's name" in (folder / DATABASE).read_bytes()
    assert b"somebody's name" not in copied(folder, tmp_path / "copy").read_bytes()


def test_ops_07_the_folder_comes_back_for_its_owner_only(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data")
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        add(database, "a task")
    storage, place = open_storage(str(tmp_path / "storage")), open_place(
        str(tmp_path / "copy"), for_writing=True
    )  # fmt: skip
    storage.put("masks/a", b"a")
    done = back_up(place, storage, [storage_part(storage), studio_folder_part(folder)], now=utc_now)
    keys = [item.key for item in done.record.items if item.part == NAME]
    assert keys[0] == DATABASE  # what names files is read before them, and comes back last
    assert set(keys) == {DATABASE, ".env", SECRETS, "media/upload/1/a.jpg", "media/export/1.json"}
    again = back_up(
        place, storage, [storage_part(storage), studio_folder_part(folder)], now=utc_now
    )
    assert again.copied == 0  # the copy of a database at rest is the same to the byte

    new, there = open_storage(str(tmp_path / "new")), tmp_path / "there"
    releases = Releases(new, Journal(tmp_path / "journal", "cloud"), utc_now)
    parts = [storage_part(new), studio_folder_part(there)]
    restore(place, read_record(place), new, parts, releases, completes=False, now=utc_now)
    assert counted(there / DATABASE) == (1, 1)
    for key in keys:
        assert (there / key).stat().st_mode & 0o777 == 0o600
        if key != DATABASE:
            assert (there / key).read_bytes() == (folder / key).read_bytes()


def test_ops_07_a_database_is_not_put_under_a_running_server(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data")
    data = StudioFolder(folder).read(DATABASE)
    assert data is not None
    (folder / f"{DATABASE}-journal").write_bytes(b"of another database")
    with (folder / LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="stop it, then restore"):
            StudioFolder(folder).write(DATABASE, data)
    StudioFolder(folder).write(DATABASE, data)
    assert not (folder / f"{DATABASE}-journal").exists()


def test_ops_07_a_damaged_database_is_told(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "data")
    (folder / DATABASE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(StorageUnavailableError, match="cannot be copied"):
        StudioFolder(folder).read(DATABASE)


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8081", False),
        ("http://studio.example:8080", False),
    ],
)
def test_ops_07_whose_label_studio_it_is(tmp_path: Path, url: str, ours: bool) -> None:
    a_folder(tmp_path / "label-studio")
    config = tmp_path / "config.yaml"
    config.write_text(f"storage: {tmp_path}/storage\nlabel_studio:\n  url: {url}\n")
    assert is_ours(load_config(config), config) is ours


def test_ops_07_our_own_label_studio_is_in_the_backup_while_it_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its API and a token; somebody else's that is down is told, with exit code 1."""
    monkeypatch.delenv("CORNERLOOP_LABEL_STUDIO_TOKEN", raising=False)
    live, new = tmp_path / "live", tmp_path / "new"
    a_folder(live / "label-studio", port=9)
    text = (
        "storage: {0}/storage\njournal_path: {0}/journal\n"
        "label_studio:\n  url: http://127.0.0.1:9\n"
    )
    config = live / "config.yaml"
    config.write_text(text.format(live))
    open_storage(str(live / "storage")).put("masks/a", b"a")
    ran = CliRunner().invoke(app, ["backup", str(tmp_path / "copy"), "-c", str(config), "--json"])
    assert ran.exit_code == 0, ran.output
    new.mkdir()
    (new / "config.yaml").write_text(config.read_text().replace(str(live), str(new)))
    ran = CliRunner().invoke(
        app, ["restore", str(tmp_path / "copy"), "-c", str(new / "config.yaml")]
    )
    assert ran.exit_code == 0, ran.output
    assert counted(new / "label-studio" / DATABASE) == (0, 0)

    (live / "label-studio" / SECRETS).unlink()  # not one that was run from here
    other = tmp_path / "other"
    ran = CliRunner().invoke(app, ["backup", str(other), "-c", str(config)])
    assert ran.exit_code == 1 and "not in it: label-studio: " in ran.output
