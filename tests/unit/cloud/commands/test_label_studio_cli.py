"""UX-01, OPS-03: `cornerloop label-studio` while its server starts: it says so, and ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from annotation.label_studio_server import DATABASE
from cloud.cli import app
from cloud.commands.label_studio import EXECUTABLE, TEMPLATE, _server
from lifelong.config import load_config
from lifelong.errors import ConfigError
from tests.integration_fixtures import REPOSITORY

_NEVER_READY = """#!/bin/sh
echo $$ > "{pid}"
exec sleep 600
"""


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_ux_01_a_start_says_what_it_waits_for_and_ctrl_c_ends_it(
    tmp_path: Path, asked: signal.Signals
) -> None:
    folder, pid = tmp_path / "my loop", tmp_path / "pid"
    made = CliRunner().invoke(app, ["init", str(folder)], catch_exceptions=False)
    assert made.exit_code == 0
    slow, template = tmp_path / "slow", tmp_path / "template"
    slow.write_text(_NEVER_READY.format(pid=pid))
    slow.chmod(0o755)
    template.mkdir()
    (template / DATABASE).touch()
    words = ["label-studio", "--config", str(folder / "config.yaml")]
    words += ["--executable", str(slow), "--template", str(template)]
    command = subprocess.Popen(
        [sys.executable, "-m", "cloud", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert command.stderr is not None
    said = command.stderr.readline()
    assert "starting Label Studio at http://127.0.0.1:" in said
    assert "a minute or more" in said
    while not (pid.exists() and pid.read_text().strip()):
        assert command.poll() is None
    command.send_signal(asked)
    out, error = command.communicate(timeout=120)
    assert (command.returncode, out, error) == (130, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_ops_03_the_clones_label_studio_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CliRunner().invoke(app, ["init", str(tmp_path / "x")], catch_exceptions=False)
    assert made.exit_code == 0
    path = tmp_path / "x" / "config.yaml"
    clone = tmp_path / "clone"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cloud.commands.label_studio._CLONE", clone)
    server = _server(load_config(path), path, EXECUTABLE, TEMPLATE)
    with pytest.raises(ConfigError, match=rf"^{clone / EXECUTABLE}: no such file; `make setup`"):
        server.start()
    other = _server(load_config(path), path, Path("elsewhere"), TEMPLATE)
    with pytest.raises(ConfigError, match=rf"^{tmp_path / 'elsewhere'}: no such file"):
        other.start()


def test_ops_03_a_disk_that_says_no_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "cloud", "init", str(tmp_path / "file" / "loop")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "file") in line
    assert "Not a directory; may it be read and written there" in line
