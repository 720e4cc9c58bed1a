"""`cornerloop kb`: the knowledge base asked from a shell, for people and for machines."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cloud.cli import app
from cloud.knowledge.sample_queries import range_of
from cloud.lease import Lease
from lifelong.errors import ConfigError, LifelongError
from lifelong.knowledge_base import LOG
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from tests.unit.cloud.knowledge.forgetting_room import Room, id_of


@pytest.fixture
def room(tmp_path: Path) -> Room:
    config = {
        "storage": "storage",
        "journal_path": "journal",
        "job": {"dataset_path": "dataset"},
        "label_studio": {"token_env": "NO_SUCH_VARIABLE_HERE"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return Room(open_storage(str(tmp_path / "storage")), tmp_path).filled()


def kb(room: Room, *words: str) -> str:
    config = str(room.folder / "config.yaml")
    result = CliRunner().invoke(app, ["kb", *words, "-c", config])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def asked(room: Room, *words: str) -> Any:
    return json.loads(kb(room, *words, "--json"))


def found(room: Room, *words: str) -> list[int]:
    """Seeds of the samples that a query finds."""
    seeds = {id_of(seed): seed for seed in range(6)}
    return [seeds[row["sample"]] for row in asked(room, "query", *words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["--device", "edge-1"], [0, 2]),
        (["--annotator", "bob@x.org"], [2, 3]),
        (["--task", "day", "--split", "train"], [0, 1, 2, 3]),
        (["--split", "eval"], []),
        (["--class", "road", "--min-pixels", "100000"], []),
        (["--class", "road"], [0, 1, 2, 3]),
        (["--attribute", "person=driver-3"], [3]),
        (["--since", "2026-03-01T12:00", "--until", "2026-03-01T12:00"], [0, 1, 2, 3]),
        (["--since", "2026-03-01T12:01"], []),
        (["--until", "2026-03-01T11:59"], []),
        (["--confidence", "0.4..0.6"], [0, 1, 2, 3]),
        (["--confidence", "0.6.."], []),
        (["--novelty", "0.5.."], []),  # no example says how novel it is
        (["--model", "00000000000000aa"], [0, 1, 2, 3]),
        (["--model", "00000000000000bb"], []),
        (["--trained", "vvv"], [3]),
        (["--text", "DRIVER-2"], [2]),
        (["--text", "good"], [3]),  # a reviewer's note
        (["--limit", "2"], [0, 1]),
        (["--device", "edge-2", "--annotator", "bob@x.org"], [3]),
    ],
)
def test_kb_08_samples_are_found_by(room: Room, words: list[str], expected: list[int]) -> None:
    """KB-08: class, device, time, confidence, novelty, model version, text note, and together."""
    assert found(room, *words) == expected


def test_kb_08_a_class_with_enough_pixels_is_found(room: Room) -> None:
    pixels = {row["sample"]: row["pixels"]["road"] for row in asked(room, "query")}
    most = max(pixels.values())
    few = [
        row["sample"] for row in asked(room, "query", "--class", "road", "--min-pixels", str(most))
    ]
    assert few == [key for key, count in pixels.items() if count == most]


@pytest.mark.parametrize(
    "words",
    [
        ["query", "--class", "unicorn"],
        ["query", "--confidence", "0.9..0.1"],
        ["query", "--novelty", "high"],
        ["query", "--since", "yesterday"],
        ["query", "--trained", "zz"],
        ["forget"],
        ["forget", "--device", "edge-1", "--sample", "0" * 16],
        ["forget", "--sample", "../../etc"],
        ["forget", "--attribute", "person"],
        ["lineage", "day"],
        ["show", "nothing"],
    ],
)
def test_a_mistake_is_told_in_one_line_and_changes_nothing(room: Room, words: list[str]) -> None:
    before = room.bytes_with("edge-1")
    with pytest.raises(LifelongError) as told:
        kb(room, *words)
    assert str(told.value)
    assert room.bytes_with("edge-1") == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (None, None)), ("0.2..0.5", (0.2, 0.5)), ("..1", (None, 1.0)), ("0..", (0.0, None))],
)
def test_a_range_is_read(text: str, expected: tuple[float | None, float | None]) -> None:
    assert range_of(text, "--novelty") == expected
    with pytest.raises(ConfigError, match=re.escape("--novelty '..'")):
        range_of("..", "--novelty")


def test_kb_02_a_models_lineage_reaches_samples_people_and_devices(room: Room) -> None:
    """KB-02: model -> parents, samples, annotations, annotators, edges."""
    told = asked(room, "lineage", "vv")
    assert [one["model"] for one in told["ancestors"]] == ["v"]
    assert told["children"] == ["vvv"]
    assert [one["sample"] for one in told["trained_on"]] == [id_of(0), id_of(1)]
    assert [one["sample"] for one in told["replayed"]] == [id_of(2)]
    assert [one["annotation"] for one in told["trained_on"]] == ["1", "2"]
    assert told["annotators"] == ["anna@x.org", "bob@x.org"]
    assert told["devices"] == ["edge-1", "edge-2"]


def test_kb_02_a_samples_lineage_reaches_every_model_that_has_something_of_it(room: Room) -> None:
    """KB-02: sample -> rounds, annotations, models that trained on, replayed or inherited it."""
    told = asked(room, "lineage", id_of(2))
    assert (told["trained"], told["replayed"], told["inherited"]) == (["v"], ["vv"], ["vvv"])
    assert told["rounds"] == [{"round": 1, "state": "released"}]
    assert [one["annotators"] for one in told["annotations"]] == [["bob@x.org"]]
    assert told["device"] == "edge-1"
    assert told["attributes"]["person"] == "driver-2"


def test_kb_02_lineage_as_a_flow_chart(room: Room) -> None:
    chart = kb(room, "lineage", "vv", "--mermaid")
    assert chart.startswith("flowchart LR\n")
    nodes = dict(re.findall(r'(n\d+)\["([^"]*)"\]', chart))
    links = {(nodes[a], nodes[b]) for a, b in re.findall(r"(n\d+) --> (n\d+)", chart)}
    assert ("model v", "model vv") in links and ("model vv", "model vvv") in links
    assert kb(room, "lineage", id_of(2), "--mermaid").count("-->") == 4


def test_kb_01_show_tells_what_there_is(room: Room) -> None:
    told = asked(room, "show")
    assert (told["samples"], told["train"], told["forgotten"]) == (4, 4, 0)
    assert [one["version"] for one in told["versions"]] == ["v", "vv", "vvv"]
    assert told["tasks"][0]["task"] == "day" and told["tasks"][0]["pixels"]["road"] > 0
    assert told["log_bytes"] > 0
    for words in (["show"], ["show", "vv"], ["show", id_of(0)], ["show", "day"], ["query"]):
        assert kb(room, *words)
    assert asked(room, "show", "day")["train"] == 4


def test_kb_01_verify_finds_a_change_that_was_altered(room: Room) -> None:
    assert asked(room, "verify")["findings"] == []
    key = f"{LOG}/00000001.json"
    room.storage.put(key, room.storage.get(key).replace(b"anna", b"hugo"))
    with pytest.raises(LifelongError, match="00000001"):
        kb(room, "show")
    assert "00000001" in asked(room, "verify")["findings"][0]


def test_kb_07_forget_by_command_tells_what_went_and_who_learned_it(room: Room) -> None:
    """KB-07: first what would go, then it goes; both list the models."""
    plan = asked(room, "forget", "--device", "edge-1", "--dry-run")
    assert plan["state"] == "dry run"
    assert len(plan["samples"]) == 3 and len(plan["tasks"]) == 2
    assert room.bytes_with(id_of(0))
    told = asked(room, "forget", "--device", "edge-1")
    assert told["state"] == "done"
    assert told["samples"] == plan["samples"]
    assert told["removed"]["log entries"] == 2 and told["removed"]["objects"] > 10
    assert {one["task"] for one in told["tasks_left"]} == {100, 102}
    assert "by hand" in told["notes"][0]
    assert [one["model"] for one in told["affected_models"]] == ["v", "vv", "vvv"]
    again = asked(room, "forget", "--device", "edge-1")
    assert (again["state"], again["samples"]) == ("done", [])
    assert asked(room, "verify")["findings"] == []
    assert asked(room, "lineage", "vv")["trained_on"][0] == {
        "sample": id_of(0),
        "state": "forgotten",
    }
    assert asked(room, "lineage", id_of(0))["is_forgotten"] is True
    assert "forgotten" in kb(room, "show")


def test_kb_07_while_a_service_runs_it_does_the_work(room: Room) -> None:
    """KB-07: only the holder of the lease removes anything."""
    lease = Lease(room.storage, 60.0, utc_now)
    assert lease.hold()

    def serve() -> None:
        forgetting = room.forgetting()
        while not forgetting.finish():
            pass

    service = threading.Thread(target=serve)
    service.start()
    told = asked(room, "forget", "--sample", id_of(1))
    service.join()
    assert told["state"] == "done by the service"
    assert id_of(1) not in {row["sample"] for row in asked(room, "query")}
