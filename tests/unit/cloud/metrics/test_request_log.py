"""Every request has an id; a failure tells it, and the log has it with the traceback (OPS-03)."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.access.book import AccessBook
from cloud.access.permissions import Role
from cloud.metrics.measures import Measures
from cloud.web.request_log import RequestLog
from lifelong.links.journal import utc_now
from lifelong.links.request_ids import current_request
from tests.web_parts import a_gate, some_parts


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()

    @app.get("/id")
    def named() -> dict[str, str]:
        return {"id": current_request()}

    @app.get("/breaks")
    def breaks() -> None:
        raise RuntimeError("the disk is on fire")

    app.add_middleware(RequestLog, measures=Measures())
    return TestClient(app)


def test_ops_03_the_askers_id_is_kept_and_comes_back(client: TestClient) -> None:
    answer = client.get("/id", headers={"X-Request-ID": "gateway-42"})
    assert answer.headers["x-request-id"] == "gateway-42"
    assert answer.json() == {"id": "gateway-42"}, "also in the thread that answers"


@pytest.mark.parametrize("strange", ["", "a b", "<script>", "x" * 100])
def test_ops_03_what_has_not_the_form_of_an_id_is_replaced(
    client: TestClient, strange: str
) -> None:
    answer = client.get("/id", headers={"X-Request-ID": strange})
    assert answer.headers["x-request-id"] == answer.json()["id"] != strange
    assert len(answer.json()["id"]) == 16


def test_ops_03_a_failure_tells_the_id_and_nothing_of_the_inside(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = client.get("/breaks", headers={"X-Request-ID": "gateway-43"})
    assert answer.status_code == 500
    assert "gateway-43" in answer.text
    assert answer.headers["x-request-id"] == "gateway-43"
    assert "fire" not in answer.text
    assert "GET /breaks failed" in caplog.text
    assert "the disk is on fire" in caplog.text


def test_ops_03_what_the_gate_refuses_has_an_id_too_and_counts_once(tmp_path: Path) -> None:
    measures = Measures()
    book = AccessBook(tmp_path / "access", utc_now, 1.0)
    gate = a_gate(some_parts(book=book, measures=measures))
    asker = TestClient(RequestLog(gate, measures=measures), base_url="http://127.0.0.1:8000")
    refused = asker.get("/rounds.json", headers={"X-Request-ID": "gateway-44"})
    assert (refused.status_code, refused.headers["x-request-id"]) == (401, "gateway-44")
    _, token = book.make_token("tess", Role.OPERATOR)
    known = asker.get("/rounds.json", headers={"Authorization": f"Bearer {token}"})
    assert known.status_code == 200
    counted = [
        (sample.labels["status"], sample.value)
        for metric in measures.registry.collect()
        for sample in metric.samples
        if sample.name == "http_requests_total" and sample.value
    ]
    assert sorted(counted) == [("2xx", 1.0), ("4xx", 1.0)]


def test_ops_03_a_page_that_breaks_behind_the_gate_tells_its_id_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """OPS-06: as `serve` is built; Starlette would say "Internal Server Error" and tell uvicorn,
    which writes the traceback once more."""

    def broken() -> str:
        raise RuntimeError("the disk is on fire")

    parts = some_parts(book=AccessBook(tmp_path / "access", utc_now, 1.0))
    _, token = parts.book.make_token("tess", Role.ADMIN)
    gate = a_gate(replace(parts, site=replace(parts.site, trouble=broken)))
    asker = TestClient(RequestLog(gate), base_url="http://127.0.0.1:8000")
    bearer = {"Authorization": f"Bearer {token}", "X-Request-ID": "gateway-45"}
    with caplog.at_level(logging.ERROR):
        answer = asker.get("/", headers=bearer)
    assert answer.status_code == 500
    assert "gateway-45" in answer.text and "fire" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"
    assert caplog.text.count("GET / failed") == 1
