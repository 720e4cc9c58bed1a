"""EDGE-08, TR-01: `cornerloop-edge run` killed again and again loses nothing, doubles nothing."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from lifelong.links.durable_files import UNFINISHED
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import sample_id_of
from lifelong.records.pixels import image_from_bytes, jpeg_from_image
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json
from tests.builders import a_jpeg
from tests.edge_fixtures import events, release, street_bundle, write_frames

pytestmark = pytest.mark.integration

FRAMES = 240
KILLS = 20


def started(folder: Path) -> subprocess.Popen:
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edge", "run", "-c", str(folder / "config.yaml")],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def progress(folder: Path) -> int:
    """Lines of the file of processed frames."""
    path = folder / "edge-state/frames.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_somewhere(folder: Path, random_: random.Random) -> int:
    """Start a node, wait until it has done a frame or two more, kill it at a random instant."""
    before, process = progress(folder), started(folder)
    deadline = time.monotonic() + 120
    if random_.random() < 0.85:  # the others are killed while they start
        while progress(folder) <= before and process.poll() is None:
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()[-2000:]
            time.sleep(0.002)
        time.sleep(random_.uniform(0.0, 0.08))
    else:
        time.sleep(random_.uniform(0.05, 0.6))
    process.kill()
    process.wait()
    return progress(folder) - before


def arrived(storage: Storage) -> list[HardExample]:
    """What the inbox holds; every object's checksum is verified."""
    found = []
    for key in storage.keys("inbox"):
        if key.endswith("example.json"):
            example = from_json(HardExample, storage.get(key), key)
            storage.get(example.image_key, sha256=example.image_sha256)
            storage.get(example.mask_key, sha256=example.mask_sha256)
            found.append(example)
    return found


def test_edge_08_tr_01_twenty_kills_lose_nothing_and_double_nothing(tmp_path):
    write_frames(tmp_path, FRAMES)
    storage = open_storage(str(tmp_path / "storage"))
    release(storage, street_bundle())
    edge = {
        "source": {"type": "folder", "path": "frames", "stop_when_empty": True, "poll_seconds": 0},
        "hard_examples": {"policy": "cloud_only"},
        "updates": {"unsigned": "accept", "trial": False},
        "threads": 1,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"storage": "storage", "edge": edge}))

    random_ = random.Random(20)
    steps = [killed_somewhere(tmp_path, random_) for _ in range(KILLS)]
    assert sum(step > 0 for step in steps) >= 10, f"the kills came too early: {steps}"
    assert progress(tmp_path) < FRAMES, f"the kills came too late: {steps}"
    assert started(tmp_path).wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()[-2000:]

    expected = {
        sample_id_of(jpeg_from_image(image_from_bytes(a_jpeg(seed), "frame")))
        for seed in range(FRAMES)
    }
    examples = arrived(storage)
    assert Counter(example.sample_id for example in examples) == Counter(expected)
    assert sorted(example.sequence for example in examples) == list(range(FRAMES))
    # Nothing half written: three whole objects a sample, no rest anywhere.
    assert len(list(storage.keys("inbox"))) == 3 * FRAMES
    assert list((tmp_path / "outbox").iterdir()) == []
    rests = [path for path in tmp_path.rglob(f"{UNFINISHED}*") if "storage" not in path.parts]
    assert rests == []
    assert events(tmp_path / "edge-state/journal", "hard_example.dropped") == []
    assert json.loads((tmp_path / "edge-state/health.json").read_text())["outbox_examples"] == 0
