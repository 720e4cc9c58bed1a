"""`cornerloop demo`, told to end: its servers end with it (OPS-02)."""

import os
import signal
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.demo import assembly


class Show:
    """A demo whose servers are up when somebody asks it to end."""

    is_closed = False

    def run(self, *, stay: bool) -> dict[str, object]:
        assert stay
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            self.is_closed = True
        raise AssertionError("it went on")


@pytest.fixture
def kept_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("kept_handler")
def test_ops_02_a_demo_that_is_told_to_end_closes_its_servers_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen: `kill` of a demo left an edge, a job, a service and a Label Studio behind."""
    show = Show()
    monkeypatch.setattr(assembly, "make_demo", lambda **_: show)
    result = CliRunner().invoke(app, ["demo", "--stay"])
    assert result.exit_code != 0
    assert show.is_closed
