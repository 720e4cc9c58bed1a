"""`cornerloop-edge`: exit codes, one line an error, JSON on stdout; and what importing it costs."""

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from edge import cli
from lifelong.links.storage import open_storage
from lifelong.records.label_map import CITYSCAPES
from tests.edge_fixtures import UNSIGNED, release, street_bundle, write_frames

EDGE = [sys.executable, "-m", "edge"]


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder with a configuration, four frames and a released model."""
    write_frames(tmp_path, 4)
    release(open_storage(str(tmp_path / "storage")), street_bundle())
    write_config(tmp_path)
    return tmp_path


def write_config(folder: Path, **changes) -> Path:
    edge = {
        "source": {"type": "folder", "path": "frames", "stop_when_empty": True, "poll_seconds": 0},
        "hard_examples": {"policy": "cloud_only"},
        "threads": 1,
        "updates": UNSIGNED,
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"storage": "storage", "edge": edge}))
    return path


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [*EDGE, *arguments, "--config", str(folder / "config.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def in_process(monkeypatch, capsys):
    """Call the command in this process: exit code, stdout, stderr."""
    handlers = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    root = logging.getLogger()
    level, present = root.level, list(root.handlers)

    def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
        command = ["cornerloop-edge", *arguments, "--config", str(folder / "config.yaml")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    yield call
    signal.signal(signal.SIGTERM, handlers[0])
    signal.signal(signal.SIGINT, handlers[1])
    root.handlers, root.level = present, level


def test_run_processes_the_folder_and_exits_with_0(site, in_process):
    code, out, _ = in_process(site, "run")
    assert (code, out) == (0, "")
    health = json.loads((site / "edge-state/health.json").read_text())
    assert (health["frames"], health["uploaded"]) == (4, 4)


def test_replay_prints_a_summary_as_json_and_can_be_repeated(site):
    for _ in range(2):
        done = called(site, "replay", str(site / "frames"), "--json")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["frames"], summary["hard_examples"], summary["uploaded"]) == (4, 4, 4)
        assert summary["version"] == street_bundle().version_id


def test_replay_prints_lines_for_people(site, in_process):
    code, out, _ = in_process(site, "replay", str(site / "frames"))
    assert code == 0
    assert "hard_examples: 4" in out.splitlines()


def test_replay_without_a_model_or_a_folder_says_what_to_do(tmp_path, in_process):
    write_config(tmp_path)
    (tmp_path / "frames").mkdir()
    code, _, err = in_process(tmp_path, "replay", str(tmp_path / "frames"))
    assert code == 1
    assert "release one in the cloud first" in err
    code, _, err = in_process(tmp_path, "replay", str(tmp_path / "nowhere"))
    assert code == 1
    assert "no such folder" in err


def test_check_prints_a_line_per_finding(site, in_process):
    code, out, _ = in_process(site, "check")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"good {subject}"
        for subject in ("config", "keys", "source", "storage", "model", "segmentation")
    ]
    assert not (site / "edge-state").exists()
    code, out, _ = in_process(site, "check", "--json")
    assert [finding["good"] for finding in json.loads(out)] == [True] * 6


def test_check_of_a_broken_installation_ends_with_1(tmp_path, in_process):
    write_config(tmp_path)
    code, out, _ = in_process(tmp_path, "check")
    assert code == 1
    assert "bad  source" in out
    assert "bad  model: none is released yet" in out
    store = open_storage(str(tmp_path / "storage"))
    record = release(store, street_bundle())
    store.put(record.bundle_key, b"damaged")
    assert "bad  model" in in_process(tmp_path, "check")[1]
    (tmp_path / "config.yaml").write_text("edge: {sourc: 1}")
    code, out, _ = in_process(tmp_path, "check")
    assert code == 1
    assert "bad  config" in out


def test_errors_of_ours_are_one_line_and_exit_code_1(tmp_path, in_process):
    code, out, err = in_process(tmp_path, "run")
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_a_traceback_comes_only_with_verbose(tmp_path):
    assert "Traceback" not in called(tmp_path, "run").stderr
    assert "Traceback" in called(tmp_path, "run", "--verbose").stderr


def test_wrong_usage_is_exit_code_2(tmp_path):
    assert called(tmp_path, "run", "--nonsense").returncode == 2
    assert called(tmp_path, "fly").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_cleanly_with_everything_delivered(site, number):
    source = {"type": "folder", "path": "frames", "poll_seconds": 0.05}
    write_config(site, source=source)
    process = subprocess.Popen(
        [*EDGE, "run", "-c", str(site / "config.yaml")], stderr=subprocess.DEVNULL
    )
    health = site / "edge-state/health.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if health.exists() and json.loads(health.read_text())["frames"] == 4:
            break
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=120) == 0
    told = json.loads(health.read_text())
    assert (told["frames"], told["uploaded"], told["outbox_examples"]) == (4, 4, 0)
    assert told["source_exhausted"] is False


def test_section_9_importing_the_edge_costs_little_and_brings_nothing_foreign():
    """Architecture, section 9: what never reaches the edge, and its budget of memory.

    Of 80 MiB resident, 50 are the process's own. The rest are pages of the libraries' files, of
    which the kernel maps 34 to 54 MiB for the same import, as its cache happens to hold them: no
    other number can be tested on a machine that others use.
    """
    program = (
        "import sys, edge.cli\n"
        "foreign = {'torch', 'torchvision', 'cv2', 'fastapi', 'httpx', 'annotation', 'cloud',"
        " 'lifelong.training', 'onnx', 'transformers', 'scipy', 'skimage', 'label_studio_sdk'}\n"
        "found = foreign & set(sys.modules)\n"
        "assert not found, found\n"
        "status = open('/proc/self/status').read()\n"
        "print(next(line.split()[1] for line in status.splitlines() if 'RssAnon' in line))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 < 50, f"{int(done.stdout) / 1024:.0f} MiB of its own"


def test_the_default_label_map_is_the_one_the_fixtures_release():
    assert street_bundle().manifest.label_map.digest == CITYSCAPES.digest
