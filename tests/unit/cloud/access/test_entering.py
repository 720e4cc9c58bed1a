"""SEC-01: the first link, /enter, /leave and /access."""

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cloud.access.admission import make_admission
from cloud.access.entering import base_address, check_access, first_link, new_link, open_book
from cloud.access.gate import cookie_name
from cloud.access.permissions import Role
from cloud.audit_log import AuditLog, key_of
from lifelong.config import Config
from lifelong.errors import ConfigError, StorageUnavailableError
from lifelong.links.journal import utc_now
from lifelong.links.storage import Storage, open_storage
from tests.gated_house import ADDRESS, House

HTML = {"Accept": "text/html,*/*"}


def a_config(folder: Path, **web: object) -> Config:
    return Config.model_validate({"web": {"access_path": str(folder / "access"), **web}})


def enter(house: House, secret: str, **form: str) -> tuple[TestClient, int, str]:
    """A browser that posts the form; the status, and where it is sent."""
    browser = TestClient(house.gate, base_url=ADDRESS, headers=HTML, follow_redirects=False)
    answer = browser.post("/enter", data={"secret": secret, **form})
    return browser, answer.status_code, answer.headers.get("location", "")


def test_sec_01_the_first_start_makes_one_link_until_somebody_is_in(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    first = first_link(config, port=8123)
    assert first.startswith("http://127.0.0.1:8123/enter#code=clpl_")
    again = first_link(config)
    assert again and again != first
    book = open_book(config)
    assert book.enter(first.partition("=")[2]) is None, "only the newest works"
    entered = book.enter(again.partition("=")[2])
    assert entered is not None and entered[0].role is Role.OPERATOR
    assert first_link(config) == ""


def test_sec_01_who_has_a_token_needs_no_first_link(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    open_book(config).make_token("ada", Role.ADMIN)
    assert first_link(config) == ""
    assert first_link(a_config(tmp_path / "b", access="off")) == ""


def test_a_storage_that_is_away_keeps_nobody_from_the_first_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailableError("storage is away")

    monkeypatch.setattr(Storage, "put_if_absent", away)
    audit = AuditLog(open_storage("memory://"), utc_now)
    assert first_link(a_config(tmp_path), audit=audit)


@pytest.mark.parametrize(
    ("web", "expected"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"tls_certificate": "c.pem", "host": "h"}, "https://h:8000"),
        ({"address": "https://loop.example.org/corner/"}, "https://loop.example.org/corner"),
    ],
)
def test_the_address_that_people_are_told(
    tmp_path: Path, web: dict[str, object], expected: str
) -> None:
    assert base_address(a_config(tmp_path, **web)) == expected
    assert new_link(a_config(tmp_path, **web), Role.ADMIN, "ada").startswith(f"{expected}/enter#")


@pytest.mark.parametrize("form", ["http://127.0.0.1:8000/enter#code={}", "{}", "  {}\n"])
def test_sec_01_a_link_opens_a_session_by_a_button(house: House, form: str) -> None:
    _, code = house.book.make_link(Role.OPERATOR, "ada")
    for _ in range(3):  # previews of links in chats
        assert house.asks().get("/enter").status_code == 200
    browser, status, where = enter(house, form.format(code))
    assert (status, where) == (303, "/")
    assert browser.get("/").status_code == 200
    assert enter(house, code)[1] == 401, "it was used"
    assert house.audit.newest(1)[0].what == "session.opened"
    assert house.audit.newest(1)[0].who == "ada"


def test_sec_01_a_token_opens_a_session_of_its_role(house: House) -> None:
    browser, status, where = enter(house, house.tokens[Role.ADMIN], next="/access")
    assert (status, where) == (303, "/access")
    assert "a admin (admin)" in browser.get("/access").text


def test_sec_01_machines_and_wrong_secrets_do_not_enter(house: House) -> None:
    for secret in (house.tokens[Role.DEVICE], "clp_" + "A" * 43, "clps_" + "A" * 43, "x", ""):
        browser, status, _ = enter(house, secret)
        assert status == 401 and not browser.cookies


def test_sec_01_the_cookie_is_for_us_alone(house: House) -> None:
    browser, _, _ = enter(house, house.tokens[Role.OPERATOR])
    answer = TestClient(house.gate, base_url="https://127.0.0.1", follow_redirects=False).post(
        "/enter", data={"secret": house.tokens[Role.OPERATOR]}
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{cookie_name(house.book)}=clps_")
    for word in ("HttpOnly", "SameSite=lax", "Path=/", "Secure"):
        assert word in cookie
    assert "Domain" not in cookie
    assert [one.name for one in browser.cookies.jar] == [cookie_name(house.book)]


def test_sec_01_two_cornerloops_on_a_host_keep_their_cookies_apart(tmp_path: Path) -> None:
    names = {cookie_name(open_book(a_config(tmp_path / name))) for name in "ab"}
    again = {cookie_name(open_book(a_config(tmp_path / name))) for name in "ab"}
    assert len(names) == 2 and names == again


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)",
     "/\t/evil.example", "/%0d%0aX: y\r\n", "\\\\evil.example", "rounds"],
)  # fmt: skip
def test_sec_01_nobody_is_sent_to_a_foreign_host(house: House, wanted: str) -> None:
    assert enter(house, house.tokens[Role.ADMIN], next=wanted)[2] == "/"
    page = house.asks().get("/enter", params={"next": wanted}).text
    assert 'name="next" value=""' in page


def test_sec_01_a_foreign_page_cannot_log_somebody_in(house: House) -> None:
    browser = TestClient(house.gate, base_url=ADDRESS, follow_redirects=False)
    form = {"secret": house.tokens[Role.ADMIN]}
    answer = browser.post("/enter", data=form, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and not browser.cookies


def test_sec_01_leaving_ends_the_session_on_the_server(house: House) -> None:
    browser, csrf = house.browses()
    cookie = browser.cookies[cookie_name(house.book)]
    answer = browser.post("/leave", data={"csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    assert house.book.by_cookie(cookie) is None
    assert house.audit.newest(1)[0].what == "session.closed"


def test_sec_01_an_admin_sees_revokes_and_rotates(house: House) -> None:
    browser, csrf = house.browses(Role.ADMIN)
    assert house.parts.audits is not None
    house.parts.audits.refresh()
    page = browser.get("/access").text
    for text in ("a operator", "a device", "The chain is whole", "Rotate", "at a browser"):
        assert text in page
    for secret in house.tokens.values():
        assert secret not in page
    made = browser.post("/access/rotate", data={"csrf": csrf, "which": "a operator"})
    assert made.status_code == 200 and 'value="clp_' in made.text
    assert house.book.by_token(house.tokens[Role.OPERATOR]) is None
    gone = browser.post("/access/revoke", data={"csrf": csrf, "which": "a device"})
    assert gone.headers["location"] == "/access?done=revoked"
    assert "It has ended" in browser.get("/access?done=revoked").text
    assert house.book.by_token(house.tokens[Role.DEVICE]) is None
    unknown = browser.post("/access/revoke", data={"csrf": csrf, "which": "nobody"})
    assert unknown.status_code == 409 and "nobody" in unknown.text
    what = [one.what for one in house.audit.newest(2)]
    assert what == ["token.revoked", "token.rotated"]


def test_sec_06_the_page_of_admins_says_when_the_chain_is_broken(house: House) -> None:
    for number in range(3):
        house.audit.record("ada", "round.begun", number=number)
    house.parts.storage.delete(key_of(2))
    browser, csrf = house.browses(Role.ADMIN)
    assert house.parts.audits is not None
    house.parts.audits.refresh()
    page = browser.get("/access").text
    assert "The chain is broken" in page and "audit/00000002.json" in page
    checked = browser.post("/access/check", data={"csrf": csrf})
    assert checked.headers["location"] == "/access?done=checked"


def test_sec_06_a_token_is_not_rotated_unrecorded_from_the_page(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailableError("storage is away")

    browser, csrf = house.browses(Role.ADMIN)
    monkeypatch.setattr(Storage, "put_if_absent", away)
    answer = browser.post("/access/rotate", data={"csrf": csrf, "which": "a operator"})
    assert answer.status_code == 503 and "was not done" in answer.text
    assert house.book.by_token(house.tokens[Role.OPERATOR])


def test_sec_01_secrets_are_in_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _, code = house.book.make_link(Role.OPERATOR, "ada")
    browser, _, _ = enter(house, code)
    cookie = browser.cookies[cookie_name(house.book)]
    house.asks(Role.ADMIN).get("/access")
    house.asks().get("/rounds.json", headers={"Authorization": f"Bearer {code}"})
    enter(house, house.tokens[Role.OPERATOR])
    for secret in (code, cookie, *house.tokens.values()):
        assert secret not in caplog.text


def test_sec_01_off_is_for_this_machine_only(tmp_path: Path) -> None:
    check_access(a_config(tmp_path, access="off"))
    check_access(a_config(tmp_path, access="off", host="0.0.0.0", tls_client_ca="ca.pem"))
    with pytest.raises(ConfigError, match=r"web\.access: off"):
        check_access(a_config(tmp_path, access="off", host="0.0.0.0"))


def test_sec_01_off_is_said_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit = AuditLog(open_storage("memory://"), utc_now)
    assert make_admission(a_config(tmp_path, access="off"), audit).book is None
    assert "may do everything" in caplog.text


@pytest.mark.parametrize(
    "address",
    ["loop.example.org", "ftp://h", "http://", "http://h/a b", "http://u@h/", "http://h?x"],
)
def test_an_address_that_is_none_is_named(tmp_path: Path, address: str) -> None:
    audit = AuditLog(open_storage("memory://"), utc_now)
    with pytest.raises(ConfigError, match=r"web\.address"):
        make_admission(a_config(tmp_path, address=address), audit)
