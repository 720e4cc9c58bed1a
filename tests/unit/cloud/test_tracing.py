"""One id from the camera to the model, told in the order of time (OPS-03)."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from annotation.task_fields import SAMPLE
from cloud.cli import app
from lifelong.links.journal import Journal
from lifelong.links.request_ids import in_request
from lifelong.links.storage import open_storage
from lifelong.records.keys import example_record_key
from lifelong.records.wire import to_json
from tests.large_loop import live_long, sample_of
from tests.large_loop import version_of as version

runner = CliRunner()
TRAINED = sample_of(2, 1)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds in storage, a journal of the service, and one that was copied from a node."""
    folder = tmp_path_factory.mktemp("trace")
    (folder / "config.yaml").write_text(
        "storage: storage\njournal_path: journal\nlabel_studio: {url: http://studio:8080}\n"
    )
    storage = open_storage(str(folder / "storage"))
    live_long(storage, rounds=3, samples=3, edges=2, pictures=0)
    from lifelong.records.rounds import Round
    from lifelong.records.wire import from_json

    second = from_json(Round, storage.get("rounds/000002.json"), "round 2")
    storage.put(example_record_key(TRAINED), to_json(second.examples[1]))
    Journal(folder / "journal", "cloud").event("hard_example.admitted", sample_id=TRAINED)
    Journal(folder / "journal", "cloud").event("hard_example.admitted", sample_id="f" * 16)
    Journal(folder / "copied", "edge-00001").event("hard_example.uploaded", sample_id=TRAINED)
    with in_request("gateway-42"):
        Journal(folder / "journal", "cloud").event("release.published", number=9)
    (folder / "service.log").write_text(
        json.dumps({"at": "2026-01-01T12:00:00+00:00", "node": "cloud", "request": "gateway-42",
                    "message": "no answer gateway-42: password=planted"})
        + "\nnot a line of ours about gateway-42\n"
    )  # fmt: skip
    return folder


def traced(room: Path, name: str, *words: str) -> list[dict]:
    called = ["trace", name, "-c", str(room / "config.yaml"), "--json", *words]
    done = runner.invoke(app, called)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["steps"]


def test_ops_03_a_samples_story(room: Path) -> None:
    steps = traced(room, TRAINED, "--journal", str(room / "copied"))
    told = [f"{step['where']}: {step['what']}" for step in steps]
    for words in (
        "edge edge-00001: taken by the camera",
        "journal of edge-00001: hard_example.uploaded",
        "journal of cloud: hard_example.admitted",
        "round 2: chosen for the round",
        "round 2: drafted by tiny_sam+tiny_segformer",
        "Label Studio: task 2002",
        "round 2: annotated by a person",
        "knowledge base: trains in learning task night",
        f"knowledge base: trained on version {version(2)}, release 3",
    ):
        assert any(line.startswith(words) for line in told), (words, told)
    moments = [step["at"] for step in steps if step["at"]]
    assert moments == sorted(moments)
    (task,) = (step for step in steps if step["where"] == "Label Studio")
    assert task["facts"]["link"] == "http://studio:8080/projects/1/data?task=2002"
    assert len([step for step in steps if "admitted" in step["what"]]) == 1, "not another sample's"


def test_ops_03_a_task_leads_to_its_sample(room: Path) -> None:
    assert traced(room, "2002") == traced(room, TRAINED)
    assert SAMPLE == "cornerloop_sample", "by which Label Studio's task names the sample"


def test_ops_03_a_request_is_found_in_journal_and_log_without_secrets(room: Path) -> None:
    steps = traced(room, "gateway-42", "--log", str(room / "service.log"))
    assert [step["where"] for step in steps] == [
        "log of cloud",
        "journal of cloud",
        "log of service.log",
    ]
    assert steps[1]["what"] == "release.published"
    assert "planted" not in json.dumps(steps)


@pytest.mark.parametrize("name", ["0123456789abcdef", "99999", "nobody-knows"])
def test_ops_03_an_unknown_id_says_where_else_to_look(room: Path, name: str) -> None:
    done = runner.invoke(app, ["trace", name, "-c", str(room / "config.yaml")])
    assert done.exit_code == 1
    assert "--journal" in done.output


def test_ops_03_what_is_named_and_not_there_is_told(room: Path) -> None:
    for words, why in (
        (["--journal", "nowhere"], "no such folder"),
        (["--log", "no"], "cannot be"),
    ):
        done = runner.invoke(app, ["trace", "gateway-42", "-c", str(room / "config.yaml"), *words])
        assert why in str(done.exception)


def test_ops_03_lines_for_people(room: Path) -> None:
    done = runner.invoke(app, ["trace", TRAINED, "-c", str(room / "config.yaml")])
    assert "Label Studio: task 2002" in done.output
