"""A node in a process of its own stays within its budget and says how it fares (EDGE-12)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge.machine import cpu_celsius
from lifelong.links.storage import open_storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId
from lifelong.records.keys import health_key
from lifelong.records.wire import from_json
from tests.edge_fixtures import release, street_bundle, write_frames

ROOT = Path(__file__).parents[3]
MAX_MIB = 300  # stated in docs/edge.md: imports, model and 200 frames

# VmHWM, not ru_maxrss: that survives exec, and would count the memory of the test's own process.
PROGRAM = """
import sys
from pathlib import Path
from edge.assembly import build_node
from edge.stop import Stop
from lifelong.config import load_config
node = build_node(load_config(Path(sys.argv[1])), Stop())
node.run()
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:")))
print("torch" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_edge_12_a_node_stays_within_300_mib_and_reports_its_vitals(tmp_path):
    write_frames(tmp_path, 200)
    storage = open_storage(str(tmp_path / "storage"))
    release(storage, street_bundle(height=160, width=240))
    config = {
        "storage": str(tmp_path / "storage"),
        "edge": {
            "source": {
                "type": "folder",
                "path": str(tmp_path / "frames"),
                "stop_when_empty": True,
                "poll_seconds": 0.01,
            },
            "outbox": {"path": str(tmp_path / "outbox")},
            "state_path": str(tmp_path / "state"),
            "threads": 1,
            "updates": {"unsigned": "accept", "trial": False},
        },
    }
    path = tmp_path / "edge.yaml"
    path.write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    peak_mib, has_torch = done.stdout.split()[-2:]
    assert float(peak_mib) <= MAX_MIB
    assert has_torch == "False"
    health = json.loads((tmp_path / "state/health.json").read_text())
    assert health["frames"] == 200
    assert health["fps"] > 0
    assert 0 < health["p50_ms"] <= health["p99_ms"]
    report = from_json(EdgeHealth, storage.get(health_key(EdgeId("edge-1"))), "report")
    assert report.fps > 0 and 0 < report.p50_ms <= report.p99_ms
    assert report.outbox_examples == health["outbox_examples"]  # the queue's depth
    has_sensor = cpu_celsius(Path("/sys/class")) is not None
    assert (report.cpu_celsius is not None) == has_sensor
