"""SEC-03: what somebody from outside may try; nothing is read or written elsewhere."""

import json
import os
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from starlette.types import Receive, Scope, Send

from annotation.class_runs import mask_from_runs
from annotation.formats import yolo_reading
from cloud.access.book import AccessBook
from cloud.access.permissions import Role
from lifelong.errors import ImageError, LifelongError
from lifelong.records.pixels import image_from_bytes, mask_from_png
from tests.whole_house import CANARY, Grounds, some_grounds

CLIMBING = [
    "..", "../canary.txt", "..%2fcanary.txt", "%2e%2e/canary.txt", "%2e%2e%2fcanary.txt",
    "%2e%2e%2f%2e%2e%2fcanary.txt", "%252e%252e%252fcanary.txt", "..%252fcanary.txt",
    "..%5ccanary.txt", "..%5c..%5ccanary.txt", "....//canary.txt", "..;/canary.txt",
    "%2fetc%2fpasswd", "/etc/passwd", "%2Fetc%2Fpasswd%00", "a%00b", "..%00/canary.txt",
    "%c0%ae%c0%ae%2fcanary.txt", "%ff%fe", "file:%2f%2f%2fetc%2fpasswd", "C:%5cwindows",
    "x" * 5000, "%0d%0aX-Injected:%201", "%e2%80%ae", ".", "%20", "-1", "1e9",
    "9" * 20,
]  # fmt: skip


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    return some_grounds(tmp_path_factory.mktemp("grounds"))


@pytest.fixture(scope="module")
def admin(grounds: Grounds) -> TestClient:
    return grounds.house.asks(Role.ADMIN)


def test_sec_03_no_address_with_a_parameter_can_be_led_outside(
    grounds: Grounds, admin: TestClient
) -> None:
    found, wrong = 0, []
    for method, path in grounds.paths():
        for attack in CLIMBING:
            address = f"{path}/{attack}" if path == "/static" else _filled(path, attack)
            answer = admin.request(method, address)
            found += 1
            is_read = CANARY in answer.text or "root:" in answer.text
            if is_read or answer.status_code >= 500 or "x-injected" in answer.headers:
                wrong.append((method, address[:80], answer.status_code))
            if method == "GET" and "%2f" in attack.lower() and answer.status_code == 200:
                wrong.append((method, address[:80], 200))
    assert wrong == [] and found > 300


def test_sec_03_the_pictures_that_are_there_are_shown(grounds: Grounds, admin: TestClient) -> None:
    """The attacks above would mean little if these addresses answered nobody."""
    page = admin.get("/rounds/3").text
    assert admin.get("/rounds/3").status_code == 200 and "/rounds/3" in page
    assert admin.get("/edges").status_code == 200


def _filled(path: str, attack: str) -> str:
    """The path with the attack in its last parameter, and something plausible in the others."""
    head, _, tail = path.rpartition("{")
    tail = tail.partition("}")[2]
    for name, value in (("{number}", "1"), ("{kind}", "before"), ("{edge}", "edge-0001")):
        head = head.replace(name, value)
    return f"{head}{attack}{tail}"


@pytest.mark.parametrize("path", ["/enter", "/leave", "/access/revoke", "/rounds/start"])
def test_sec_03_an_oversize_body_is_refused_everywhere(admin: TestClient, path: str) -> None:
    answer = admin.post(path, content=b"", headers={"Content-Length": str(17 << 20)})
    assert answer.status_code == 413


PAGE, SUBMISSION = "0" * 32, "12345678-1234-1234-1234-123456789012"
UNSPEAKABLE = [
    b'{"page": "%s", "submission": "%s", "seconds": NaN, "reason": "x"}',
    b'{"page": "%s", "submission": "%s", "seconds": 1e999, "reason": "x"}',
    b'{"page": "%s", "submission": "%s", "seconds": 1, "reason": "\\ud800"}',
    b'{"page": "%s", "submission": "%s", "seconds": 1, "reason": "x", "\\ud800": 1}',
]


@pytest.mark.parametrize("body", UNSPEAKABLE)
def test_sec_03_what_no_json_can_carry_back_is_refused_in_words(
    admin: TestClient, body: bytes
) -> None:
    """SEC-03: it was a 500, because the refusal repeated what was sent."""
    content = body.replace(b"%s", PAGE.encode(), 1).replace(b"%s", SUBMISSION.encode(), 1)
    headers = {"Content-Type": "application/json"}
    for path in ("/correct/next", "/correct/keep", "/correct/x/skip", "/correct/x/prompt"):
        answer = admin.post(path, content=content, headers=headers)
        assert answer.status_code == 422, path
        assert answer.json()["detail"][0]["msg"]


def test_sec_03_a_refusal_does_not_repeat_what_was_sent(admin: TestClient) -> None:
    answer = admin.post("/access/rotate", data={"grace_hours": "a-secret-pasted-here"})
    assert answer.status_code == 422 and "grace_hours" in answer.text
    assert "pasted" not in answer.text


# --- what is unpacked


def _png_of(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG whose head promises so many pixels, and whose data are few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMBS = [(60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (100_000, 1_001)]


@pytest.mark.parametrize("size", BOMBS)
def test_sec_03_a_picture_that_would_unpack_to_gigabytes_is_refused(size: tuple[int, int]) -> None:
    bomb = _png_of(*size)
    for read in (image_from_bytes, mask_from_png):
        with pytest.raises(ImageError, match="a bomb"):
            read(bomb, "a bomb")


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PPM", "SGI"])
def test_sec_03_only_six_kinds_of_pictures_are_decoded_whatever_they_are_called(kind: str) -> None:
    """SEC-03: Pillow hands EPS to Ghostscript, and a DDS of unknown pixels ended the inbox."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    for read in (image_from_bytes, mask_from_png):
        with pytest.raises(ImageError, match=r"image\.jpg"):
            read(file.getvalue(), "image.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_sec_03_the_six_kinds_are_decoded(kind: str) -> None:
    file = BytesIO()
    Image.new("RGB", (8, 6)).save(file, kind)
    assert image_from_bytes(file.getvalue(), "x").shape == (6, 8, 3)


def test_sec_03_whatever_a_decoder_raises_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("Unknown pixel format flags")

    monkeypatch.setattr(Image.Image, "convert", broken)
    with pytest.raises(ImageError, match="Unknown pixel format"):
        image_from_bytes(_png_of(4, 4), "x")


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 20_000)])
def test_sec_03_the_size_of_a_bomb_among_yolo_pictures_is_a_named_error_or_a_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "bomb.png").write_bytes(_png_of(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"bomb\.png"):
            yolo_reading.upright_size(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff",
        (2**31).to_bytes(4, "little") + b"\x00" * 100,
        (1).to_bytes(4, "little") + b"\x00" + b"\xff\xff\xff\xff\x0f",
        (1).to_bytes(4, "little") + b"\x00" + b"\xff" * 50 + b"\x01",
        (2).to_bytes(4, "little") + b"\x00\x01" + b"\xff\xff\xff\xff\x0f" * 2,
    ],
)
def test_sec_03_runs_of_a_mask_that_promise_more_than_the_picture_are_refused(data: bytes) -> None:
    with pytest.raises(LifelongError):
        mask_from_runs(data, 48, 64, "a mask")


# --- a thousand requests that a machine made up

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.symlink", "os.link",
            "shutil.rmtree", "subprocess.Popen", "os.system", "socket.connect"}  # fmt: skip


class Touched:
    """Files that were written and read while somebody watches, by an audit hook of Python."""

    def __init__(self, allowed: Path) -> None:
        self._allowed = str(allowed)
        self._own = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[3]))
        self.is_on = False
        self.outside: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, facts: tuple[Any, ...]) -> None:
        if not self.is_on or not (event == "open" or event in _CHANGES):
            return
        place = os.fsdecode(facts[0]) if isinstance(facts[0], str | bytes) else ""
        if not place or place.startswith((self._allowed, "/dev/", "/proc/self")):
            return
        is_read = event == "open" and not (isinstance(facts[2], int) and facts[2] & _WRITING)
        if is_read and place.startswith((*self._own, "/usr/share/zoneinfo", "/etc/mime.types")):
            return
        if "__pycache__" not in place:
            self.outside.append(f"{event} {place}")


class _WithSchema:
    """The house behind its gate; its description at an address of its own."""

    def __init__(self, grounds: Grounds) -> None:
        self._gate = grounds.house.gate
        self._schema = json.dumps(grounds.house.app.openapi()).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/openapi.json":
            await self._gate(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._schema})


@pytest.fixture(scope="module")
def touched(grounds: Grounds) -> Iterator[Touched]:
    watch = Touched(grounds.folder)
    yield watch
    watch.is_on = False


def test_the_watch_sees_what_is_touched_outside(
    grounds: Grounds, touched: Touched, tmp_path: Path
) -> None:
    touched.is_on = True
    (grounds.folder / "inside").write_text("x", encoding="utf-8")
    (tmp_path / "outside").write_text("x", encoding="utf-8")
    Path("/etc/hostname").exists()
    touched.is_on = False
    assert touched.outside == [f"open {tmp_path / 'outside'}"]
    touched.outside.clear()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sec_03_a_thousand_made_up_requests_break_nothing_and_touch_nothing_outside(
    grounds: Grounds, touched: Touched
) -> None:
    """As an admin, so that no gate stands before the code; by our own description of ourselves."""
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_asgi("/openapi.json", _WithSchema(grounds))
    client = TestClient(
        grounds.house.gate,
        base_url="http://127.0.0.1:8000",
        follow_redirects=False,
        raise_server_exceptions=False,
    )
    admins = _Admins(grounds.house.book)
    operations = [found.ok() for found in schema.get_all_operations()]
    each = -(-1000 // len(operations)) + 1
    broken: list[tuple[object, ...]] = []
    statuses: Counter[int] = Counter()
    by_path: Counter[str] = Counter()

    def ask(path: str, wire: dict[str, Any]) -> int:
        wire["headers"] = {**(wire.get("headers") or {}), "Authorization": admins.header()}
        touched.is_on = True
        answer = client.request(**wire)
        touched.is_on = False
        statuses[answer.status_code] += 1
        by_path[path] += 1
        if answer.status_code >= 500 and not _is_known(answer.status_code, answer.text):
            broken.append((wire["method"], path, answer.status_code, answer.text[:200]))
        if CANARY in answer.text:
            broken.append((wire["method"], path, answer.status_code, "canary"))
        return answer.status_code

    def sent(case: Any) -> None:
        wire = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
        wire.pop("cookies", None)
        ask(case.path, wire)

    for operation in operations:
        _try(operation, sent, each)
    for ended in ("revoke", "rotate"):  # in earnest, which made-up names never are
        admins.header()  # whoever asks next
        wire = {"method": "POST", "url": f"/access/{ended}", "data": {"which": admins.name}}
        assert ask(f"/access/{ended}", wire) in {200, 303}
        assert not admins.are_known(), "the token that asked has ended"
    assert ask("/", {"method": "GET", "url": "/"}) == 200, "another admin asks"
    assert broken == []
    assert by_path["/access/revoke"] > each
    assert by_path.total() >= 1000
    assert statuses[200] > 100 and statuses[303], "some of them were meant seriously"
    assert touched.outside == []
    assert (grounds.folder / "canary.txt").read_text(encoding="utf-8") == CANARY


class _Admins:
    """An admin who asks; when a request ended the token that it came with, another one."""

    def __init__(self, book: AccessBook) -> None:
        self._book, self._secret, self._made = book, "", 0
        self.name = ""

    def are_known(self) -> bool:
        return bool(self._secret) and self._book.by_token(self._secret) is not None

    def header(self) -> str:
        if not self.are_known():
            self._made += 1
            self.name = f"fuzzing admin {self._made}"
            self._secret = self._book.make_token(self.name, Role.ADMIN)[1]
        return f"Bearer {self._secret}"


def _is_known(status: int, text: str) -> bool:
    """503 with its reason is an answer and no fault: not ready, or something is away."""
    return status == 503 and bool(text)


def _try(operation: Any, sent: Any, count: int) -> None:
    # `count` distinct cases if there are so many; else hypothesis stops before, and plain ones
    # are sent again, which is what people do, too.
    done = 0
    last: Any = None

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def one(case: Any) -> None:
        nonlocal done, last
        done, last = done + 1, case
        sent(case)

    one()
    for _ in range(count - done):
        sent(last)
