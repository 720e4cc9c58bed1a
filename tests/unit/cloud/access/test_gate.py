"""SEC-01: the gate before every page."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.types import Message

from cloud.access import bodies
from cloud.access.addresses import own_addresses
from cloud.access.bodies import LARGEST, LimitedBody, TooSlowError
from cloud.access.gate import Gate, cookie_name
from cloud.access.permissions import Permission, Role, caller_of, needs
from lifelong.config import Config
from tests.gated_house import ADDRESS, House, a_house

HTML = {"Accept": "text/html,*/*"}


def a_small_app(house: House) -> TestClient:
    """An application of few routes behind the gate of this house; asked without a token."""
    app = FastAPI(openapi_url=None)

    @app.get("/forgotten")
    def forgotten() -> str:
        return "nobody thought of a permission"

    @app.get("/seen", dependencies=[needs(Permission.SEE)])
    def seen(request: Request) -> str:
        caller = caller_of(request)
        return caller.name if caller else "nobody"

    @app.post("/done", dependencies=[needs(Permission.OPERATE)])
    async def done(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/streamed", dependencies=[needs(Permission.SEE)])
    def streamed() -> StreamingResponse:
        return StreamingResponse(iter([b"one ", b"two"]))

    app.mount("/mounted", FastAPI())
    gate = Gate(app, book=house.book, own=own_addresses(Config()))
    return TestClient(gate, base_url=ADDRESS, follow_redirects=False)


def bearer(house: House, role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {house.tokens[role]}"}


def test_sec_01_nobody_sees_anything_without_a_token(house: House) -> None:
    answer = house.asks().get("/rounds.json")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "cornerloop tokens new" in answer.json()["detail"]


def test_sec_01_a_browser_is_shown_the_door_and_led_back(house: House) -> None:
    answer = house.asks().get("/rounds.json?page=2&q=a b", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/enter?next=%2Frounds.json%3Fpage%3D2%26q%3Da%2520b"
    assert house.asks().get("/", headers=HTML).headers["location"] == "/enter"


def test_sec_01_a_token_opens_what_its_role_may(house: House) -> None:
    assert house.asks(Role.ADMIN).get("/access").status_code == 200
    refused = house.asks(Role.OPERATOR).get("/access")
    assert refused.status_code == 403 and "admin" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/forgotten", "/mounted/", "/mounted/openapi.json"])
def test_sec_01_a_route_without_a_permission_is_closed_to_everybody(
    house: House, path: str
) -> None:
    answer = a_small_app(house).get(path, headers=bearer(house, Role.ADMIN))
    assert answer.status_code == 403 and "does not say" in answer.json()["detail"]


def test_sec_01_what_there_is_not_is_told_only_to_who_is_in(house: House) -> None:
    assert house.asks().get("/nothing/of/ours").status_code == 401
    assert house.asks(Role.DEVICE).get("/nothing/of/ours").status_code == 404


def test_sec_01_a_wrong_token_is_wrong_even_with_a_good_cookie(house: House) -> None:
    browser, _ = house.browses(Role.ADMIN)
    answer = browser.get("/access", headers={"Authorization": "Bearer clp_" + "A" * 43})
    assert answer.status_code == 401 and "invalid_token" in answer.headers["www-authenticate"]


def test_sec_01_probes_and_style_sheets_are_open(house: House) -> None:
    for path in ("/healthz", "/static/style.css", "/enter"):
        assert house.asks().get(path).status_code == 200, path


def test_answers_may_be_streamed(house: House) -> None:
    answer = a_small_app(house).get("/streamed", headers=bearer(house, Role.OPERATOR))
    assert answer.text == "one two"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_web_sockets_are_closed(house: House) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), house.asks(Role.ADMIN).websocket_connect("/"):
        pass


# --- cookies and forms


def test_sec_01_a_cookie_needs_the_token_of_its_forms(house: House) -> None:
    browser, csrf = house.browses(Role.OPERATOR)
    app = a_small_app(house)
    app.cookies = browser.cookies
    assert app.get("/seen").status_code == 200
    assert app.post("/done").status_code == 403
    assert app.post("/done", data={"csrf": "x"}).status_code == 403
    assert app.post("/done", json={"csrf": csrf}).status_code == 403, "no form: the header"
    form = app.post("/done", data={"csrf": csrf, "why": "é"})
    assert form.status_code == 200 and form.json()["bytes"] == len(f"csrf={csrf}&why=%C3%A9")
    assert app.post("/done", json={}, headers={"X-CSRF-Token": csrf}).status_code == 200
    parts = app.post("/done", data={"csrf": csrf}, files={"mask": ("m.png", b"12345")})
    assert parts.status_code == 200 and parts.json()["bytes"] > 5


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe=%", b"--x\r\nbroken", b"csrf=a&csrf=b", b"&" * 5000]
)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
             "multipart/form-data", "application/x-www-form-urlencoded; charset=utf-7"],
)  # fmt: skip
def test_sec_01_a_broken_form_is_refused(house: House, body: bytes, kind: str) -> None:
    browser, _ = house.browses(Role.OPERATOR)
    answer = browser.post("/leave", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 403


def test_sec_01_another_sessions_form_is_refused(house: House) -> None:
    browser, _ = house.browses(Role.OPERATOR)
    _, other = house.browses(Role.ADMIN)
    assert browser.post("/leave", data={"csrf": other}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": ADDRESS}, 303),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 403),  # Label Studio beside us
        ({"Origin": "https://127.0.0.1:8000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": ADDRESS}, 403),
    ],
)
def test_sec_01_a_form_of_a_foreign_page_does_nothing(
    house: House, headers: dict[str, str], status: int
) -> None:
    browser, csrf = house.browses(Role.OPERATOR)
    assert browser.post("/leave", data={"csrf": csrf}, headers=headers).status_code == status


def test_sec_01_programs_with_a_token_need_no_form(house: House) -> None:
    app = a_small_app(house)
    headers = bearer(house, Role.OPERATOR) | {"Origin": "https://elsewhere.example"}
    assert app.post("/done", content=b"123", headers=headers).json() == {"bytes": 3}


def test_sec_01_a_session_that_ended_is_forgotten_by_the_browser(house: House) -> None:
    browser, _ = house.browses()
    house.book.leave(browser.cookies[cookie_name(house.book)])
    answer = browser.get("/access")
    assert answer.status_code == 303
    assert f"{cookie_name(house.book)}=" in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


# --- names


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("10.1.2.3:8000", 200),  # digits are nobody's name
        ("loop.example.org", 200),
        ("LOOP.example.org:443", 200),
        ("evil.example", 421),
        ("loop.example.org.evil.example", 421),
        ("localhost@evil.example", 421),
        ("localhost:x", 421),
        ("", 421),
    ],
)
def test_sec_01_a_foreign_name_is_refused_to_browsers(
    tmp_path: Path, host: str, status: int
) -> None:
    web = {"address": "https://loop.example.org"}
    house = a_house(tmp_path, Config.model_validate({"web": web}))
    assert house.asks().get("/enter", headers={"Host": host}).status_code == status
    assert house.asks().get("/healthz", headers={"Host": host}).status_code == 200
    with_token = house.asks(Role.ADMIN).get("/access", headers={"Host": host})
    assert with_token.status_code == 200, "who comes with a token knows whom he asks"


# --- bodies


def in_pieces(count: int, size: int = 1 << 20) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize("is_known", [True, False])
def test_sec_03_an_oversize_body_is_refused_before_it_is_read(
    house: House, *, is_known: bool
) -> None:
    app = a_small_app(house)
    headers = bearer(house, Role.OPERATOR) if is_known else {}
    told = app.post("/done", content=b"", headers=headers | {"Content-Length": str(LARGEST + 1)})
    assert told.status_code == 413
    odd = app.post("/done", content=b"", headers=headers | {"Content-Length": "-5"})
    assert odd.status_code == 413


def test_sec_03_an_oversize_body_in_pieces_is_refused_when_it_is_too_much(house: House) -> None:
    app, read = a_small_app(house), []

    def pieces() -> Iterator[bytes]:
        for piece in in_pieces(40):
            read.append(len(piece))
            yield piece

    answer = app.post("/done", content=pieces(), headers=bearer(house, Role.OPERATOR))
    assert answer.status_code == 413
    fits = app.post("/done", content=in_pieces(16), headers=bearer(house, Role.OPERATOR))
    assert fits.json() == {"bytes": LARGEST}


def test_sec_03_an_oversize_form_is_refused_before_its_token_is_looked_for(house: House) -> None:
    browser, csrf = house.browses()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/leave", content=in_pieces(17), headers=form).status_code == 413
    assert browser.post("/leave", data={"csrf": csrf}).status_code == 303


def test_sec_03_who_may_only_knock_may_not_send_much(house: House) -> None:
    visitor = house.asks()
    assert visitor.post("/enter", data={"secret": "x" * 60_000}).status_code != 413
    assert visitor.post("/enter", data={"secret": "x" * 70_000}).status_code == 413


def test_sec_03_a_body_that_does_not_come_is_waited_for_no_longer_than_it_earned() -> None:
    """SEC-03: a byte now and then would hold a connection, and a thread with it, for ever."""
    at, told = [0.0], list[int]()

    async def slow() -> Message:
        at[0] += 16.0
        told.append(4096)
        return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

    body = LimitedBody(slow, 1 << 20, clock=lambda: at[0])
    with pytest.raises(TooSlowError):
        asyncio.run(body.whole())
    assert body.trouble == 408
    assert len(told) == 2, "of 30 s, two pauses of 16 s leave nothing but what two pieces earned"


def test_sec_03_a_body_that_comes_steadily_may_take_its_time() -> None:
    at, left = [0.0], [100]

    async def steady() -> Message:
        at[0] += 2.0
        left[0] -= 1
        return {"type": "http.request", "body": b"x" * 8192, "more_body": left[0] > 0}

    body = LimitedBody(steady, 1 << 20, clock=lambda: at[0])
    assert len(asyncio.run(body.whole())) == 100 * 8192
    assert at[0] == 200.0


def test_sec_03_a_page_that_swallows_why_a_body_ended_is_answered_for_by_the_gate(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.0)
    answer = house.asks(Role.ADMIN).post("/access/revoke", data={"which": "nobody"})
    assert answer.status_code == 408
    assert answer.headers["connection"] == "close"


# --- guesses


def test_sec_01_wrong_guesses_are_slowed_and_right_ones_are_not(house: House) -> None:
    guesser = house.asks()
    for number in range(12):
        wrong = {"Authorization": f"Bearer clp_{number:043d}"}
        assert guesser.get("/rounds.json", headers=wrong).status_code == 401
    assert house.pauses == sorted(house.pauses) and len(house.pauses) == 9
    assert house.pauses[-1] == 5.0
    before = len(house.pauses)
    assert house.asks(Role.ADMIN).get("/access").status_code == 200
    assert len(house.pauses) == before, "nobody is locked out"


# --- headers


@pytest.mark.parametrize("path", ["/enter", "/rounds.json", "/nothing", "/healthz", "/static/x"])
def test_sec_01_every_answer_has_its_headers(house: House, path: str) -> None:
    answer = house.asks().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "script-src" not in policy and "unsafe-eval" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert "strict-transport-security" not in answer.headers
    if not path.startswith("/static"):
        assert answer.headers["cache-control"] == "no-store"


def test_sec_01_over_tls_browsers_are_told_to_stay_there(house: House) -> None:
    answer = house.asks(address="https://127.0.0.1").get("/enter")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_sec_01_an_error_of_ours_has_the_headers_too(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    app = FastAPI()

    @app.get("/broken", dependencies=[needs(Permission.OPEN)])
    def broken() -> None:
        raise RuntimeError("a fault")

    gate = Gate(app, book=house.book, own=own_addresses(Config()))
    client = TestClient(gate, base_url=ADDRESS, raise_server_exceptions=False)
    answer = client.get("/broken")
    assert answer.status_code == 500 and answer.headers["x-frame-options"] == "DENY"


# --- trouble


def test_sec_01_a_damaged_book_lets_nobody_in_but_probes(house: House, tmp_path: Path) -> None:
    (tmp_path / "access" / "access.json").write_bytes(b"{")
    answer = house.asks(Role.ADMIN).get("/access")
    assert answer.status_code == 503 and "the log says why" in answer.json()["detail"]
    assert house.asks().get("/healthz").status_code == 200


def test_sec_01_access_off_is_for_everybody_but_foreign_pages(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    app = FastAPI()

    @app.post("/done", dependencies=[needs(Permission.ADMINISTER)])
    def done(request: Request) -> str:
        caller = caller_of(request)
        return caller.name if caller else ""

    gate = Gate(app, book=None, own=own_addresses(Config()))
    client = TestClient(gate, base_url=ADDRESS)
    assert client.post("/done").json() == "anybody"
    assert client.post("/done", headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/done", headers={"Host": "evil.example"}).status_code == 421
    assert house.asks(Role.ADMIN).get("/access").status_code == 200


def test_sec_01_with_access_off_each_page_says_so(tmp_path: Path) -> None:
    from dataclasses import replace

    from cloud.web.app import make_app

    parts = replace(a_house(tmp_path).parts, book=None)
    client = TestClient(
        Gate(make_app(parts), book=None, own=own_addresses(Config())), base_url=ADDRESS
    )
    page = client.get("/access")
    assert page.status_code == 200 and "whoever reaches this page may do everything" in page.text


@pytest.mark.parametrize("path", ["/a%00b", "/%0d%0aSet-Cookie:x=1", "/rounds%7f"])
def test_sec_03_control_characters_in_an_address_are_refused(house: House, path: str) -> None:
    assert house.asks(Role.ADMIN).get(path).status_code == 400


def test_a_root_path_is_known_with_and_without_a_proxy_that_takes_it_away(tmp_path: Path) -> None:
    config = Config.model_validate({"web": {"address": "http://127.0.0.1:8000/corner/loop"}})
    house = a_house(tmp_path, config)

    def ask(path: str) -> Any:
        return house.asks().get(path, headers=HTML)

    for path in ("/access", "/corner/loop/access"):
        assert ask(path).headers["location"] == "/corner/loop/enter?next=%2Faccess"
    assert 'href="/corner/loop/static/style.css"' in ask("/corner/loop/enter").text
    assert house.asks().get("/healthz").status_code == 200
    assert house.asks().get("/corner/loop/static/style.css").status_code == 200
    assert house.asks().get("/corner/loophole").status_code == 401
