"""The storage contract, TR-07: memory, a folder and an S3 server behave the same.

The S3 store is real HTTP against a server on loopback; TR-03 for the checksums.
"""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from lifelong.errors import (
    ChecksumError,
    ConfigError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.links.storage import Storage, checked_key, open_storage
from lifelong.records.ids import sha256_hex

BUCKET = "cornerloop"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of an S3-compatible server with one bucket."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield url
    server.stop()


def pointed_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment as Sedna sets it for a worker."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("S3_ENDPOINT_URL", url)
    monkeypatch.setenv("ACCESS_KEY_ID", "test")
    monkeypatch.setenv("SECRET_ACCESS_KEY", "test")


@pytest.fixture(params=["memory", "folder", "file url", "s3"])
def storage(request, tmp_path, monkeypatch) -> Storage:
    """The same store, four ways; S3 under a fresh prefix."""
    if request.param == "s3":
        pointed_at(request.getfixturevalue("s3_server"), monkeypatch)
        return open_storage(f"s3://{BUCKET}/runs/{uuid4().hex}")
    if request.param == "memory":
        return open_storage("memory://")
    folder = tmp_path / "a folder, with ünusual signs"
    return open_storage(str(folder) if request.param == "folder" else folder.as_uri())


def test_what_is_put_is_got(storage):
    storage.put("inbox/edge-1/a/image.jpg", b"\x00\xffdata")
    assert storage.get("inbox/edge-1/a/image.jpg") == b"\x00\xffdata"
    assert storage.size("inbox/edge-1/a/image.jpg") == 6
    assert storage.exists("inbox/edge-1/a/image.jpg")


@pytest.mark.parametrize("data", [b"", b"x" * (6 * 2**20)], ids=["empty", "6 MiB"])
def test_objects_of_any_size(storage, data):
    storage.put("models/a.bundle", data)
    assert storage.get("models/a.bundle") == data


def test_a_second_put_replaces_the_object_whole(storage):
    storage.put("rounds/1.json", b"a longer first text")
    storage.put("rounds/1.json", b"short")
    assert storage.get("rounds/1.json") == b"short"


def test_put_if_absent_never_replaces(storage):
    storage.put_if_absent("kb/1.json", b"mine")
    with pytest.raises(ObjectExistsError):
        storage.put_if_absent("kb/1.json", b"theirs")
    assert storage.get("kb/1.json") == b"mine"


def test_what_is_not_there(storage):
    with pytest.raises(ObjectNotFoundError, match="nowhere"):
        storage.get("nowhere/at.all")
    assert storage.size("nowhere/at.all") is None
    assert not storage.exists("nowhere/at.all")
    assert list(storage.keys("nowhere")) == []
    assert storage.folders("nowhere") == []
    storage.delete("nowhere/at.all")


def test_keys_are_sorted_and_keep_their_folders(storage):
    for key in ("inbox/b/2/x", "inbox/a/10/x", "inbox/a/9/x", "inbox2/a/x", "other"):
        storage.put(key, b"1")
    assert list(storage.keys("inbox")) == ["inbox/a/10/x", "inbox/a/9/x", "inbox/b/2/x"]
    assert list(storage.keys("inbox/a")) == ["inbox/a/10/x", "inbox/a/9/x"]
    assert storage.folders("inbox") == ["a", "b"]
    assert storage.folders("inbox/a") == ["10", "9"]


def test_delete_and_move(storage):
    storage.put("inbox/e/s/example.json", b"record")
    storage.move("inbox/e/s/example.json", "inbox/e/s/refused/example.json")
    assert not storage.exists("inbox/e/s/example.json")
    assert storage.get("inbox/e/s/refused/example.json") == b"record"
    storage.delete("inbox/e/s/refused/example.json")
    assert list(storage.keys("inbox")) == []
    with pytest.raises(ObjectNotFoundError):
        storage.move("inbox/e/s/example.json", "elsewhere")


def test_tr_03_a_wrong_checksum_is_an_error(storage):
    storage.put("images/a.jpg", b"picture")
    assert storage.get("images/a.jpg", sha256=sha256_hex(b"picture")) == b"picture"
    with pytest.raises(ChecksumError, match="damaged or replaced"):
        storage.get("images/a.jpg", sha256=sha256_hex(b"pictura"))


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "a/./b", "a\\b", "a\nb"]
)
def test_b5_keys_that_could_climb_out_are_refused(storage, key):
    """Sedna's knowledge base reads and writes outside its folder."""
    with pytest.raises(StorageError, match="storage key"):
        storage.put(key, b"")
    with pytest.raises(StorageError, match="storage key"):
        storage.get(key)


@pytest.mark.parametrize("key", ["a", "a/b.c/d-e_f", "inbox/edge 1/ünusual/..image", "a/b=c"])
def test_ordinary_keys_are_taken(storage, key):
    assert checked_key(key) == key
    storage.put(key, b"1")
    assert storage.get(key) == b"1"
    assert list(storage.keys(key.split("/")[0])) == ([key] if "/" in key else [])


def test_b5_s3_prefixes_are_kept(s3_server, monkeypatch):
    """Sedna's folder upload ignores the destination prefix."""
    pointed_at(s3_server, monkeypatch)
    one, other = uuid4().hex, uuid4().hex
    open_storage(f"s3://{BUCKET}/{one}/deep").put("a/b", b"1")
    assert list(open_storage(f"s3://{BUCKET}/{one}").keys("deep")) == ["deep/a/b"]
    assert list(open_storage(f"s3://{BUCKET}/{other}").keys("deep")) == []


def test_an_s3_server_that_is_not_there_is_unavailable_and_worth_a_retry(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    pointed_at(url, monkeypatch)
    gone = open_storage(f"s3://{BUCKET}")
    for call in (
        lambda: gone.put("a", b""),
        lambda: gone.put_if_absent("a", b""),
        lambda: gone.get("a"),
        lambda: gone.size("a"),
        lambda: list(gone.keys("a")),
        lambda: gone.folders("a"),
        lambda: gone.delete("a"),
    ):
        with pytest.raises(StorageUnavailableError) as raised:
            call()
        assert raised.value.retryable


def test_an_s3_bucket_that_is_not_there_is_an_error_of_ours(s3_server, monkeypatch):
    pointed_at(s3_server, monkeypatch)
    with pytest.raises(StorageError):
        open_storage("s3://no-such-bucket").put("a", b"")


@pytest.mark.parametrize("url", ["ftp://host/x", "s4://bucket"])
def test_a_url_of_no_store_we_know_is_a_configuration_error(url):
    with pytest.raises(ConfigError, match="use a folder"):
        open_storage(url)


def test_a_folder_that_goes_away_and_comes_back(tmp_path):
    """A shared folder that is unmounted is no reason to lose anything."""
    folder = tmp_path / "mount"
    storage = open_storage(str(folder))
    storage.put("a/b", b"1")
    folder.rename(tmp_path / "elsewhere")
    (folder).write_text("a file where the folder was")
    with pytest.raises(StorageError):
        storage.put("a/c", b"2")
    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)
    storage.put("a/c", b"2")
    assert list(storage.keys("a")) == ["a/b", "a/c"]


def test_a_listing_tells_when_an_object_was_written_anew(storage):
    storage.put("edges/a/health.json", b"one")
    storage.put("edges/b/health.json", b"two")
    first = storage.entries("edges")
    assert [(entry.key, entry.size) for entry in first] == [
        ("edges/a/health.json", 3),
        ("edges/b/health.json", 3),
    ]
    assert abs((datetime.now(UTC) - first[0].modified).total_seconds()) < 60
    assert storage.entries("edges") == first
    storage.put("edges/b/health.json", b"TWO!")
    a, b = storage.entries("edges")
    assert a == first[0]
    assert b.mark != first[1].mark
    assert storage.entries("nowhere") == []
