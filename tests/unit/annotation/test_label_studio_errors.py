"""What goes wrong on the way to Label Studio becomes our errors, once, without secrets."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annotation.label_studio import LabelStudio
from lifelong.errors import (
    LabelStudioError,
    LabelStudioRefusedError,
    LabelStudioUnavailableError,
)

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def a_studio_that_answers(
    status: int, body: str, *, after_s: float = 0.0
) -> Iterator[tuple[LabelStudio, list[str]]]:
    """A client of a server that always says the same, and the requests it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path}")
            time.sleep(after_s)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.send_header("Set-Cookie", "sessionid=secret")
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return None

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # the client did not wait

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    studio = LabelStudio(f"http://127.0.0.1:{server.server_port}", TOKEN, 0.5)
    try:
        yield studio, asked
    finally:
        studio.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_trouble_on_their_side_is_worth_a_retry_but_never_retried_here(status: int) -> None:
    with (
        a_studio_that_answers(status, '{"detail": "database is locked"}') as (studio, asked),
        pytest.raises(LabelStudioUnavailableError, match="database is locked") as caught,
    ):
        studio.import_tasks(3, [{"data": {}}])
    assert caught.value.retryable
    assert len(asked) == 1  # a repeated POST makes twins


@pytest.mark.parametrize(
    ("status", "told"), [(400, "title"), (401, "check the token"), (403, "check the token")]
)
def test_a_refusal_says_why_and_quotes_no_cookie_and_no_token(status: int, told: str) -> None:
    body = json.dumps({"validation_errors": {"title": ["too short"]}})
    with (
        a_studio_that_answers(status, body) as (studio, _),
        pytest.raises(LabelStudioRefusedError, match=told) as caught,
    ):
        studio.create_project("x", "<View/>", "")
    assert not caught.value.retryable
    assert "secret" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_an_answer_that_takes_too_long_is_worth_a_retry() -> None:
    with (
        a_studio_that_answers(200, "{}", after_s=1.0) as (studio, asked),
        pytest.raises(LabelStudioUnavailableError, match="ReadTimeout"),
    ):
        studio.import_tasks(3, [{"data": {}}])
    assert len(asked) == 1


@pytest.mark.parametrize("body", ["<html>a router's start page</html>", "[]", '{"id": "x"}'])
def test_somebody_else_at_the_address_is_told_from_label_studio(body: str) -> None:
    with a_studio_that_answers(200, body) as (studio, _):
        with pytest.raises(LabelStudioError, match="as Label Studio does"):
            studio.whoami()
        with pytest.raises(LabelStudioError):
            studio.create_project("Cornerloop", "<View/>", "")


def test_what_is_not_there_is_none_and_deleting_it_is_fine() -> None:
    with a_studio_that_answers(404, '{"detail": "No Task matches"}') as (studio, _):
        assert studio.task(7) is None
        studio.delete_task(7)
        with pytest.raises(LabelStudioRefusedError, match="No Task matches"):
            studio.skip_task(7)


def test_tasks_are_sent_a_hundred_at_a_time() -> None:
    answer = json.dumps({"task_count": 1, "annotation_count": 0, "duration": 0.1})
    with a_studio_that_answers(201, answer) as (studio, asked):
        studio.import_tasks(3, [{"data": {}}] * 201)
    assert len(asked) == 3
