"""INT-20, OPS-03: pictures that Label Studio has: by every kind of token, and failures in words."""

import base64
import logging
import os
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from annotation.assist.access import ProjectAccess, Studio, token_kind
from annotation.assist.pictures import Pictures
from lifelong.errors import ConfigError, PictureAccessError
from lifelong.records.ids import sha256_hex
from lifelong.sections.assist import AssistSection
from tests.unit.annotation.assist.servers import (
    FakeLabelStudio,
    HandClock,
    Names,
    jwt,
    png,
    redirect,
    serving,
)

LEGACY = "0123456789abcdef0123456789abcdef01234567"
OF_SETUP = "76543210fedcba9876543210fedcba9876543210"
FILE, OTHER = png(seed=1), png(seed=2)
UPLOAD = "/data/upload/1/ab12cd34-cat.png"
ENV = "CORNERLOOP_LABEL_STUDIO_TOKEN"
NOBODY = ProjectAccess()


@pytest.fixture
def server():
    with serving() as made:
        yield made


@pytest.fixture
def other():
    with serving() as made:
        yield made


@pytest.fixture
def studio(server):
    made = FakeLabelStudio(server)
    made.file(UPLOAD, FILE)
    return made


def pictures(server, *, token="", root=None, clock=None, private=(), names=None, mib=1, url=""):
    names = names or Names()
    return Pictures(
        Studio(url=url or server.url, token=token, local_files_root=root),
        AssistSection(max_picture_mib=mib, private_hosts=private),
        resolve=names.resolve,
        connect=names.connect,
        environ={},
        clock=clock or HandClock(),
    )


def picture(made, address=UPLOAD, project=NOBODY, task_id=7):
    return made.picture(address, task_id=task_id, project=project)


def refused(made, address=UPLOAD, project=NOBODY, task_id=7):
    with pytest.raises(PictureAccessError) as caught:
        assert picture(made, address, project, task_id).digest
    for secret in (LEGACY, OF_SETUP, "eyJ"):
        assert secret not in str(caught.value)
    return str(caught.value)


# ---- tokens


def test_int_20_an_upload_comes_with_a_legacy_token(server, studio) -> None:
    studio.legacy.add(LEGACY)
    found = picture(pictures(server, token=LEGACY))
    assert found.digest == sha256_hex(FILE)
    assert found.pixels().shape == (6, 9, 3)
    assert found.name == UPLOAD
    assert server.headers_seen("authorization") == [f"Token {LEGACY}"]


def test_int_20_an_upload_comes_with_a_personal_access_token(server, studio) -> None:
    personal = jwt("refresh", lifetime=10**9)
    studio.personal.add(personal)
    made = pictures(server, token=personal)
    assert picture(made).digest == sha256_hex(FILE)
    studio.file("/data/upload/1/two.png", OTHER)
    assert picture(made, "/data/upload/1/two.png").digest == sha256_hex(OTHER)
    # One renewal is good for both, and the personal token itself is only ever sent to be renewed.
    assert [path for path in server.paths if "refresh" in path] == ["/api/token/refresh/"]
    assert not any(personal in sent for sent in server.headers_seen("authorization"))


def test_int_20_an_access_token_is_renewed_before_its_five_minutes_are_over(server, studio) -> None:
    personal, clock = jwt("refresh"), HandClock()
    studio.personal.add(personal)
    made = pictures(server, token=personal, clock=clock)
    for number, later in enumerate((0, 260, 20)):
        clock.now += later
        path = f"/data/upload/1/{number}.png"
        studio.file(path, FILE)
        assert picture(made, path).digest
    assert server.paths.count("/api/token/refresh/") == 2


def test_int_20_an_access_token_that_is_refused_early_is_renewed_once(server, studio) -> None:
    """Label Studio was restarted with another secret key, or the clock of this machine stood."""
    personal = jwt("refresh")
    studio.personal.add(personal)
    made = pictures(server, token=personal)
    assert picture(made).digest
    studio.access.clear()
    studio.file("/data/upload/1/two.png", OTHER)
    assert picture(made, "/data/upload/1/two.png").digest == sha256_hex(OTHER)
    assert server.paths.count("/api/token/refresh/") == 2


def test_int_20_many_threads_share_one_renewal(server, studio) -> None:
    personal = jwt("refresh")
    studio.personal.add(personal)
    made = pictures(server, token=personal)
    gate, digests = threading.Barrier(8), []
    for number in range(8):
        studio.file(f"/data/upload/1/{number}.png", png(seed=number))

    def look(number):
        gate.wait()
        digests.append(picture(made, f"/data/upload/1/{number}.png").digest)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(digests)) == 8
    assert server.paths.count("/api/token/refresh/") == 1


def test_int_20_the_configured_token_is_tried_before_the_one_of_setup(server, studio) -> None:
    studio.legacy.update({LEGACY, OF_SETUP})
    project = ProjectAccess(hostname=server.url, access_token=OF_SETUP)
    assert picture(pictures(server, token=LEGACY), project=project).digest
    assert server.headers_seen("authorization") == [f"Token {LEGACY}"]


@pytest.mark.parametrize("token", ["", LEGACY])
def test_int_20_the_token_of_setup_helps_where_ours_does_not(server, studio, token) -> None:
    studio.legacy.add(OF_SETUP)
    project = ProjectAccess(hostname=server.url, access_token=OF_SETUP)
    assert picture(pictures(server, token=token), project=project).digest == sha256_hex(FILE)


def test_ops_03_legacy_tokens_switched_off_say_what_to_change(server, studio) -> None:
    studio.legacy.update({LEGACY, OF_SETUP})
    studio.is_legacy_off = True
    project = ProjectAccess(hostname=server.url, access_token=OF_SETUP)
    said = refused(pictures(server, token=LEGACY), project=project)
    assert said.startswith(f"{UPLOAD}: Label Studio at {server.url} takes none")
    assert "legacy tokens are switched off" in said
    assert f"the token in {ENV} (a legacy token, answered 401)" in said
    assert "the token that Label Studio sent to /setup" in said
    assert "personal access token" in said


def test_ops_03_a_revoked_personal_token_is_called_so(server, studio) -> None:
    said = refused(pictures(server, token=jwt("refresh")))
    assert "a personal access token that was revoked or has run out" in said
    assert ENV in said


def test_ops_03_no_token_at_all_names_the_variable(server, studio) -> None:
    """The seeds' complaint: Can't resolve url, neither hostname or project_dir passed."""
    said = refused(pictures(server))
    assert said.startswith(f"{UPLOAD}: ")
    assert ENV in said
    assert server.asked == []


def test_ops_03_label_studio_elsewhere_says_what_it_calls_itself(server, studio) -> None:
    names = Names()
    made = pictures(server, token=LEGACY, names=names, url="http://label-studio.example:8080")
    names.hosts["label-studio.example"] = ["10.0.0.5"]
    said = refused(made, project=ProjectAccess(hostname="http://localhost:8081"))
    assert "http://label-studio.example:8080 cannot be reached (Connection refused)" in said
    assert "label_studio.url is http://label-studio.example:8080" in said
    assert "Label Studio calls itself http://localhost:8081" in said
    assert "cannot be found" in refused(
        pictures(server, token=LEGACY, url="http://unknown.example")
    )


def test_int_20_a_foreign_hostname_in_setup_gets_nothing(server, studio, other) -> None:
    """Whoever calls /setup may say any host: our token stays at the configured one."""
    studio.legacy.add(LEGACY)
    project = ProjectAccess(hostname=other.url, access_token=OF_SETUP)
    assert picture(pictures(server, token=LEGACY), project=project).digest == sha256_hex(FILE)
    absolute = f"{other.url}{UPLOAD}"
    assert picture(pictures(server, token=LEGACY), absolute, project).digest == sha256_hex(FILE)
    assert other.asked == []


def test_int_20_a_foreign_address_that_looks_like_an_upload_gets_no_token(
    server, studio, other
) -> None:
    studio.legacy.add(LEGACY)
    names = Names()
    names.add("elsewhere.example", 80, other)
    other.answers[UPLOAD] = OTHER
    made = pictures(server, token=LEGACY, names=names)
    found = picture(made, f"http://elsewhere.example{UPLOAD}")
    assert found.digest == sha256_hex(OTHER)
    assert other.headers_seen("authorization") == [""]
    assert server.asked == []


def test_int_20_an_upload_that_is_redirected_takes_no_token_along(server, studio, other) -> None:
    studio.legacy.add(LEGACY)
    names = Names()
    names.add("store.example", 80, other)
    studio.protect("/data/upload/1/moved.png", redirect("http://store.example/x?sig=hidden"))
    other.answers["/x"] = FILE
    made = pictures(server, token=LEGACY, names=names)
    assert picture(made, "/data/upload/1/moved.png").digest == sha256_hex(FILE)
    assert server.headers_seen("authorization") == [f"Token {LEGACY}"]
    assert other.headers_seen("authorization") == [""]
    # Refused there: the words tell that no token went along, and no signature is in them.
    other.answers["/x"] = lambda handler: handler.send(403, b"expired")
    said = refused(pictures(server, token=LEGACY, names=names), "/data/upload/1/moved.png")
    assert "redirects to http://store.example, which refuses it" in said
    assert "hidden" not in said


def test_ops_03_http_that_moved_to_another_port_says_the_address_to_set(
    server, studio, other
) -> None:
    studio.legacy.add(LEGACY)
    studio.protect(UPLOAD, redirect(f"{other.url}{UPLOAD}", 301))
    other.answers[UPLOAD] = lambda handler: handler.send(401)
    made = pictures(server, token=LEGACY, private=["127.0.0.1"])
    assert f"set label_studio.url to {other.url}" in refused(made)
    assert other.headers_seen("authorization") == [""]


def test_int_20_label_studio_below_a_sub_path_is_asked_there(server, studio) -> None:
    studio.legacy.add(LEGACY)
    studio.file(f"/sub{UPLOAD}", FILE)
    made = pictures(server, token=LEGACY, url=f"{server.url}/sub/")
    for address in (UPLOAD, f"/sub{UPLOAD}", f"{server.url}/sub{UPLOAD}"):
        assert picture(made, address).digest == sha256_hex(FILE)
    assert server.paths == [f"/sub{UPLOAD}"]


def test_int_20_uploads_that_lie_in_a_bucket_come_by_the_other_way(server, studio) -> None:
    studio.legacy.add(LEGACY)
    studio.protect("/data/upload/1/far.png", lambda handler: handler.send(500))
    studio.file("/storage-data/uploaded/", OTHER)
    assert picture(pictures(server, token=LEGACY), "/data/upload/1/far.png").digest
    assert server.paths[-1] == "/storage-data/uploaded/?filepath=upload/1/far.png"


def test_ops_03_an_upload_that_is_gone_is_said_so(server, studio) -> None:
    studio.legacy.add(LEGACY)
    studio.protect("/data/upload/1/gone.png", lambda handler: handler.send(500))
    for second in (404, 403):  # a real one refuses by the other way what it does not know
        studio.protect("/storage-data/uploaded/", lambda handler, code=second: handler.send(code))
        said = refused(pictures(server, token=LEGACY), "/data/upload/1/gone.png")
        assert "Label Studio has no such upload" in said


def test_ops_03_a_page_in_place_of_a_picture_is_said_so(server, studio) -> None:
    server.answers[UPLOAD] = lambda handler: handler.send(
        200, b"<html>Log in", Content_Type="text/html; charset=utf-8"
    )
    assert "a web page and not a picture" in refused(pictures(server, token=LEGACY))


def test_ops_03_a_server_that_is_no_label_studio_is_said_so(server) -> None:
    """The answer to the renewal of a token is a page."""
    server.answers["/api/token/refresh/"] = b"<html>hello"
    assert "is label_studio.url right?" in refused(pictures(server, token=jwt("refresh")))


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (LEGACY, "legacy"),
        ("a.b.c", "legacy"),
        ("with.one dot", "legacy"),
        (jwt("refresh"), "refresh"),
        (jwt("access"), "access"),
    ],
)
def test_int_20_the_kind_of_a_token_is_read_from_it(token: str, kind: str) -> None:
    assert token_kind(token) == kind


def test_int_20_an_access_token_is_sent_as_it_is(server, studio) -> None:
    token = jwt("access")
    studio.access.add(token)
    assert picture(pictures(server, token=token)).digest == sha256_hex(FILE)
    assert server.paths == [UPLOAD]


@pytest.mark.parametrize(
    ("url", "token"),
    [("label-studio:8080", ""), ("ftp://h", ""), ("http://h", "two words"), ("http://h", "a\nb")],
)
def test_ops_03_a_studio_that_cannot_be_is_refused_at_the_start(url: str, token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Studio(url=url, token=token)
    assert not token or token not in str(caught.value)


def test_int_20_a_line_break_after_the_token_is_not_sent(server, studio) -> None:
    studio.legacy.add(LEGACY)
    assert picture(pictures(server, token=f"{LEGACY}\n")).digest == sha256_hex(FILE)


def test_int_20_a_token_of_setup_that_is_none_is_left_out(server, studio) -> None:
    """It would be a header of its own."""
    project = ProjectAccess(access_token="a\r\nX-Evil: 1")
    assert ENV in refused(pictures(server), project=project)
    assert server.asked == []


def test_sec_03_nothing_of_tokens_and_pictures_is_logged(server, studio, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    personal = jwt("refresh")
    studio.personal.add(personal)
    made = pictures(server, token=personal)
    project = ProjectAccess(hostname=server.url, access_token=OF_SETUP, password="hidden")
    found = picture(made, f"{UPLOAD}?token=hidden", project)
    assert found.pixels().size
    shown = caplog.text + repr(made) + repr(found) + repr(project) + repr(Studio(
        url=server.url, token=personal
    ))  # fmt: skip
    for secret in ("hidden", OF_SETUP, personal, "eyJ", "PNG\\r"):
        assert secret not in shown


# ---- local files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "set 1").mkdir(parents=True)
    (folder / "set 1" / "a+b.png").write_bytes(FILE)
    (tmp_path / "secret.png").write_bytes(OTHER)
    return folder


def local(path: str) -> str:
    return f"/data/local-files/?d={quote(path)}"


def test_int_20_a_local_file_is_read_from_disk_without_asking(server, root) -> None:
    made = pictures(server, root=root)
    for address in (local("set 1/a+b.png"), f"{server.url}{local('/set 1/./a+b.png')}"):
        found = picture(made, address)
        assert found.digest == sha256_hex(FILE)
        assert found.pixels().shape == (6, 9, 3)
    assert server.asked == []


def test_int_20_a_second_look_at_a_local_file_reads_its_date_only(
    server, root, monkeypatch
) -> None:
    made, read = pictures(server, root=root), []
    real = open

    def counted(*args, **kwargs):
        read.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr("builtins.open", counted)
    for _ in range(3):
        assert picture(made, local("set 1/a+b.png")).digest == sha256_hex(FILE)
    assert len(read) == 1


@pytest.mark.parametrize("keeps_date", [False, True])
def test_int_20_a_local_file_that_was_replaced_is_another_picture(
    server, root, keeps_date: bool
) -> None:
    file, made = root / "set 1" / "a+b.png", pictures(server, root=root)
    before = picture(made, local("set 1/a+b.png"))
    assert before.digest == sha256_hex(FILE)
    told = file.stat()
    new = root / "new"
    new.write_bytes(OTHER)
    new.replace(file)
    if keeps_date:
        os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert picture(made, local("set 1/a+b.png")).digest == sha256_hex(OTHER)
    assert before.digest == sha256_hex(FILE)  # what was told stays told


def test_sec_03_what_a_link_leads_out_to_is_never_read(server, studio, root) -> None:
    studio.legacy.add(LEGACY)
    (root / "out").symlink_to(root.parent)
    (root / "secret.png").symlink_to(root.parent / "secret.png")
    (root / "inside.png").symlink_to(root / "set 1" / "a+b.png")
    (root / "circle").symlink_to(root / "circle")
    made = pictures(server, token=LEGACY, root=root)
    assert picture(made, local("inside.png")).digest == sha256_hex(FILE)
    studio.protect("/data/local-files/", lambda handler: handler.send(404))
    for path in ("out/secret.png", "secret.png"):
        said = refused(made, local(path))
        assert "a link out of the folder" in said
        assert "Label Studio finds no such file" in said
    assert refused(made, local("circle"))
    # Whether Label Studio serves it is its own affair.
    studio.file("/data/local-files/", FILE)
    assert picture(made, local("secret.png")).digest == sha256_hex(FILE)


@pytest.mark.parametrize("path", ["../secret.png", "set 1/../../secret.png", "a/../../secret.png"])
def test_sec_03_a_path_that_climbs_is_refused(server, root, path: str) -> None:
    with pytest.raises(PictureAccessError, match="climbs out"):
        picture(pictures(server, root=root), f"/data/local-files/?d={path}")
    assert server.asked == []


def test_sec_03_pipes_and_folders_are_no_pictures(server, root) -> None:
    os.mkfifo(root / "pipe.png")
    made = pictures(server, root=root)
    for path in ("pipe.png", "set 1"):
        assert "no plain file" in refused(made, local(path))


def test_sec_03_a_local_file_above_the_limit_is_not_read(server, root) -> None:
    (root / "large.png").write_bytes(bytes((1 << 20) + 1))
    assert "assist.max_picture_mib" in refused(pictures(server, root=root), local("large.png"))


@pytest.mark.parametrize("has_root", [False, True])
def test_int_20_a_local_file_that_is_not_on_this_disk_is_asked_for(
    server, studio, root, has_root: bool
) -> None:
    studio.legacy.add(LEGACY)
    studio.file("/data/local-files/", OTHER)
    made = pictures(server, token=LEGACY, root=root if has_root else None)
    assert picture(made, local("far/a b.png")).digest == sha256_hex(OTHER)
    assert server.paths == ["/data/local-files/?d=far/a%20b.png"]


def test_ops_03_a_local_file_that_no_project_shows_says_what_to_add(server, studio, root) -> None:
    studio.legacy.add(LEGACY)
    studio.protect("/data/local-files/", lambda handler: handler.send(404))
    said = refused(pictures(server, token=LEGACY, root=root), local("far.png"))
    assert "No such file or directory under" in said
    assert "Cloud Storage" in said


def test_ops_03_local_files_that_are_not_served_say_what_to_set(server, studio) -> None:
    studio.legacy.add(LEGACY)
    words = b"You can enable it with LOCAL_FILES_SERVING_ENABLED environment variable"
    studio.protect("/data/local-files/", lambda handler: handler.send(403, words))
    said = refused(pictures(server, token=LEGACY), local("a.png"))
    assert "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true" in said


def test_sec_03_a_token_that_is_nested_without_end_is_no_reason_to_fail() -> None:
    claims = base64.urlsafe_b64encode(b"[" * 2900).decode()
    assert token_kind(f"a.{claims}.b") == "legacy"
