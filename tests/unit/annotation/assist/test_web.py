"""The ML-backend protocol over HTTP, before a stub that answers."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from annotation.assist import web
from annotation.assist.segmenter import Readiness
from annotation.assist.web import assist_router
from lifelong.errors import ModelNotReadyError, PromptError

BASIC = "Basic " + base64.b64encode(b"cornerloop:secret").decode()
WITH_PASSWORD = {"Authorization": BASIC}


class OnlyBasic:
    def allows(self, authorization: str | None) -> bool:
        return authorization == BASIC


class StubAssistant:
    def __init__(self) -> None:
        self.states: dict[str, Readiness] = {"tiny_sam": Readiness.READY}
        self.error: Exception | None = None
        self.hints: list[tuple[bytes, bool]] = []
        self.asked: list[bytes] = []

    def version(self) -> str:
        return "tiny_sam-12345678"

    def readiness(self) -> Mapping[str, Readiness]:
        return self.states

    def state(self) -> dict[str, Any]:
        model = {"name": "tiny_sam", "readiness": "failed", "version": "", "is_default": True,
                 "words": "no <weights>: run `cornerloop models pull`"}  # fmt: skip
        return {"models": [model], "work": [], "troubles": [], "projects": []}

    def setup(self, body: bytes) -> str:
        self._answer(body)
        return self.version()

    def predict(self, body: bytes) -> list[dict[str, Any]]:
        self._answer(body)
        return [{"result": [], "score": 0.0, "model_version": self.version()}]

    def hint(self, body: bytes, *, trusted: bool) -> None:
        self.hints.append((body, trusted))

    def cancel(self, work_id: str) -> bool:
        return work_id == "w1"

    def _answer(self, body: bytes) -> None:
        self.asked.append(body)
        if self.error is not None:
            raise self.error


@pytest.fixture
def assistant() -> StubAssistant:
    return StubAssistant()


@pytest.fixture
def client(assistant: StubAssistant) -> TestClient:
    app = FastAPI()
    app.include_router(assist_router(assistant, OnlyBasic(), title="Here"), prefix="/assist")
    return TestClient(app)


def test_int_01_health_answers_while_weights_load_and_readiness_does_not(
    client: TestClient, assistant: StubAssistant
) -> None:
    """INT-01, OPS-02: health is the process's, readiness the models'."""
    assistant.states = {"tiny_sam": Readiness.READY, "sam_vit_b": Readiness.LOADING}
    health, ready = client.get("/assist/health"), client.get("/assist/ready")
    assert (health.status_code, health.json()["status"]) == (200, "UP")
    assert (ready.status_code, ready.json()["status"]) == (503, "loading")
    assert ready.json()["models"] == {"tiny_sam": "ready", "sam_vit_b": "loading"}


@pytest.mark.parametrize(
    ("states", "status", "told"),
    [
        ([Readiness.READY], 200, "ready"),
        ([Readiness.READY, Readiness.DEGRADED], 200, "degraded"),
        ([Readiness.LOADING, Readiness.DEGRADED], 503, "loading"),
        ([Readiness.LOADING, Readiness.FAILED], 503, "failed"),
    ],
)
def test_ops_02_the_worst_state_is_told(
    client: TestClient, assistant: StubAssistant, states: list[Readiness], status: int, told: str
) -> None:
    """OPS-02: loading, ready, degraded, failed."""
    assistant.states = {str(number): state for number, state in enumerate(states)}
    ready = client.get("/assist/ready")
    assert (ready.status_code, ready.json()["status"]) == (status, told)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/assist/setup"),
        ("POST", "/assist/predict"),
        ("GET", "/assist/versions"),
        ("GET", "/assist/state"),
        ("GET", "/assist/"),
        ("DELETE", "/assist/work/w1"),
    ],
)
@pytest.mark.parametrize("authorization", [None, "Basic !!", "Bearer secret", BASIC[:-2]])
def test_sec_01_nothing_but_health_and_hints_is_open(
    client: TestClient, assistant: StubAssistant, method: str, path: str, authorization: str | None
) -> None:
    """SEC-01: each endpoint, each way to be wrong."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert not assistant.asked


@pytest.mark.parametrize("path", ["/assist/setup", "/assist/predict"])
def test_sec_01_a_form_on_another_site_is_refused_though_the_browser_sends_the_password(
    client: TestClient, assistant: StubAssistant, path: str
) -> None:
    answer = client.post(
        path, content="{}", headers={**WITH_PASSWORD, "Origin": "http://elsewhere.example"}
    )
    assert answer.status_code == 403 and not assistant.asked
    same = {**WITH_PASSWORD, "Origin": "http://testserver"}
    assert client.post(path, content="{}", headers=same).status_code == 200


def test_int_01_setup_and_predict_answer_in_label_studios_words(client: TestClient) -> None:
    setup = client.post("/assist/setup", content=b"{}", headers=WITH_PASSWORD)
    assert setup.json() == {"model_version": "tiny_sam-12345678"}
    predict = client.post("/assist/predict", content=b"{}", headers=WITH_PASSWORD)
    assert predict.json() == {
        "results": [{"result": [], "score": 0.0, "model_version": "tiny_sam-12345678"}]
    }
    versions = client.get("/assist/versions", headers=WITH_PASSWORD)
    assert versions.json() == {"versions": ["tiny_sam-12345678"]}


@pytest.mark.parametrize(
    ("error", "status"),
    [(PromptError("no label"), 400), (ModelNotReadyError("still loading sam_vit_h"), 503)],
)
def test_ops_03_errors_are_words_and_a_status(
    client: TestClient, assistant: StubAssistant, error: Exception, status: int
) -> None:
    """OPS-03: what can be tried again is told apart."""
    assistant.error = error
    for path in ("/assist/setup", "/assist/predict"):
        answer = client.post(path, content=b"{}", headers=WITH_PASSWORD)
        assert (answer.status_code, answer.json()["error"]) == (status, str(error))


def test_sec_03_a_longer_body_than_announced_is_not_read_to_its_end(
    client: TestClient, assistant: StubAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-03: by its head, and by counting where the head lies or is missing."""
    monkeypatch.setattr(web, "_MAX_SETUP", 1000)
    assert (
        client.post("/assist/setup", content=b"x" * 1001, headers=WITH_PASSWORD).status_code == 413
    )
    pieces = (b"x" * 400 for _ in range(1000))
    assert client.post("/assist/setup", content=pieces, headers=WITH_PASSWORD).status_code == 413
    assert not assistant.asked


def test_a_hint_is_taken_from_anybody_and_says_whether_it_is_trusted(
    client: TestClient, assistant: StubAssistant
) -> None:
    body = json.dumps({"action": "ANNOTATION_CREATED"}).encode()
    assert client.post("/assist/webhook", content=body).status_code == 200
    assert client.post("/assist/webhook", content=body, headers=WITH_PASSWORD).status_code == 200
    assert assistant.hints == [(body, False), (body, True)]


def test_int_27_work_is_cancelled_by_its_id(client: TestClient) -> None:
    """INT-27: a cancelled one is told, an unknown one is 404."""
    assert client.delete("/assist/work/w1", headers=WITH_PASSWORD).json() == {"cancelled": True}
    assert client.delete("/assist/work/w2", headers=WITH_PASSWORD).status_code == 404


def test_ops_03_the_page_says_what_is_wrong_and_escapes_it(client: TestClient) -> None:
    """OPS-03: in words, with what to do."""
    page = client.get("/assist/", headers=WITH_PASSWORD).text
    assert "no &lt;weights&gt;: run `cornerloop models pull`" in page
    assert "No project is connected yet" in page and "Every question got an answer" in page
