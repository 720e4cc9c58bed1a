"""Lines of a log: for people and machines, with the id of a request, without secrets and pixels."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from lifelong.config import load_config
from lifelong.links import redaction
from lifelong.links.journal import Journal, read_events
from lifelong.links.logs import JsonLines, TextLines, WithoutSecrets, set_up
from lifelong.links.redaction import HIDDEN, cleaned, cleaned_value, hide, hide_environment
from lifelong.links.request_ids import current_request, in_request, request_id


@pytest.fixture(autouse=True)
def forget_what_was_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", ())


@pytest.fixture
def logger() -> Iterator[Callable[[logging.Formatter], tuple[logging.Logger, io.StringIO]]]:
    """A logger with a handler as `set_up` makes it, and what it wrote."""
    made = logging.getLogger("tests.logs")
    made.propagate = False
    made.setLevel(logging.DEBUG)
    handlers: list[logging.Handler] = []

    def begin(formatter: logging.Formatter) -> tuple[logging.Logger, io.StringIO]:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(formatter)
        handler.addFilter(WithoutSecrets())
        made.addHandler(handler)
        handlers.append(handler)
        return made, out

    yield begin
    for handler in handlers:
        made.removeHandler(handler)


def test_ops_06_a_line_is_one_json_object(logger) -> None:
    log, out = logger(JsonLines("cloud"))
    with in_request("gateway-42"):
        log.warning("round %s: %s", 7, "two\nlines")
    log.info("later")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["level"] == "warning"
    assert first["logger"] == "tests.logs"
    assert first["node"] == "cloud"
    assert first["request"] == "gateway-42"
    assert first["message"] == "round 7: two\nlines"
    assert first["at"].endswith("+00:00")
    assert "request" not in second


def test_ops_06_a_line_for_people_ends_with_the_requests_id(logger) -> None:
    log, out = logger(TextLines())
    with in_request("gateway-42"):
        log.info("one")
    assert out.getvalue().rstrip().endswith("one [gateway-42]")


def test_ops_06_a_traceback_is_cleaned_too(logger) -> None:
    log, out = logger(JsonLines("cloud"))
    try:
        raise RuntimeError("https://ada:planted-password@host/ refused")
    except RuntimeError:
        log.exception("failed")
    line = json.loads(out.getvalue())
    assert "RuntimeError" in line["traceback"]
    assert "planted-password" not in out.getvalue()


def test_ops_06_a_message_that_does_not_fit_its_arguments_is_told() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%d frames", ("many",), None)
    assert WithoutSecrets().filter(record)
    assert record.getMessage() == "%d frames ('many',)"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://camera:planted-1@10.0.0.7/stream",
        "GET https://s3/bucket/a.jpg?X-Amz-Credential=planted&X-Amz-Signature=planted HTTP/1.1",
        "https://blob/a.jpg?sv=1&sig=planted%3D",
        "Authorization: Token planted0123456789",
        "{'authorization': 'Basic planted', 'accept': '*/*'}",
        "[(b'authorization', b'Bearer planted'), (b'host', b'x')]",
        "Cookie: session=planted; csrf=planted",
        "Set-Cookie: session=planted; HttpOnly",
        "sent Bearer planted12345678",
        '{"password": "planted", "user": "ada"}',
        "password=planted user=ada",
        "aws_secret_access_key=planted",
        "token clpd_planted0123456789abcdefghij was refused",
        "eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxfQ.planted_planted",
        "key AKIAPLANTEDPLANTED12",
        "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----",
    ],
)
def test_ops_06_secrets_go_by_their_form(text: str) -> None:
    assert "planted" not in cleaned(text).lower(), cleaned(text)
    assert cleaned(cleaned(text)) == cleaned(text)


@pytest.mark.parametrize(
    "text",
    [
        "LabelStudio refused: the token, the project or the request is wrong",
        "kept 0f3a9c11d2e4b5a6: entropy 0.52 ≥ 0.40",
        "weights 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 are damaged",
        "releases/000007.json was signed by a key that is not in the key ring",
        "environment variable CORNERLOOP_LABEL_STUDIO_TOKEN is empty: set it to a token",
        "https://host/projects/3/data?task=77",
        "shape (3, 480, 640), boxes [[1, 2, 3, 4]]",
    ],
)
def test_ops_06_what_is_no_secret_is_left_alone(text: str) -> None:
    assert cleaned(text) == text


def test_ops_06_known_secrets_go_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of variables with names of the user's own, once the configuration was read."""
    hide_environment({"MINIO_SECRET": "planted-minio", "HOME": "planted-home", "X_TOKEN": "abc"})
    hide(["planted-file"])
    assert cleaned("a planted-minio b planted-file") == f"a {HIDDEN} b {HIDDEN}"
    assert cleaned("planted-home abc") == "planted-home abc", "no secret; too short to be one"
    monkeypatch.setenv("LS_PAT", "planted-pat")
    (tmp_path / "config.yaml").write_text("label_studio: {token_env: LS_PAT}")
    load_config(tmp_path / "config.yaml")
    assert cleaned("x planted-pat x") == f"x {HIDDEN} x"


@pytest.mark.parametrize(
    "text",
    [
        "another",
        "opened with another, refused",
        "user=ada:another@host",
        "ada%3Aanother%40host",
        "'user\\nanother\\n'",
        "another1",
        "_another_",
        "1another",
    ],
)
def test_ops_06_a_secret_that_is_a_word_goes_where_it_stands_by_itself(text: str) -> None:
    hide(["another"])
    assert cleaned(text) == text.replace("another", HIDDEN)


@pytest.mark.parametrize("text", ["the secretary", "undersecret", "Secrets", "geheimsecretö"])
def test_ops_06_words_that_hold_a_secret_that_is_a_word_are_left_alone(text: str) -> None:
    hide(["secret", "Secret"])
    assert cleaned(text) == text


@pytest.mark.parametrize("secret", ["secret1", "se-cret", "qwertzuiopasdfgh", "corréct horse"])
def test_ops_06_a_secret_that_is_no_word_goes_within_words_too(secret: str) -> None:
    hide([secret])
    assert cleaned(f"xx{secret}xx") == f"xx{HIDDEN}xx"


@pytest.mark.parametrize("dressed", [repr, json.dumps, quote, lambda text: quote(text, safe="")])
def test_ops_06_a_known_secret_goes_in_the_dress_of_addresses_json_and_python(
    dressed: Callable[[str], str],
) -> None:
    secret = 'planted/p@ss "wörd"\n\\'
    hide([secret.strip()])
    assert "planted" not in cleaned(f"x {dressed(secret)} x"), cleaned(dressed(secret))


def test_ops_06_a_secret_that_is_the_name_of_a_field_spoils_no_journal(tmp_path: Path) -> None:
    hide(["sample", "sample_id", "edge_id"])
    Journal(tmp_path, "gate-1").event("hard_example.kept", sample_id="0f3a9c11d2e4b5a6", edge_id=1)
    (event,) = read_events(tmp_path)
    assert (event["sample_id"], event["edge_id"]) == ("0f3a9c11d2e4b5a6", 1)


def test_ops_06_what_comes_from_outside_makes_up_no_line_and_moves_no_cursor(logger) -> None:
    log, out = logger(TextLines())
    forged = "x\n2026-11-22 08:00:00,000 INFO cloud.service: round 7: released\r\x1b[2J\u202e"
    log.warning("edge %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        log.exception("it failed")
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if not line.startswith("    ")]) == 2
    assert not set("\r\x1b\u202e") & set(out.getvalue())


def test_ops_06_pixels_become_their_sizes(logger) -> None:
    log, out = logger(JsonLines("cloud"))
    picture = np.arange(480, dtype=np.uint8).reshape(12, 40)
    log.debug("mask %s of %s", picture, b"\xff\xd8" * 600)
    log.debug("%s", {"mask": picture, "rle": list(range(100)), "n": 3})
    log.debug("%r", [picture[:, :3]])
    log.debug("payload %s", "QUJD" * 200)
    log.debug("bytes %s", str(bytes(range(128, 200))))
    text = out.getvalue()
    assert "[array (12, 40) uint8]" in text
    assert "[1200 bytes]" in text
    assert "[100 numbers left out]" in text
    assert "QUJDQUJD" not in text
    assert "\\\\x80" not in text
    assert cleaned_value(np.float64(3.5)) == 3.5, "a number is no picture"


def test_ops_06_journals_hold_no_secrets_either(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gate-1")
    with in_request("gateway-42"):
        journal.event(
            "source.away",
            reason="rtsp://camera:planted@10.0.0.7 does not answer",
            sample_id="0f3a9c11d2e4b5a6",
            nested={"token": "planted", "list": ["https://a:planted@b/"]},
            score=0.5,
        )
    (event,) = read_events(tmp_path)
    assert "planted" not in json.dumps(event)
    assert event["sample_id"] == "0f3a9c11d2e4b5a6"
    assert event["score"] == 0.5
    assert event["request"] == "gateway-42"


def test_ops_06_handlers_of_others_are_cleaned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that we are part of has set up its own logging before us."""
    out, root = io.StringIO(), logging.getLogger()
    other = logging.StreamHandler(out)
    root.addHandler(other)
    try:
        assert set_up(level=logging.INFO, environ={}) is None
        logging.getLogger("tests.others").error("password=planted")
    finally:
        root.removeHandler(other)
    assert out.getvalue() == f"password={HIDDEN}\n"


def test_ops_06_what_pillow_warns_of_foreign_pictures_is_hidden_by_who_sets_a_program_up() -> None:
    warnings.resetwarnings()  # of this test: pytest puts them back
    warnings.simplefilter("error")
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        set_up(level=root.level, environ={})
    finally:
        root.handlers[:] = before
    warnings.warn_explicit("of foreign words", UserWarning, "f", 1, module="PIL.TiffImagePlugin")
    with pytest.raises(UserWarning):
        warnings.warn_explicit("of ours", UserWarning, "f", 1, module="cloud.inbox")


def test_ops_03_ids_of_requests() -> None:
    assert request_id("gateway-42") == "gateway-42"
    for strange in ("", "<script>", "a b c d", "x" * 65, "abc\n"):
        made = request_id(strange)
        assert made != strange
        assert len(made) == 16
    assert current_request() == ""
    with in_request("one1"):
        with in_request("two2"):
            assert current_request() == "two2"
        assert current_request() == "one1"
