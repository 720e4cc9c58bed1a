"""UX-05: a node started by flags, with and without a file."""

import json
import logging
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from edge import cli
from edge.delivery.upload_windows import Windows
from edge.node_flags import source_named
from edge.sources.limited_frames import LimitedFrames
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.given_settings import Given
from lifelong.links.storage import open_storage
from lifelong.records.pixels import Frame
from tests.builders import a_frame
from tests.edge_fixtures import release, street_bundle, write_frames

UNSIGNED = ["--set", "edge.updates.unsigned=accept"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with four frames and a released model, and no configuration."""
    write_frames(tmp_path, 4)
    release(open_storage(str(tmp_path / "store")), street_bundle())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call `cornerloop-edge` in this process: exit code, stdout, stderr."""
    handlers = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    root = logging.getLogger()
    level, present = root.level, list(root.handlers)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cornerloop-edge", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code if isinstance(ended.value.code, int) else 0, out, err

    yield call
    signal.signal(signal.SIGTERM, handlers[0])
    signal.signal(signal.SIGINT, handlers[1])
    root.handlers, root.level = present, level


def run_words(*more: str) -> list[str]:
    return ["run", "--id", "gate-1", "--source", "frames", "--storage", "store", "--once",
            "--policy", "cloud_only", "--threads", "1", *UNSIGNED, *more]  # fmt: skip


def test_ux_05_a_node_runs_without_a_file_when_id_source_and_storage_are_given(site, node) -> None:
    code, _, err = node(*run_words())
    assert code == 0, err
    health = json.loads((site / "edge-state/health.json").read_text())
    assert (health["frames"], health["uploaded"]) == (4, 4)
    assert len(list((site / "store" / "inbox" / "gate-1").iterdir())) == 4


def test_ux_05_without_a_file_what_is_missing_is_told(site, node) -> None:
    code, _, err = node("run", "--id", "gate-1")
    assert code == 1
    assert "no --config, and no --source, --storage" in err
    assert not (site / "edge-state").exists()
    assert "no --config, and no --id, --storage" in node("replay", "frames")[2]
    assert "no --config" in node("check")[1]
    assert "no --config, and no --state" in node("health")[2]


def test_ux_05_nobody_s_models_run_for_want_of_a_file(site, node) -> None:
    """Defaults are the careful ones: without a key ring no model is taken."""
    words = [word for word in run_words() if word not in UNSIGNED]
    code, _, err = node(*words)
    assert code == 1
    assert "edge.updates.trusted_keys is missing" in err


def test_ux_05_a_run_ends_after_so_many_frames_and_sends_nothing_when_told(site) -> None:
    def told(*words: str) -> tuple[int, int, int]:
        ran = [sys.executable, "-m", "edge", *run_words(*words)]
        done = subprocess.run(ran, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        health = json.loads((site / "edge-state/health.json").read_text())
        return health["frames"], health["uploaded"], health["outbox_examples"]

    assert told("--frames", "2", "--no-uploads") == (2, 0, 2)
    assert not (site / "store" / "inbox").exists()
    assert told() == (2, 4, 0)  # what stayed in the outbox goes with the next run


def test_ux_05_flags_stand_before_the_file(site, node) -> None:
    (site / "config.yaml").write_text("edge: {id: gate-1, source: {type: folder, path: none}}\n")
    code, out, _ = node("check", "-c", "config.yaml", "--source", "frames", "--storage", "store",
                        *UNSIGNED)  # fmt: skip
    assert code == 0, out
    assert "good source: folder" in out
    code, out, _ = node("check", "-c", "config.yaml", "--fps", "0")
    assert code == 1
    assert "--fps: edge.max_frames_per_second: Input should be greater than 0" in out


def test_ux_05_a_folder_is_replayed_and_a_node_probed_without_a_file(site, node) -> None:
    code, out, err = node("replay", "frames", "--id", "gate-1", "--storage", "store", "--json",
                          "--state", "kept", "--frames", "3", *UNSIGNED)  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["frames"] == 3
    assert node("health", "--state", "kept")[0] == 0
    code, out, _ = node("health", "--state", "elsewhere")
    assert code == 1
    assert "elsewhere/health.json does not exist" in out


@pytest.mark.parametrize(
    ("word", "kind", "key"),
    [
        ("frames", "folder", "path"),
        ("walk.mp4", "video", "path"),
        ("0", "camera", "device"),
        ("/dev/null", "camera", "device"),
        ("http://camera.example/live.mjpg", "camera", "device"),
        ("rtsp://camera.example:554/live", "rtsp", "url"),
        ("RTSPS://camera.example/live", "rtsp", "url"),
    ],
)
def test_ux_05_a_source_is_known_by_what_it_is(site, word: str, kind: str, key: str) -> None:
    (site / "walk.mp4").write_bytes(b"")
    (site / "0").mkdir()  # a folder called 0 is ./0
    named = source_named(word)
    assert named == {"type": kind, key: str(site / word) if key == "path" else word}
    assert source_named("./0")["type"] == "folder"
    edge = load_config(None, [Given(flag="--source", key=("edge", "source"), value=named)]).edge
    assert edge is not None and edge.source.type == kind


def test_ux_05_a_source_that_is_nowhere_is_refused_and_a_password_is_not_repeated(site) -> None:
    with pytest.raises(ConfigError, match=r"--source: 'framse' is not there; name a folder"):
        source_named("framse")
    with pytest.raises(ConfigError, match="password_env") as told:
        source_named("rtsp://joe:hunter2@camera.example/live")
    assert "hunter2" not in str(told.value) and "joe" not in str(told.value)


class Endless:
    """A source that always has a frame."""

    unreadable, passed_over, trouble = 1, 2, "none"

    def __init__(self) -> None:
        self.remembered: list[int] = []

    def __iter__(self):
        sequence = 0
        while True:
            yield a_frame(sequence=sequence)
            sequence += 1

    def remember(self, frame: Frame) -> None:
        self.remembered.append(frame.sequence)


def test_ux_05_a_pace_is_kept_and_other_duties_are_not_waited_for() -> None:
    now, times = [0.0], []

    def wait(seconds: float) -> None:
        now[0] += seconds

    frames = LimitedFrames(Endless(), at_most=4, per_second=0.5, wait=wait, clock=lambda: now[0])
    longest = last = 0.0
    for frame in frames:
        longest, last = max(longest, now[0] - last), now[0]
        if frame is not None:
            times.append(round(now[0], 6))
            now[0] += 0.3  # the node's own work counts as part of the pause
    assert times == [0.0, 2.0, 4.0, 6.0]
    assert longest <= 0.3 + 0.2


def test_ux_05_a_slow_node_does_not_hurry_afterwards() -> None:
    now, times = [0.0], []

    def wait(seconds: float) -> None:
        now[0] += seconds

    frames = LimitedFrames(Endless(), at_most=6, per_second=1.0, wait=wait, clock=lambda: now[0])
    for frame in frames:
        if frame is not None:
            times.append(now[0])
            now[0] += 10.0 if len(times) == 2 else 0.0
    assert min(b - a for a, b in pairwise(times)) >= 1.0 - 1e-9


def test_ux_05_a_limited_source_tells_and_remembers_what_its_source_does() -> None:
    inner = Endless()
    frames = LimitedFrames(inner, at_most=1, per_second=None, wait=lambda _: None)
    (frame,) = frames
    assert frame is not None
    frames.remember(frame)
    assert inner.remembered == [0]
    assert (frames.unreadable, frames.passed_over, frames.trouble) == (1, 2, "none")


def test_ux_05_uploads_that_are_off_have_no_open_window() -> None:
    assert Windows().are_open()
    assert not Windows(enabled=False).are_open()
    assert not Windows(["00:00-24:00"], enabled=False).are_open()
