"""SEC-06: what operators do from a terminal is recorded with their name, as from a page."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.assembly import make_rollouts, open_cloud
from cloud.cli import app
from cloud.operator_assembly import make_audit_log
from lifelong.config import load_config
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import bundle_key
from tests.operator_room import NEW, NEXT, OLD


@pytest.fixture
def config_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two releases for everybody, and a third on trial."""
    monkeypatch.setenv("USER", "olga")
    path = tmp_path / "config.yaml"
    path.write_text("storage: storage\nreleases: {stages: [0.5, 1.0]}\n", encoding="utf-8")
    cloud = open_cloud(load_config(path))
    for number, bundle in enumerate((OLD, NEW, NEXT)):
        cloud.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        if bundle is not NEXT:
            cloud.releases.publish(bundle.version_id, RoundNumber(number), f"round {number}")
    make_rollouts(cloud).publish(NEXT.version_id, RoundNumber(3), "round 3 accepted")
    return path


@pytest.mark.parametrize(
    ("words", "recorded"),
    [
        (("rollback", OLD.version_id), ("release.rollback_asked", "release.rolled_back")),
        (("rounds", "--start"), ("round.start_asked", "round.start_requested")),
        (("rollout", "halt"), ("rollout.halt_asked", "rollout.halt_requested")),
        (("rollout", "promote"), ("rollout.promote_asked", "rollout.promote_requested")),
        (
            ("budget", "edge-1", "--samples-per-hour", "9"),
            ("budget.set_asked", "budget.was_set"),
        ),
        (("budget", "edge-1", "--withdraw"), ("budget.withdrawal_asked", "budget.withdrawn")),
        (("budget", "edge-1"), ()),
        (("rounds",), ()),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_sec_06_commands_that_act_are_recorded_and_those_that_look_are_not(
    config_path: Path, words: tuple[str, ...], recorded: tuple[str, ...]
) -> None:
    result = CliRunner().invoke(app, [*words, "--config", str(config_path)])
    assert result.exit_code == 0, result.output
    log = make_audit_log(open_cloud(load_config(config_path)))
    entries = log.newest()[::-1]
    assert tuple(entry.what for entry in entries) == recorded
    assert {entry.who for entry in entries} <= {"olga"}
    assert log.verify().is_whole


def test_sec_06_a_roll_back_to_nothing_is_recorded_as_failed(config_path: Path) -> None:
    result = CliRunner().invoke(app, ["rollback", "0" * 16, "--config", str(config_path)])
    assert result.exit_code != 0
    entries = make_audit_log(open_cloud(load_config(config_path))).newest()
    assert entries[0].what == "release.rollback_failed"
    assert "never released" in str(entries[0].facts["reason"])
