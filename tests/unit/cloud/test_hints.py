"""Hints from Label Studio: answered at once, guarded, and one look for a thousand of them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from annotation.webhooks import HINT_PATH, SECRET_HEADER
from cloud.service import Service
from cloud.web.app import make_app
from lifelong.config import RoundsSection
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import NOON
from tests.web_parts import some_parts

SECRET = "a long random text"


def an_app(hints: list[int], secret: str = SECRET) -> TestClient:
    return TestClient(
        make_app(
            some_parts(hint=lambda: hints.append(1), secret=secret),
        )
    )


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({SECRET_HEADER: SECRET}, b'{"action": "ANNOTATION_CREATED"}', 204),
        ({SECRET_HEADER: SECRET}, b"", 204),
        ({SECRET_HEADER: SECRET}, b"not JSON, and nobody reads it", 204),
        ({}, b"{}", 401),
        ({SECRET_HEADER: ""}, b"{}", 401),
        ({SECRET_HEADER: SECRET[:-1]}, b"{}", 401),
        ({SECRET_HEADER: "ä".encode()}, b"{}", 401),
        ({SECRET_HEADER: SECRET}, b"x" * (64 * 1024 + 1), 413),
        ({}, b"x" * (64 * 1024 + 1), 401),
        ({SECRET_HEADER: SECRET, "content-length": "-5"}, b"", 413),
        ({SECRET_HEADER: SECRET, "content-length": "many"}, b"", 413),
    ],
)
def test_a_hint_needs_the_secret_and_a_small_body(
    headers: dict[str, str | bytes], body: bytes, status: int
) -> None:
    hints: list[int] = []
    answer = an_app(hints).post(HINT_PATH, content=body, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert len(hints) == (status == 204)


def test_a_body_without_a_length_is_read_no_further_than_the_bound() -> None:
    hints: list[int] = []
    sent = [0]

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            sent[0] += 1
            yield b"x" * 4096

    answer = an_app(hints).post(HINT_PATH, content=endless(), headers={SECRET_HEADER: SECRET})
    assert answer.status_code == 413
    assert hints == []


def test_without_a_secret_there_is_no_such_address() -> None:
    hints: list[int] = []
    assert an_app(hints, secret="").post(HINT_PATH).status_code in {404, 405}
    assert an_app(hints).get(HINT_PATH).status_code == 405
    assert hints == []


def test_hints_that_are_wanted_need_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.assembly import webhook_secret

    section = LabelStudioSection(webhook_url="http://127.0.0.1:8000")
    monkeypatch.delenv(section.webhook_secret_env, raising=False)
    with pytest.raises(ConfigError, match="CORNERLOOP_WEBHOOK_SECRET is empty"):
        webhook_secret(section)
    monkeypatch.setenv(section.webhook_secret_env, SECRET)
    assert webhook_secret(section) == SECRET
    assert webhook_secret(LabelStudioSection()) == ""


class Looking(Service):
    """A service whose looks are counted; each lets the test know."""

    def __init__(self, folder: Path, pause: float) -> None:
        super().__init__(
            ports=None,  # type: ignore[arg-type]
            rounds=None,  # type: ignore[arg-type]
            lease=NoLease(),  # type: ignore[arg-type]
            rules=RoundsSection(step_seconds=pause),
            people_pause_s=pause,
            journal=Journal(folder, "cloud", lambda: NOON),
            now=lambda: NOON,
        )
        self.looks = 0
        self.looked = threading.Event()

    def step(self) -> bool:
        self.looks += 1
        self.looked.set()
        return False

    def _pause(self) -> float:
        return self._rules.step_seconds


class NoLease:
    def hold(self) -> bool:
        return True

    def release(self) -> None:
        return None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Looking]:
    """A service that would look once an hour."""
    service, stop = Looking(tmp_path, pause=3600.0), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    yield service
    stop.set()
    service.wake()
    thread.join(timeout=60)
    assert not thread.is_alive(), "a pause ends when it is time to stop"


def test_a_hint_ends_the_pause_and_a_thousand_are_one_look(running: Looking) -> None:
    for _ in range(1000):
        running.wake()
    assert running.looked.wait(60)
    assert running.looks == 1
    running.looked.clear()
    running.wake()  # one more, later: it deserves a look of its own
    assert running.looked.wait(60)
    assert running.looks == 2


def test_a_service_without_hints_looks_when_its_pause_is_over(tmp_path: Path) -> None:
    service, stop = Looking(tmp_path, pause=0.01), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    for _ in range(3):
        assert service.looked.wait(60)
        service.looked.clear()
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
