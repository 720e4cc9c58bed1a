"""K8S-08: what a node or pod does at run time, done in a network namespace with nothing in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
# As the pods have it: an own home, no cache of anything that was fetched before.
NOTHING_KNOWN = ("HOME", "XDG_CACHE_HOME", "CORNERLOOP_WEIGHTS")


def alone(*command: str, home: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command where no address can be reached, not even the loopback's."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("network namespaces are Linux's")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no namespaces")
    return subprocess.run(
        ["unshare", "-rn", *command],
        env={
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **dict.fromkeys(NOTHING_KNOWN, str(home)),
        },
        capture_output=True,
        text=True,
        check=check,
        timeout=300,
    )


def test_k8s_08_the_namespace_of_these_tests_reaches_nobody(tmp_path: Path) -> None:
    program = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    done = alone(sys.executable, "-c", program, home=tmp_path, check=False)
    assert "Network is unreachable" in done.stderr


@pytest.mark.slow
def test_k8s_08_drafts_are_made_without_a_network(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(8).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(pictures / "a.png")
    out = tmp_path / "dataset"
    command = ("preannotate", str(pictures), "--out", str(out), "--shard", "0/1")
    alone(str(BIN / "cornerloop"), *command, home=tmp_path)
    masks = [path for path in out.rglob("*.png") if "a" in path.stem]
    assert masks


def test_k8s_08_a_node_checks_itself_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    config = tmp_path / "edge.yaml"
    content = {
        "storage": "storage",
        "edge": {
            "id": "gate-north",
            "source": {"type": "folder", "path": "frames"},
            "outbox": {"path": "outbox"},
            "state_path": "state",
            "updates": {"unsigned": "accept"},
        },
    }
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = alone(
        str(BIN / "cornerloop-edge"), "check", "--config", str(config), home=tmp_path, check=False
    )
    good = [line for line in done.stdout.splitlines() if line.startswith("good")]
    assert [line.split()[1].rstrip(":") for line in good] == ["config", "keys", "source", "storage"]
    # Nothing is released yet: that is said, and is no matter of a network.
    assert "bad  model: none is released yet" in done.stdout


def test_k8s_08_a_pull_says_that_it_is_told_to_stay_at_home(tmp_path: Path) -> None:
    listed = alone(str(BIN / "cornerloop"), "models", "list", "--json", home=tmp_path)
    assert json.loads(listed.stdout)
    pulled = alone(
        str(BIN / "cornerloop"), "models", "pull", "sam_vit_b", home=tmp_path, check=False
    )
    assert pulled.returncode != 0
    assert "HF_HUB_OFFLINE" in pulled.stderr + pulled.stdout
