"""Requests of Label Studio: what is needed of them, and nothing else, whatever they hold."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.assist.requests import (
    SetupRequest,
    Task,
    predict_request,
    project_number,
    setup_request,
    webhook_request,
)
from lifelong.errors import PromptError

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def a_request(**task: object) -> bytes:
    return json.dumps(
        {
            "tasks": [{"id": 7, "data": {"image": "/data/upload/1/a.jpg"}, "extra": [1], **task}],
            "project": "3.1763790000",
            "label_config": "<View/>",
            "params": {"login": None, "context": {"result": [{"type": "keypointlabels"}]}},
            "unknown": {"a": 1},
        }
    ).encode()


def test_int_01_a_request_of_the_smart_tool_is_read() -> None:
    """INT-01: one task, its context, the project's number."""
    read = predict_request(a_request())
    assert read.context == [{"type": "keypointlabels"}]
    assert read.tasks[0].data == {"image": "/data/upload/1/a.jpg"}
    assert project_number(read.project) == 3


@pytest.mark.parametrize("params", [None, {}, {"context": None}, {"login": "", "context": None}])
def test_int_01_a_request_without_context_asks_for_whole_tasks(params: object) -> None:
    body = json.dumps({"tasks": [{"id": 1, "data": {}}], "params": params}).encode()
    assert predict_request(body).context is None


def test_int_12_regions_of_a_task_stay_bytes_until_they_are_asked_for() -> None:
    """INT-12: even what is no list of regions does no harm to a click."""
    read = predict_request(a_request(drafts=[{"result": "?"}], annotations={"no": "list"}))
    assert read.tasks[0].regions() == []


def test_the_newest_piece_of_work_says_what_lies_on_the_picture() -> None:
    old, new = [{"id": "a"}], [{"id": "b"}]
    pieces = [
        {"result": new, "updated_at": "2026-11-22T10:00:00Z"},
        {"result": old, "updated_at": "2026-11-21T10:00:00Z"},
    ]
    assert predict_request(a_request(annotations=pieces)).tasks[0].regions() == new
    drafts = [{"result": [{"id": "c"}], "created_at": "2026-11-20T10:00:00Z"}]
    assert predict_request(a_request(drafts=drafts, annotations=pieces)).tasks[0].regions() == [
        {"id": "c"}
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, {}),
        ("", {}),
        ({"model_name": "sam"}, {"model_name": "sam"}),
        ('{"out_mask": "true"}', {"out_mask": "true"}),
    ],
)
def test_extra_parameters_come_as_an_object_or_as_json(given: object, wanted: object) -> None:
    assert SetupRequest(extra_params=given).extras() == wanted


@pytest.mark.parametrize("given", ["model_name=sam", "[1]", [1], 3])
def test_ops_03_other_extra_parameters_are_refused_in_words(given: object) -> None:
    with pytest.raises(PromptError, match="extra parameters"):
        SetupRequest(extra_params=given).extras()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"tasks": 3}', b"\xff\xfe", b"[" * 100_000])
def test_sec_03_what_is_no_request_is_a_named_error(body: bytes) -> None:
    with pytest.raises(PromptError, match="POST /predict"):
        predict_request(body)


@given(ANY_JSON)
def test_sec_03_no_json_raises_anything_else(content: object) -> None:
    body = json.dumps(content).encode()
    for read in (predict_request, setup_request, webhook_request):
        try:
            found = read(body)
        except PromptError:
            continue
        for task in getattr(found, "tasks", ()):
            task.regions()


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("7.1763790000", 7),
        ("7", 7),
        (7, 7),
        (None, None),
        ("x.1", None),
        ("٣.1", None),
        ("-1", None),
    ],
)
def test_a_project_is_named_by_its_number_and_its_birthday(said: str, number: object) -> None:
    assert project_number(said) == number


def test_sec_03_what_is_nested_without_end_is_an_error_in_words_wherever_it_stands() -> None:
    """SEC-03: parts of a request are read later than the rest, and in strings."""
    deep = "[" * 100_000
    with pytest.raises(PromptError, match="POST /predict"):
        predict_request(b'{"tasks": ' + deep.encode())
    assert Task(drafts=msgspec.Raw(deep.encode())).regions() == []
    with pytest.raises(PromptError, match="extra parameters"):
        SetupRequest(extra_params=deep).extras()
