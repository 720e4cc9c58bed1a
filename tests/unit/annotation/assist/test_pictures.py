"""INT-20, INT-21: pictures are fetched once, checked again by their mark, and stand upright."""

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from annotation.assist import pictures as pictures_module
from annotation.assist.access import ProjectAccess, Studio
from annotation.assist.pictures import Pictures, picture_pixels
from annotation.brush_rle import mask_from_rle, rle_from_mask
from lifelong.errors import ImageError, PictureAccessError
from lifelong.links.storage import open_storage
from lifelong.records import pixels as pixels_module
from lifelong.records.ids import sha256_hex
from lifelong.sections.assist import AssistSection
from tests.unit.annotation.assist.servers import (
    FakeLabelStudio,
    HandClock,
    Names,
    marked,
    png,
    redirect,
    serving,
)

FILE, OTHER = png(seed=1), png(seed=2)
LEGACY = "0123456789abcdef0123456789abcdef01234567"
NOBODY = ProjectAccess()
WEB = "http://pictures.example/a.png"
MINUTES = 301.0  # after which a file of the web is asked for again


@pytest.fixture
def server():
    with serving() as made:
        made.answers["/a.png"] = marked(FILE, '"v1"')
        yield made


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def names(server):
    made = Names()
    made.add("pictures.example", 80, server)
    return made


@pytest.fixture
def make(names, clock):
    """Pictures of a Label Studio that nobody needs here."""

    def made(url="http://studio.example", token="", environ=None, private=(), mib=1):
        return Pictures(
            Studio(url=url, token=token),
            AssistSection(max_picture_mib=mib, private_hosts=private),
            resolve=names.resolve,
            connect=names.connect,
            environ=environ or {},
            clock=clock,
        )

    return made


def picture(made, address=WEB, project=NOBODY, task_id=7):
    return made.picture(address, task_id=task_id, project=project)


def refused(made, address=WEB, project=NOBODY, task_id=7):
    with pytest.raises(PictureAccessError) as caught:
        assert picture(made, address, project, task_id).digest
    return str(caught.value)


# ---- fetched once


def test_int_20_a_picture_is_fetched_only_when_somebody_looks(server, make) -> None:
    found = picture(make())
    assert found.name == WEB
    assert server.asked == []
    assert found.digest == sha256_hex(FILE)
    assert len(server.asked) == 1


def test_int_20_a_second_look_asks_nobody_and_pixels_need_no_second_fetch(server, make) -> None:
    made = make()
    first = picture(made)
    assert first.digest == sha256_hex(FILE)
    assert first.pixels().shape == (6, 9, 3)
    for _ in range(3):
        again = picture(made)
        assert again.digest == first.digest
        assert np.array_equal(again.pixels(), first.pixels())
    assert len(server.asked) == 1


def test_int_20_after_some_minutes_a_mark_tells_that_it_is_still_the_same(
    server, make, clock
) -> None:
    made = make()
    assert picture(made).digest
    clock.now += MINUTES
    assert picture(made).digest == sha256_hex(FILE)
    assert server.headers_seen("if-none-match") == ["", '"v1"']
    assert picture(made).digest  # fresh for minutes again
    assert len(server.asked) == 2


def test_int_20_a_file_that_changed_is_another_picture(server, make, clock) -> None:
    made = make()
    before = picture(made)
    assert before.digest == sha256_hex(FILE)
    server.answers["/a.png"] = marked(OTHER, '"v2"')
    clock.now += MINUTES
    after = picture(made)
    assert after.digest == sha256_hex(OTHER)
    assert np.array_equal(after.pixels(), picture_pixels(OTHER, "other"))
    # The one before still gives the pixels that its digest names, or says that it cannot.
    assert np.array_equal(before.pixels(), picture_pixels(FILE, "file"))


def test_int_20_a_file_without_a_mark_is_fetched_again(server, make, clock) -> None:
    server.answers["/a.png"] = FILE
    made = make()
    assert picture(made).digest
    server.answers["/a.png"] = OTHER
    assert picture(made).digest == sha256_hex(FILE)
    clock.now += MINUTES
    assert picture(made).digest == sha256_hex(OTHER)


def test_int_20_a_server_that_is_away_for_a_moment_stops_nobody(server, make, clock) -> None:
    made = make()
    assert picture(made).digest
    clock.now += MINUTES
    server.answers["/a.png"] = lambda handler: handler.send(503)
    for _ in range(3):
        assert picture(made).digest == sha256_hex(FILE)
    assert len(server.asked) == 2  # it is left alone for a while
    clock.now += 61
    server.answers["/a.png"] = lambda handler: handler.send(404)
    assert "has no such file" in refused(made)


def test_int_20_a_replaced_file_never_gives_pixels_under_the_old_digest(server, make) -> None:
    made = make()
    server.answers["/a.png"] = FILE
    found = picture(made)
    assert found.digest == sha256_hex(FILE)
    for number in range(10):  # others crowd its file out of memory
        server.answers[f"/{number}.png"] = png(seed=10 + number)
        assert picture(made, f"http://pictures.example/{number}.png").digest
    server.answers["/a.png"] = OTHER
    with pytest.raises(PictureAccessError, match="was replaced just now; click again"):
        found.pixels()
    assert picture(made).digest == sha256_hex(OTHER)


def test_int_20_only_a_few_files_stay_in_memory(server, make) -> None:
    made = make()
    for number in range(30):
        server.answers[f"/{number}.png"] = png(300, 300, seed=number)
        assert picture(made, f"http://pictures.example/{number}.png").pixels().shape
        held = list(made._held.values())
        assert len(held) <= 8
        assert sum(len(data) for data in held) <= 1 << 20
    assert len(made._known) == 30


@pytest.fixture
def waiting(monkeypatch):
    """Counts who waits for the fetch of another."""
    counted = threading.Semaphore(0)
    real = pictures_module._result

    def result(flight):
        counted.release()
        return real(flight)

    monkeypatch.setattr(pictures_module, "_result", result)
    return counted


def held_back(server, send):
    """An answer that waits for `gate`; `arrived` tells that it was asked for."""
    gate, arrived = threading.Event(), threading.Event()

    def slowly(handler):
        arrived.set()
        gate.wait(120)
        send(handler)

    server.answers["/slow.png"] = slowly
    return gate, arrived


SLOW = "http://pictures.example/slow.png"


def test_int_20_eight_who_ask_at_once_cause_one_fetch(server, make, waiting) -> None:
    gate, _ = held_back(server, lambda handler: handler.send(200, FILE))
    made = make()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(lambda: picture(made, SLOW).pixels()) for _ in range(8)]
        assert all(waiting.acquire(timeout=120) for _ in range(7))
        gate.set()
        shapes = {future.result().shape for future in asked}
    assert shapes == {(6, 9, 3)}
    assert len(server.asked) == 1


def test_int_20_those_who_wait_share_the_failure_and_the_next_one_tries_again(
    server, make, waiting
) -> None:
    gate, _ = held_back(server, lambda handler: handler.send(500))
    made = make()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(refused, made, SLOW) for _ in range(4)]
        assert all(waiting.acquire(timeout=120) for _ in range(3))
        gate.set()
        said = {future.result() for future in asked}
    assert len(said) == 1
    assert "answered 500" in said.pop()
    assert len(server.asked) == 1
    server.answers["/slow.png"] = FILE
    assert picture(made, SLOW).digest == sha256_hex(FILE)
    assert not made._flights


def test_int_20_different_addresses_do_not_wait_for_each_other(server, make) -> None:
    gate, arrived = held_back(server, lambda handler: handler.send(200, OTHER))
    made = make()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: picture(made, SLOW).digest)
        assert arrived.wait(120)
        assert picture(made).digest == sha256_hex(FILE)
        gate.set()
        assert slow.result() == sha256_hex(OTHER)


# ---- the web


def login(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_int_20_the_project_s_log_in_goes_to_the_address_s_own_host_only(
    server, names, make
) -> None:
    with serving() as other:
        names.add("elsewhere.example", 80, other)
        other.answers["/b.png"] = FILE
        server.answers["/go.png"] = redirect("http://elsewhere.example/b.png")
        project = ProjectAccess(login="anna", password="s:cret")
        found = picture(make(), "http://pictures.example/go.png", project)
        assert found.digest == sha256_hex(FILE)
        assert server.headers_seen("authorization") == [login("anna", "s:cret")]
        assert other.headers_seen("authorization") == [""]


def test_int_20_an_address_s_own_log_in_comes_first(server, make) -> None:
    project = ProjectAccess(login="anna", password="secret")
    found = picture(make(), "http://ben:a%20b@pictures.example/a.png", project)
    assert found.digest == sha256_hex(FILE)
    assert server.headers_seen("authorization") == [login("ben", "a b")]
    assert "ben" not in found.name


def test_sec_03_another_project_s_log_in_is_not_lent(server, make) -> None:
    """Who may not see a file does not get it because somebody else fetched it."""

    def guarded(handler):
        given = handler.headers.get("Authorization") == login("anna", "secret")
        handler.send(200 if given else 401, FILE if given else b"")

    server.answers["/a.png"] = guarded
    made = make()
    assert picture(made, project=ProjectAccess(login="anna", password="secret")).digest
    assert "asks for a log-in" in refused(made)
    wrong = refused(made, project=ProjectAccess(login="anna", password="wrong"))
    assert "does not take the log-in" in wrong
    assert "wrong" not in wrong


def test_int_20_inline_pictures_need_nobody(make) -> None:
    encoded = base64.b64encode(FILE).decode()
    made = make()
    found = picture(made, f"data:image/png;base64,{encoded}")
    assert found.digest == sha256_hex(FILE)
    assert found.pixels().shape == (6, 9, 3)
    assert encoded[:20] not in found.name
    assert "no base64" in refused(made, "data:image/png;base64,%%%")
    large = "data:image/png;base64," + "A" * (2 << 20)
    assert "assist.max_picture_mib" in refused(made, large)


# ---- object storage


@pytest.fixture(scope="module")
def s3():
    """An S3-compatible server with one bucket, and a client of it."""
    boto3 = pytest.importorskip("boto3")
    made = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="bucket")
    yield f"http://{host}:{port}", client
    client.close()
    made.stop()


@pytest.fixture
def account(s3, monkeypatch):
    """Our own account, as the environment has it."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    environ = {"S3_ENDPOINT_URL": s3[0], "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


def test_int_20_a_bucket_of_our_own_account_is_read_and_checked_by_its_mark(
    s3, account, make, clock
) -> None:
    s3[1].put_object(Bucket="bucket", Key="set 1/a.png", Body=FILE)
    made = make(environ=account)
    found = picture(made, "s3://bucket/set 1/a.png")
    assert found.digest == sha256_hex(FILE)
    assert found.pixels().shape == (6, 9, 3)
    clock.now += MINUTES
    assert picture(made, "s3://bucket/set 1/a.png").digest == sha256_hex(FILE)
    s3[1].put_object(Bucket="bucket", Key="set 1/a.png", Body=OTHER)
    assert picture(made, "s3://bucket/set 1/a.png").digest == sha256_hex(FILE)
    clock.now += MINUTES
    assert picture(made, "s3://bucket/set 1/a.png").digest == sha256_hex(OTHER)


def test_int_20_an_unchanged_object_is_not_sent_again(s3, account) -> None:
    s3[1].put_object(Bucket="bucket", Key="b.png", Body=FILE)
    storage = open_storage("s3://bucket")
    found = storage.read_if_changed("b.png", "", max_bytes=10_000)
    assert found is not None
    assert found[0] == FILE
    assert storage.read_if_changed("b.png", found[1], max_bytes=10_000) is None
    s3[1].put_object(Bucket="bucket", Key="b.png", Body=OTHER)
    assert storage.read_if_changed("b.png", found[1], max_bytes=10_000) is not None


def test_sec_03_an_object_above_the_limit_is_not_kept(s3, account, make) -> None:
    s3[1].put_object(Bucket="bucket", Key="large.png", Body=bytes((1 << 20) + 1))
    said = refused(make(environ=account), "s3://bucket/large.png", task_id=None)
    assert "more than 1048576 bytes" in said


@pytest.fixture
def studio(names):
    with serving() as made:
        names.add("studio.example", 80, made)
        fake = FakeLabelStudio(made)
        fake.legacy.add(LEGACY)
        yield fake


def resolve_path(uri, owner="tasks/7"):
    return f"/{owner}/resolve/?fileuri={base64.urlsafe_b64encode(uri.encode()).decode()}"


def test_int_20_without_an_account_label_studio_leads_to_a_presigned_address(
    s3, make, studio
) -> None:
    s3[1].put_object(Bucket="bucket", Key="c.png", Body=FILE)
    presigned = s3[1].generate_presigned_url(
        "get_object", Params={"Bucket": "bucket", "Key": "c.png"}
    )
    studio.protect("/tasks/7/resolve/", redirect(presigned, 303))
    found = picture(make(token=LEGACY, private=["127.0.0.1"]), "s3://bucket/c.png")
    assert found.digest == sha256_hex(FILE)
    assert studio.server.paths[-1].startswith("/tasks/7/resolve/?fileuri=czM6")
    # The store's address is private, and here nobody allowed it.
    said = refused(make(token=LEGACY), "s3://bucket/c.png")
    assert "add 127.0.0.1 to assist.private_hosts" in said
    assert "no account for it here" in said
    assert "Signature" not in said


def test_int_20_label_studio_may_stream_the_object_itself(make, studio, clock) -> None:
    for owner in ("tasks/7", "projects/3"):
        studio.protect(f"/{owner}/resolve/", marked(FILE, '"v1"'))
    made = make(token=LEGACY)
    address = "gs://bucket/d.png"
    assert picture(made, address).digest == sha256_hex(FILE)
    clock.now += MINUTES
    assert picture(made, address).digest == sha256_hex(FILE)
    assert studio.server.headers_seen("if-none-match") == ["", '"v1"']
    azure = "azure-blob://box/e.png"
    assert picture(made, azure).digest
    assert unquote(studio.server.paths[-1]) == resolve_path(azure)
    by_project = resolve_path("s3://bucket/f.png", "projects/3")
    assert picture(made, by_project).digest
    assert studio.server.paths[-1].startswith("/projects/3/resolve/")


def test_ops_03_a_bucket_that_nobody_can_read_says_both_ways(s3, account, make, studio) -> None:
    studio.protect("/tasks/7/resolve/", lambda handler: handler.send(404))
    said = refused(make(token=LEGACY, environ=account), "s3://bucket/gone.png")
    assert "our own account: s3://bucket/gone.png: no such object" in said
    assert "Label Studio knows no storage with that bucket" in said
    said = refused(make(token=LEGACY), "az://box/a.png", task_id=None)
    assert "without a task Label Studio cannot be asked; set one of AZURE_STORAGE" in said


# ---- what is in the file

ORIENTATIONS = range(1, 9)
UPRIGHT = np.zeros((40, 64, 3), np.uint8)
UPRIGHT[5:15, 10:40] = (250, 20, 20)  # what a mask in percent of the upright picture means
UPRIGHT[20:40, 48:64] = (20, 20, 250)
# How a camera that was turned writes the same scene, by its orientation tag.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def oriented(orientation, kind):
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    # Of the options each format takes its own.
    picture.save(buffer, format=kind, exif=exif, quality=100, subsampling=0, lossless=True)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_int_21_every_orientation_is_turned_upright_once(
    server, make, orientation: int, kind: str
) -> None:
    server.answers["/a.png"] = oriented(orientation, kind)
    found = picture(make())
    for _ in range(2):
        pixels = found.pixels()
        assert pixels.shape == UPRIGHT.shape
        assert np.abs(pixels.astype(int) - UPRIGHT).max() <= (60 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_int_21_percent_of_the_upright_picture_means_the_same_pixels(orientation: int) -> None:
    """A box in percent, as Label Studio draws it over what the browser shows, and its mask."""
    pixels = picture_pixels(oriented(orientation, "PNG"), "a picture")
    height, width = pixels.shape[:2]
    x, y, right, bottom = 100 * 10 / 64, 100 * 5 / 40, 100 * 40 / 64, 100 * 15 / 40
    mask = np.zeros((height, width), bool)
    mask[
        round(y * height / 100) : round(bottom * height / 100),
        round(x * width / 100) : round(right * width / 100),
    ] = True
    assert np.array_equal(mask, (pixels == (250, 20, 20)).all(axis=2))
    sent = rle_from_mask(mask)
    assert np.array_equal(mask_from_rle(sent, height, width, "a region"), mask)


def test_sec_03_a_decompression_bomb_is_refused_before_it_is_unpacked(monkeypatch) -> None:
    monkeypatch.setattr(pixels_module, "MAX_PIXELS", 10_000)
    bomb = io.BytesIO()
    Image.new("L", (101, 100)).save(bomb, format="PNG")
    with pytest.raises(ImageError, match="101x100 pixels"):
        picture_pixels(bomb.getvalue(), "a bomb")
    Image.new("L", (100, 100)).save(bomb := io.BytesIO(), format="PNG")
    assert picture_pixels(bomb.getvalue(), "no bomb").shape == (100, 100, 3)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\n"


@pytest.mark.parametrize(
    "data", [b"", b"hidden words", EPS, b"<svg xmlns='x'/>", FILE[:40]], ids=range(5)
)
def test_sec_03_what_is_no_picture_is_refused_without_quoting_it(server, make, data) -> None:
    server.answers["/a.png"] = data
    with pytest.raises(ImageError) as caught:
        picture(make()).pixels()
    assert str(caught.value).startswith(f"{WEB}: ")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_every_format_that_is_named_is_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5), (10, 200, 30)).save(buffer, format=kind)
    assert picture_pixels(buffer.getvalue(), kind).shape == (5, 7, 3)
