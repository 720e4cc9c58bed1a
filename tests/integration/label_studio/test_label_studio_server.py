"""The Label Studio server that we start ourselves."""

import re
import socket
import stat
from pathlib import Path

import pytest

from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer, _environment
from lifelong.errors import ConfigError, LabelStudioUnavailableError
from tests.integration_fixtures import EXECUTABLE, TEMPLATE, access_token, personal_token


def a_server(folder: Path, executable: Path = EXECUTABLE) -> LabelStudioServer:
    return LabelStudioServer(
        executable, folder / "data", folder / "documents", folder / "log.txt", template=TEMPLATE
    )


def test_nothing_of_our_own_environment_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Label Studio reads bare names too: HOST, PORT, DEBUG, PASSWORD …"""
    for name in ("HOST", "PORT", "DEBUG", "PASSWORD", "LABEL_STUDIO_HOST", "HEARTEX_DEBUG"):
        monkeypatch.setenv(name, "x")
    environment = _environment(Path("/d"), Path("/f"))
    assert "x" not in environment.values()
    assert environment["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert environment["LABEL_STUDIO_SENTRY_DSN"] == ""
    assert environment["LABEL_STUDIO_LATEST_VERSION_CHECK"] == "false"


def test_a_missing_executable_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-file"):
        a_server(tmp_path, tmp_path / "no-such-file").start()


def test_a_server_that_ends_while_starting_tells_its_last_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no disk left\nexit 3\n")
    broken.chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "label_studio.sqlite3").touch()
    with pytest.raises(LabelStudioUnavailableError, match=r"exit 3.*no disk left"):
        a_server(tmp_path, broken).start()


def test_ops_03_a_taken_port_is_told_before_a_database_is_made_for_a_minute(tmp_path: Path) -> None:
    template, executable = tmp_path / "template", tmp_path / "never-run"
    executable.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        server = LabelStudioServer(
            executable, tmp_path / "data", tmp_path, tmp_path / "log", template=template, port=port
        )
        with pytest.raises(ConfigError, match=rf"port {port} .* is taken.*label_studio\.url"):
            server.start()
    assert not template.exists()


def test_a_server_that_was_never_started_has_no_token(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="never started"):
        _ = a_server(tmp_path).token


@pytest.mark.parametrize(
    ("before", "is_kept"),
    [
        (None, False),
        ("", False),
        ("\nSECRET_KEY=m&h^g1nqg\n", True),
        ("OTHER=1\nSECRET_KEY='m$h'\n", True),
        ("OTHER=1\n", False),
        ("\nSECRET_KEY=$m&h^g1nqg\n", False),  # to Label Studio: the variable `m&h^g1nqg`
        ('SECRET_KEY="$m"\n', False),
        ("SECRET_KEY=\n", False),
        ("SECRET_KEY=$m\n\nSECRET_KEY=a$b", True),  # as a second start leaves it: the last counts
        ("SECRET_KEY=ab\n\nSECRET_KEY=$b", False),
    ],
)
def test_ops_07_a_key_that_label_studio_would_not_read_back_is_replaced(
    tmp_path: Path, before: str | None, is_kept: bool
) -> None:
    """Else nobody is known after a restart, and no personal token is valid: one start in fifty."""
    data, executable = tmp_path / "data", tmp_path / "broken"
    executable.write_text("#!/bin/sh\nexit 3\n")
    executable.chmod(0o755)
    data.mkdir()
    (data / "label_studio.sqlite3").touch()
    if before is not None:
        (data / ".env").write_text(before)
    with pytest.raises(LabelStudioUnavailableError):
        a_server(tmp_path, executable).start()
    after = (data / ".env").read_text()
    if is_kept:
        assert after == before  # Label Studio itself sees to the mode
        return
    assert stat.S_IMODE((data / ".env").stat().st_mode) == 0o600
    kept, _, key = after.rstrip("\n").rpartition("SECRET_KEY=")
    assert kept.strip() == (before or "").strip()
    assert len(key) >= 50 and re.fullmatch(r"[A-Za-z0-9_-]+", key)
    with pytest.raises(LabelStudioUnavailableError):
        a_server(tmp_path, executable).start()
    assert (data / ".env").read_text() == after


@pytest.mark.integration
@pytest.mark.skipif(
    not EXECUTABLE.exists(), reason="no Label Studio in .venv-label-studio; `make setup`"
)
def test_ops_07_label_studio_reads_our_key_and_makes_none_of_its_own(tmp_path: Path) -> None:
    keys = tmp_path / "data" / ".env"
    with a_server(tmp_path) as first:
        personal = personal_token(first)
        ours = keys.read_text()
        assert re.fullmatch(r"SECRET_KEY=[A-Za-z0-9_-]{50,}\n", ours)
    with a_server(tmp_path) as again:
        access_token(again, personal)
    assert keys.read_text() == ours


@pytest.mark.integration
@pytest.mark.skipif(
    not EXECUTABLE.exists(), reason="no Label Studio in .venv-label-studio; `make setup`"
)
def test_secrets_port_and_data_survive_a_crash(tmp_path: Path) -> None:
    first = a_server(tmp_path)
    with first:
        secrets = tmp_path / "data" / "cornerloop-secrets.json"
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match=r"already runs on this folder \(process \d+\)"):
            a_server(tmp_path).start()
        studio = LabelStudio(first.url, first.token, 30.0)
        studio.create_project("Kept", "<View></View>", "")
        studio.close()
        url, token = first.url, first.token
        first.kill()
    again = a_server(tmp_path)
    with again:
        assert (again.url, again.token) == (url, token)
        studio = LabelStudio(again.url, again.token, 30.0)
        assert len(studio.projects_titled("Kept")) == 1
        assert studio.whoami() == again.email
        studio.close()
        port = int(again.url.rsplit(":", 1)[1])
        again.stop()
        with socket.socket() as taken:  # somebody else took the port meanwhile
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            again.start()
            assert again.url != url
