"""UX-05: what `cornerloop job run` is given reaches its workers, which are processes."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.job import local_job
from lifelong.config import load_config
from lifelong.given_settings import Given

ROOT = Path(__file__).parents[4]
FILE = """\
storage: stored
label_studio: {token_env: SOMEWHERE}
edge: {source: {type: folder, path: frames}}
training: {seed: 3, init: scratch}
job: {dataset_path: "s3://bucket/set"}
"""


class Seen:
    """In the place of a job: how it was made, and that it was run."""

    made: dict[str, Any]

    def __init__(self, _manifest: object, **words: Any) -> None:
        Seen.made = words
        self.files = self.book = self.append_report = None

    def run(self, _stop: object, _look: object) -> None:
        Seen.made["ran"] = True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call `job run` with a job that only notes; the configuration that its workers would read."""
    monkeypatch.setattr(local_job, "LocalJob", Seen)
    monkeypatch.setattr("cloud.job.job_cli.stop_event", lambda: None)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.yaml").write_text(FILE, encoding="utf-8")
    config = tmp_path / "here" / "config.yaml"

    def call(*flags: str) -> tuple[Path, Path]:
        words = ["job", "run", str(ROOT / "manifests" / "one-node"), "--config", str(config)]
        words += ["--root", str(tmp_path / "root"), "--state", str(tmp_path / "state"), *flags]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert Seen.made["ran"]
        return config, Seen.made["config_path"]

    return call


def test_ux_05_without_flags_workers_read_the_file_itself(run) -> None:
    config, read = run()
    assert read == config


def test_ux_05_workers_read_the_file_with_the_flags_in_it(run, tmp_path: Path) -> None:
    config, read = run("--steps", "50", "--set", "batch_size=2")
    assert read == tmp_path / "state" / "config.yaml"
    given = [
        Given(flag="--steps", key=("training", "steps"), value=50),
        Given(flag="--set", key=("training", "batch_size"), value=2),
    ]
    assert load_config(read) == load_config(config, given)
    assert load_config(read).storage == str(config.parent / "stored")
    assert load_config(read).training.seed == 3
