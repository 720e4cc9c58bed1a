"""SEC-01: who may talk to the interactive model, and where its password comes from."""

import base64
import stat
import threading

import pytest
import requests
from requests.auth import HTTPBasicAuth

from annotation.assist.credentials import (
    FILE,
    Credentials,
    configured_credentials,
    kept_password,
)
from lifelong.errors import ConfigError
from lifelong.sections.assist import AssistSection

PASSWORD = "a long pässword: with/colon@"


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


@pytest.mark.parametrize(
    "header",
    [
        basic("me", PASSWORD),
        basic("me", PASSWORD, "latin-1"),
        basic("me", PASSWORD).replace("Basic", "basic"),
        f"Token {PASSWORD}",
        f"Bearer {PASSWORD}",
        f"bearer   {PASSWORD} ",
    ],
)
def test_sec_01_user_and_password_or_the_password_alone_open(header: str) -> None:
    assert Credentials("me", PASSWORD).allows(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Token",
        "Token ",
        "Bearer ",
        PASSWORD,
        f"Digest {PASSWORD}",
        basic("you", PASSWORD),
        basic("me", "another"),
        basic("me", ""),
        basic("", PASSWORD),
        basic("me", PASSWORD[:-1]),
        basic("me", PASSWORD + "x"),
        basic("me", PASSWORD.upper()),
        "Basic " + base64.b64encode(b"me").decode(),
        "Basic " + base64.b64encode(PASSWORD.encode()).decode(),
        "Basic !!!!",
        f"Basic {PASSWORD}",
        f"Token {PASSWORD[:-1]}",
        "Token " + "x" * 100_000,
        "Bearer \udcff",
    ],
)
def test_sec_01_everything_else_stays_closed(header: str | None) -> None:
    assert not Credentials("me", PASSWORD).allows(header)


def test_sec_01_a_letter_that_latin_1_lacks_is_no_question_mark() -> None:
    credentials = Credentials("me", "pass€word")
    assert credentials.allows("Token pass€word")
    assert not credentials.allows("Token pass?word")


def test_sec_01_credentials_do_not_show_their_password() -> None:
    assert PASSWORD not in repr(Credentials("me", PASSWORD))


@pytest.mark.parametrize(("user", "password"), [("me", ""), ("", "x"), ("a:b", "x")])
def test_sec_01_credentials_that_cannot_work_are_refused(user: str, password: str) -> None:
    with pytest.raises(ConfigError):
        Credentials(user, password)


@pytest.mark.parametrize("password", [PASSWORD, "plain", "a%2Fb"])
def test_sec_01_requests_sends_the_url_s_userinfo_as_basic(password: str) -> None:
    """Label Studio asks its models with `requests`: the pasted address is enough."""
    credentials = Credentials("user@home", password)
    url = credentials.url("http://127.0.0.1:9090")
    prepared = requests.Request("GET", f"{url}/health").prepare()
    assert credentials.allows(str(prepared.headers["Authorization"]))
    # And so are the two fields of the connected model.
    auth = HTTPBasicAuth("user@home", password)
    by_fields = requests.Request("GET", "http://127.0.0.1:9090/health", auth=auth).prepare()
    assert credentials.allows(str(by_fields.headers["Authorization"]))


def test_the_url_form_wants_a_url() -> None:
    with pytest.raises(ValueError, match="http://"):
        Credentials("me", "x").url("127.0.0.1:9090")


def test_sec_01_the_variables_come_first(tmp_path) -> None:
    environ = {"CORNERLOOP_ASSIST_USER": "anna", "CORNERLOOP_ASSIST_PASSWORD": " secret "}
    made = configured_credentials(AssistSection(), tmp_path, environ)
    assert made.user == "anna"
    assert made.allows("Token secret")
    assert list(tmp_path.iterdir()) == []


def test_sec_01_a_password_is_made_once_and_kept_for_its_owner_only(tmp_path) -> None:
    folder = tmp_path / "state"
    first = configured_credentials(AssistSection(), folder, {"CORNERLOOP_ASSIST_PASSWORD": ""})
    password = (folder / FILE).read_text().strip()
    assert len(password) >= 32
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert first.user == "cornerloop"
    assert first.allows(basic("cornerloop", password))
    again = configured_credentials(AssistSection(), folder, {})
    assert again.allows(basic("cornerloop", password))
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_sec_01_starts_at_the_same_moment_agree_on_one_password(tmp_path) -> None:
    gate, found = threading.Barrier(8), []

    def start() -> None:
        gate.wait()
        found.append(kept_password(tmp_path / FILE))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_sec_01_a_password_that_others_can_read_is_refused(tmp_path) -> None:
    kept_password(tmp_path / FILE)
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        kept_password(tmp_path / FILE)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_sec_01_a_damaged_password_file_is_said_so(tmp_path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(ConfigError, match=FILE):
        kept_password(tmp_path / FILE)


def test_sec_01_a_folder_that_cannot_be_written_is_said_so(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"assist\.password_env"):
        kept_password(tmp_path / "file" / FILE)
