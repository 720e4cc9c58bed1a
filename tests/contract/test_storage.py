"""The storage contract, TR-07: memory, a folder and an S3 server behave the same.

The S3 store is real HTTP against a server on loopback; TR-03 for the checksums.
"""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest

from cloud.admissions import Admissions
from cloud.inbox import Inbox
from edge.delivery.outbox import Outbox
from edge.delivery.upload_rules import UploadRules
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from lifelong.errors import (
    ChecksumError,
    ConfigError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.hard_examples import Verdict
from lifelong.links import storage as storage_module
from lifelong.links.journal import Journal
from lifelong.links.sedna import sednas_account
from lifelong.links.storage import S3Account, Storage, checked_key, open_storage
from lifelong.records.ids import sha256_hex
from lifelong.records.wire import to_json
from lifelong.sections.delivery import OutboxSection
from tests.builders import a_frame, a_hard_example, a_prediction
from tests.edge_fixtures import HandClock

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


# -- delivery over every kind of store -----------------------------------------------------------


@pytest.mark.parametrize("confirm", ["read_back", "receipt"])
def test_tr_07_a_delivery_in_parts_is_the_same_over_every_store(storage, tmp_path, confirm):
    """TR-02, TR-03: parts, receipts, prefixes; nothing is left lying about."""
    journal = Journal(tmp_path / "journal", "edge-1")
    outbox = Outbox(OutboxSection(path=tmp_path / "outbox"), journal)
    clock = HandClock()
    rules = UploadRules(part_bytes=400, confirm=confirm)
    uploader = Uploader(
        outbox, storage, journal, Errand("uploads", inline=True), clock=clock, rules=rules
    )
    for seed in range(3):
        verdict = Verdict(is_hard=True, score=0.5, reasons=("test",), scores={})
        outbox.put(a_frame(seed), a_prediction(), verdict)
    kept = {example.sample_id: example for example in outbox.waiting()}
    uploader.drain()
    listed = list(storage.keys("inbox/edge-1"))
    assert all(key.startswith("inbox/edge-1/") for key in listed)
    assert sum("/parts/" in key for key in listed) >= 3
    assert storage.folders("inbox/edge-1") == sorted(kept)
    inbox = Inbox(storage, Journal(tmp_path / "journal", "cloud"))
    admitted = inbox.collect()
    assert {example.sample_id for example in admitted} == set(kept)
    for example in admitted:
        data = storage.get(example.image_key, sha256=kept[example.sample_id].image_sha256)
        assert len(data) > 400
    assert len(list(storage.keys("receipts"))) == (3 if confirm == "receipt" else 0)
    clock.advance(10)
    uploader.drain()
    assert len(outbox) == 0
    assert storage.folders("inbox") == []
    assert list(storage.keys("receipts")) == list(storage.keys("refused")) == []
    assert inbox.collect() == admitted == Inbox(storage, journal).collect()


def test_tr_07_two_services_number_admissions_without_a_clash(storage, tmp_path):
    one, other = Admissions(storage), Admissions(storage)
    assert one.all() == other.all() == []
    for seed in range(6):
        example = a_hard_example(seed)
        storage.put(f"examples/{example.sample_id}.json", to_json(example))
        (one if seed % 2 else other).append([example.sample_id])
    assert [e.sequence for e in one.all()] == [e.sequence for e in other.all()] == list(range(6))
    assert len(list(storage.keys("admissions"))) == 6


def test_tr_07_a_folder_keeps_no_empty_folders(tmp_path):
    """A listing walks through every folder: one for each delivery that ever was would add up."""
    storage = open_storage(str(tmp_path / "store"))
    for sample in range(3):
        for name in ("image.jpg", "example.json"):
            storage.put(f"inbox/edge-1/{sample}/{name}", b"1")
    for key in list(storage.keys("inbox")):
        storage.delete(key)
    assert [path for path in (tmp_path / "store").rglob("*")] == []
    storage.put("inbox/edge-1/1/image.jpg", b"1")
    assert list(storage.keys("inbox")) == ["inbox/edge-1/1/image.jpg"]


def test_a_folder_that_goes_while_another_is_put_into_it_costs_nobody_an_object(tmp_path):
    storage, failures = open_storage(str(tmp_path / "store")), []

    def come_and_go(name: str) -> None:
        try:
            for number in range(150):
                key = f"inbox/edge-1/{number % 2}/{name}"
                storage.put(key, b"data")
                assert storage.get(key) == b"data"
                storage.delete(key)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_tr_04_a_server_that_takes_the_call_and_never_answers_ends_in_an_error(monkeypatch):
    """A dead link must not hang an upload for ever."""
    monkeypatch.setitem(storage_module._TIMEOUTS, "timeout", timedelta(seconds=0.3))
    monkeypatch.setitem(storage_module._RETRIES, "max_retries", 0)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        pointed_at(f"http://127.0.0.1:{mute.getsockname()[1]}", monkeypatch)
        hanging = open_storage(f"s3://{BUCKET}")
        for call in (lambda: hanging.put("a", b"x" * 2**20), lambda: hanging.get("a")):
            with pytest.raises(StorageUnavailableError):
                call()


def test_tr_04_every_request_to_a_remote_store_has_an_end():
    assert {"connect_timeout", "read_timeout", "timeout"} <= set(storage_module._TIMEOUTS)
    assert storage_module._RETRIES["retry_timeout"] <= timedelta(minutes=5)


def test_tr_07_an_object_is_replaced_only_while_it_is_the_one_that_was_read(storage):
    """Two writers of one index: the second one reads again instead of losing a line."""
    storage.put("dataset/index.txt", b"one\n")
    data, mark = storage.read_marked("dataset/index.txt")
    assert data == b"one\n"
    storage.put_if_unchanged("dataset/index.txt", b"one\ntwo\n", mark)
    with pytest.raises(ObjectChangedError, match="changed since"):
        storage.put_if_unchanged("dataset/index.txt", b"one\nthree\n", mark)
    assert storage.read_marked("dataset/index.txt")[0] == b"one\ntwo\n"
    with pytest.raises(ObjectNotFoundError):
        storage.read_marked("dataset/none.txt")


def test_an_object_that_has_not_changed_is_not_sent_again(storage) -> None:
    storage.put("dataset/index.txt", b"one\n")
    found = storage.read_if_changed("dataset/index.txt", "", max_bytes=4)
    assert found is not None
    data, mark = found
    assert data == b"one\n"
    assert storage.read_if_changed("dataset/index.txt", mark, max_bytes=4) is None
    storage.put("dataset/index.txt", b"one\ntwo\n")
    changed = storage.read_if_changed("dataset/index.txt", mark, max_bytes=8)
    assert changed is not None
    assert changed[0] == b"one\ntwo\n"
    with pytest.raises(StorageError, match="more than 7 bytes"):
        storage.read_if_changed("dataset/index.txt", "", max_bytes=7)
    with pytest.raises(ObjectNotFoundError):
        storage.read_if_changed("dataset/none.txt", "", max_bytes=8)


def test_k8s_04_sednas_account_and_our_own_do_not_disturb_each_other(monkeypatch):
    """Sedna's variables win over those of a pod's template, so ours are AWS_…"""
    for name in ("AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    sednas = {"S3_ENDPOINT_URL": "", "ACCESS_KEY_ID": "sedna", "SECRET_ACCESS_KEY": "b"}
    ours = {"AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": "ours", "AWS_SECRET_ACCESS_KEY": "d"}
    for name in (*sednas, *ours):
        monkeypatch.delenv(name, raising=False)

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers["Authorization"]))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    servers = [HTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    for server, names, endpoint in zip(
        servers, (sednas, ours), ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"), strict=True
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names[endpoint] = f"http://127.0.0.1:{server.server_address[1]}"

    def opened(account: S3Account | None = None) -> tuple[str, str]:
        """Which server is asked, and as whom."""
        with pytest.raises(ObjectNotFoundError) as raised:
            open_storage("s3://bucket/prefix", account=account).get("a")
        who = asked[-1].split("Credential=")[1].split("/")[0]
        return str(raised.value.__cause__), who

    for name, value in sednas.items():
        monkeypatch.setenv(name, value)
    account = sednas_account(sednas)
    assert opened()[1] == opened(account)[1] == "sedna", "one account for both"
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    where, who = opened(account)
    assert (sednas["S3_ENDPOINT_URL"] in where, who) == (True, "sedna")
    where, who = opened()
    assert (ours["AWS_ENDPOINT_URL"] in where, who) == (True, "ours")
    for server in servers:
        server.shutdown()
        server.server_close()
