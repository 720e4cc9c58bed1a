"""K8S-06: a node as a real process under a service manager: READY, beats, and a clean end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lifelong.links.storage import open_storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.wire import from_json
from tests.edge_fixtures import release, street_bundle, write_frames

pytestmark = pytest.mark.integration

FRAMES = 12


def started(folder: Path, manager: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(manager),
        "WATCHDOG_USEC": "400000",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edge", "run", "-v", "-c", str(folder / "config.yaml")],
            stdout=log,
            stderr=log,
            env=environment,
        )


def heard_until(
    manager: socket.socket,
    node: subprocess.Popen[bytes],
    log: Path,
    wanted: Callable[[list[str]], bool],
) -> list[str]:
    """What the node says, until `wanted` is content with it; a node that ended without fails."""
    heard: list[str] = []
    manager.settimeout(0.5)
    while not wanted(heard):
        try:
            heard.append(manager.recv(4096).decode().splitlines()[0])
        except TimeoutError:
            assert node.poll() is None, f"heard {heard}\n{log.read_text()[-2000:]}"
    return heard


def test_k8s_06_edge_12_ready_watchdog_health_and_a_clean_end_on_sigterm(tmp_path: Path) -> None:
    write_frames(tmp_path, FRAMES)
    storage = open_storage(str(tmp_path / "storage"))
    bundle = street_bundle()
    release(storage, bundle)
    edge = {
        "id": "gate-north",
        "source": {"type": "folder", "path": "frames", "poll_seconds": 0.05},
        "hard_examples": {"policy": "cloud_only"},
        "scenes": {"enabled": False},
        "updates": {"unsigned": "accept"},
        "threads": 1,
        "health": {"report_seconds": 0.2},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"storage": "storage", "edge": edge}))
    state, log = tmp_path / "edge-state", tmp_path / "log.txt"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        node = started(tmp_path, tmp_path / "notify")
        try:
            heard = heard_until(manager, node, log, lambda said: said.count("WATCHDOG=1") >= 3)
            assert heard[0] == "READY=1"
            probe = [sys.executable, "-m", "edge", "health", "--config", str(config)]
            assert subprocess.run(probe, capture_output=True, check=False).returncode == 0
            while frames_of(state) < FRAMES:
                assert node.poll() is None, log.read_text()[-2000:]
                time.sleep(0.02)
            node.send_signal(signal.SIGTERM)
            assert heard_until(manager, node, log, lambda said: "STOPPING=1" in said)
            assert node.wait(timeout=240) == 0, log.read_text()[-2000:]
        finally:
            node.kill()
            node.wait()
    delivered = [key for key in storage.keys("inbox") if key.endswith("example.json")]
    assert len(delivered) == FRAMES
    key = "edges/gate-north/health.json"
    last = from_json(EdgeHealth, storage.get(key), key)
    assert (last.frames, last.uploaded, last.outbox_examples) == (FRAMES, FRAMES, 0)
    assert (last.version_id, last.release_number) == (bundle.version_id, 1)
    assert last.report > 1
    assert last.memory_bytes is not None
    os.utime(state / "health.json", (1000, 1000))
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the last sign of life is" in done.stdout


def frames_of(state: Path) -> int:
    """Frames that the node says it has done."""
    path = state / "health.json"
    return int(json.loads(path.read_text())["frames"]) if path.exists() else 0
