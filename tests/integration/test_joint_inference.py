"""EDGE-13: `cornerloop serve` answers what `cornerloop-edge run` asks; without it the node's own
answer stands. Both are processes of their own, between them a folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from lifelong.links.journal import read_events
from lifelong.links.storage import open_storage
from lifelong.records.ids import sha256_hex
from lifelong.records.pixels import mask_from_png
from tests.edge_fixtures import release, street_bundle, write_frames

pytestmark = pytest.mark.integration

FRAMES = 3


def write_config(folder: Path, deadline_seconds: float) -> Path:
    settings = {
        "storage": "storage",
        "annotation_folder": "people",
        "preannotation": {"masks": {"type": "none"}},
        "edges": {"escalation": True, "poll_seconds": 0.05},
        "web": {"port": 0},
        "edge": {
            "source": {
                "type": "folder",
                "path": "frames",
                "stop_when_empty": True,
                "poll_seconds": 0.01,
            },
            "hard_examples": {"policy": "cloud_only"},
            "escalation": {
                "enabled": True,
                "deadline_seconds": deadline_seconds,
                "poll_seconds": 0.02,
                "open_at_most": FRAMES,
            },
            "answers": {"path": "answers"},
            "updates": {"unsigned": "accept"},
            "threads": 1,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@contextmanager
def cloud(folder: Path, config: Path) -> Iterator[None]:
    """A service that has loaded its models."""
    with (folder / "cloud.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cloud", "serve", "-c", str(config)], stdout=log, stderr=log
        )
    try:
        patience = time.monotonic() + 120
        while not any(e["event"] == "round.advanced" for e in read_events(folder / "journal")):
            assert process.poll() is None, (folder / "cloud.log").read_text()
            assert time.monotonic() < patience, (folder / "cloud.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=240)


def run_node(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def answers(folder: Path, by: str) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted((folder / "answers").glob(f"*.{by}.json"))]


def test_edge_13_the_clouds_answer_arrives_within_the_deadline_and_is_used(tmp_path):
    write_frames(tmp_path, FRAMES)
    storage = open_storage(str(tmp_path / "storage"))
    release(storage, street_bundle())
    config = write_config(tmp_path, deadline_seconds=60.0)
    cut_off = tmp_path / "storage" / "left.jpg#1"  # by a service that was killed long ago (TR-07)
    cut_off.write_bytes(b"half")
    os.utime(cut_off, (0, 0))
    with cloud(tmp_path, config):
        run_node(config)
    assert not cut_off.exists()
    assert [answer["sequence"] for answer in answers(tmp_path, "edge")] == list(range(FRAMES))
    from_cloud = answers(tmp_path, "cloud")
    assert [answer["sequence"] for answer in from_cloud] == list(range(FRAMES))
    for own, theirs in zip(answers(tmp_path, "edge"), from_cloud, strict=True):
        assert (own["by"], theirs["by"]) == ("edge", "cloud")
        assert own["version"] == street_bundle().version_id
        assert theirs["version"] == "none+tiny_segformer"
        assert 0 < theirs["seconds"] < 60
        masks = [(tmp_path / "answers" / a["mask"]).read_bytes() for a in (own, theirs)]
        assert sha256_hex(masks[1]) == theirs["sha256"]
        own_mask, their_mask = (mask_from_png(mask, "answer") for mask in masks)
        assert own_mask.shape == their_mask.shape
        assert not np.array_equal(own_mask, their_mask), "a random model and a trained one"
    assert list(storage.keys("escalations")) == []


def test_edge_13_without_the_cloud_the_nodes_own_answer_stands(tmp_path):
    write_frames(tmp_path, FRAMES)
    storage = open_storage(str(tmp_path / "storage"))
    release(storage, street_bundle())
    run_node(write_config(tmp_path, deadline_seconds=0.3))
    assert len(answers(tmp_path, "edge")) == FRAMES
    assert answers(tmp_path, "cloud") == []
    assert list(storage.keys("escalations")) == []
    latest = json.loads((tmp_path / "answers/latest.json").read_text())
    assert latest["by"] == "edge"
    unanswered = list(read_events(tmp_path / "edge-state/journal"))
    assert sum(event["event"] == "question.unanswered" for event in unanswered) == FRAMES
