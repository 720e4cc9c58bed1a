"""TR-05: what travels with a picture arrives and can be asked for; TR-08: order by the device."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from cloud.cli import app
from cloud.inbox import Inbox
from cloud.knowledge.example_queries import ORDERS, ExampleQuery, admitted_examples, moment_of
from edge.delivery.outbox import Outbox
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json
from lifelong.sections.delivery import OutboxSection
from tests.builders import NOON, a_frame, a_hard_example, a_prediction

EXAMPLES = [
    a_hard_example(0, score=0.9, priority=0.1, novelty=0.2, edge_id="edge-2"),
    a_hard_example(1, score=0.5, priority=0.5, attributes={"condition": "night", "site": "north"}),
    a_hard_example(2, score=0.7, priority=0.3, novelty=0.9, version_id="00000000000000bb"),
    # The device's clock went back by a year between two frames.
    a_hard_example(3, score=0.1, priority=0.05, captured_at=NOON - timedelta(days=365)),
]


def test_tr_05_everything_that_the_edge_knew_of_a_frame_arrives_unchanged(tmp_path):
    storage = open_storage(str(tmp_path / "storage"))
    journal = Journal(tmp_path / "journal", "edge-1")
    outbox = Outbox(OutboxSection(path=tmp_path / "outbox"), journal)
    frame = a_frame(
        7,
        captured_at=datetime(2026, 3, 1, 4, 5, 6, 789000, tzinfo=UTC),
        attributes={"camera": "front", "gps": "48.137,11.575", "site": "nörd", "empty": ""},
    )
    prediction = replace(a_prediction(), embedding=np.array([0.5, -0.25], np.float32), novelty=0.75)
    verdict = Verdict(
        is_hard=True,
        score=0.625,
        reasons=("entropy 0.625 reaches 0.5", "novel"),
        scores={"entropy": 0.625, "margin": 0.1},
        novelty=0.75,
    )
    outbox.put(frame, prediction, verdict, scene_hash="00ff00ff00ff00ff")
    Uploader(outbox, storage, journal, Errand("uploads", inline=True)).drain()
    (example,) = Inbox(storage, journal).collect()
    assert (example.edge_id, example.sequence) == ("edge-1", 7)
    assert example.captured_at == frame.captured_at
    assert example.attributes == frame.attributes
    assert example.version_id == prediction.version_id
    assert (example.score, example.novelty, example.priority) == (0.625, 0.75, 0.625 * 0.75)
    assert example.reasons == verdict.reasons
    assert example.scores == verdict.scores
    assert (example.scene_hash, example.embedding) == ("00ff00ff00ff00ff", (0.5, -0.25))
    assert from_json(HardExample, to_json(example), "again") == example
    assert admitted_examples(storage) == [example]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (ExampleQuery(), [1, 2, 0, 3]),
        (ExampleQuery(edge="edge-1"), [1, 2, 3]),
        (ExampleQuery(version="00000000000000b"), [2]),
        (ExampleQuery(since=NOON), [1, 2, 0]),
        (ExampleQuery(min_score=0.6), [2, 0]),
        (ExampleQuery(attributes={"condition": "night"}), [1]),
        (ExampleQuery(attributes={"condition": "night", "site": "south"}), []),
        (ExampleQuery(attributes={"gps": ""}), []),
        (ExampleQuery(edge="edge-1", min_score=0.6), [2]),
        (ExampleQuery(order="score"), [0, 2, 1, 3]),
        (ExampleQuery(order="novelty"), [2, 0, 1, 3]),
        (ExampleQuery(order="sequence"), [1, 2, 3, 0]),
        (ExampleQuery(order="time"), [3, 1, 2, 0]),
    ],
)
def test_tr_05_examples_can_be_asked_for_by_all_that_travelled_with_them(query, found):
    assert [example.sequence for example in query.answer(EXAMPLES)] == found


def test_tr_08_by_sequence_a_device_with_a_jumping_clock_is_still_told_in_order():
    skewed = [
        a_hard_example(n, captured_at=NOON + timedelta(days=(-1) ** n * 100 * n)) for n in range(9)
    ]
    told = ExampleQuery(order="sequence").answer(reversed(skewed))
    assert [example.sequence for example in told] == list(range(9))


def test_moments_without_a_zone_are_utc():
    assert moment_of("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment_of("2026-03-01T12:00+02:00") == datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
def told(tmp_path: Path):
    """`cornerloop examples` over the examples above."""
    storage = open_storage(str(tmp_path / "storage"))
    for example in EXAMPLES:
        storage.put(f"examples/{example.sample_id}.json", to_json(example))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"storage": "storage"}))

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["examples", "--config", str(config), *words])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_tr_05_cornerloop_examples_tells_people_and_machines(told):
    lines = told("--edge", "edge-1", "--min-score", "0.4").splitlines()
    assert lines[-1] == "2 examples"
    assert "priority 0.500 score 0.500" in lines[0]
    assert "condition=night site=north" in lines[0]
    rows = json.loads(told("--attribute", "condition=night", "--json"))
    assert [row["sequence"] for row in rows] == [1]
    assert rows[0]["attributes"]["site"] == "north"
    since = json.loads(told("--since", "2026-01-01", "--order", "sequence", "--json"))
    assert [row["sequence"] for row in since] == [1, 2, 0]


def test_every_order_of_the_command_line_is_known():
    from cloud.commands.examples import Order

    assert {str(order) for order in Order} == set(ORDERS)
