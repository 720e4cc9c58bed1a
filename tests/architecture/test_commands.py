"""UX-05, OPS-04: docs/commands.md says what both programs are; exit codes are as they are told."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import cloud.cli
from cloud.assembly import open_cloud
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import bundle_key, health_key
from lifelong.records.rounds import RoundState
from lifelong.records.wire import to_json
from tests.builders import a_jpeg, a_mask_png, a_round
from tests.tiny_bundle import tiny_bundle
from tools.command_table import MARK, PAGE, commands, generated

ROOT = Path(__file__).parents[2]
REWRITE = "run `python -m tools.command_table`"


def ran(*words: str, program: str = "cloud") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", program, *words], cwd=ROOT, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A cloud with one round, two releases and a node."""
    path = tmp_path / "config.yaml"
    path.write_text("storage: storage\nannotation_folder: desk\n", encoding="utf-8")
    opened = open_cloud(load_config(path))
    for seed in (1, 2):
        bundle = tiny_bundle(seed=seed)
        opened.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        opened.releases.publish(bundle.version_id, RoundNumber(seed), f"round {seed} accepted")
    opened.rounds.save(a_round(RoundState.ANNOTATING))
    health = EdgeHealth(
        edge_id=EdgeId("edge-one"), report=1, at=datetime.now(UTC), report_seconds=10.0,
        software="0", label_map_digest="", version_id=tiny_bundle(seed=2).version_id,
    )  # fmt: skip
    opened.storage.put(health_key(health.edge_id), to_json(health))
    return path


def test_ux_05_the_page_has_every_command_and_option_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, mark, tail = page.partition(MARK)
    assert mark, f"the page has lost its mark; {REWRITE}"
    documented = set(re.findall(r"^### (.+)$", tail, re.MULTILINE))
    there = {" ".join(words) for words, _ in commands()}
    assert documented == there, REWRITE
    assert tail == generated(), REWRITE
    for code in (0, 1, 2, 3, 130):
        assert f"\n| {code} |" in head


def test_ux_05_every_command_and_option_says_what_it_is() -> None:
    for words, command in commands():
        assert command.help, words
        for one in command.params:
            assert one.param_type_name == "argument" or one.help, (words, one.name)


# -- exit codes, each as it really is ---------------------------------------------------------


def test_ops_04_exit_code_0(config: Path) -> None:
    assert ran("rounds", "-c", str(config)).returncode == 0
    assert ran("--help").returncode == 0


def test_ops_04_exit_code_1_with_one_line(config: Path) -> None:
    for words in (
        ("rounds", "-c", str(config.parent / "none.yaml")),
        ("rounds", "99", "-c", str(config)),
        ("rollback", "0000000000000000", "-c", str(config)),
        ("backup", str(config.parent / "no-backup"), "--verify"),
    ):
        done = ran(*words)
        assert done.returncode == 1, done.stderr
        assert done.stdout == "" and len(done.stderr.strip().splitlines()) == 1, done.stderr
    node = ran("check", "-c", str(config.parent / "none.yaml"), program="edge")
    assert node.returncode == 1


@pytest.mark.parametrize(
    ("program", "words", "says"),
    [
        ("cloud", ("rond",), "Did you mean 'rounds'"),
        ("cloud", ("edges", "--jsn"), "--json"),
        ("cloud", ("rounds",), "--config"),
        ("edge", ("chek",), "Did you mean 'check'"),
    ],
)
def test_ops_04_exit_code_2(program: str, words: tuple[str, ...], says: str) -> None:
    done = ran(*words, program=program)
    assert done.returncode == 2
    assert says in done.stderr


def test_ops_04_exit_code_3(tmp_path: Path) -> None:
    for name in ("train", "eval"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "train_ids").mkdir()
        (tmp_path / name / "images" / "a.jpg").write_bytes(a_jpeg(1))
        (tmp_path / name / "train_ids" / "a.png").write_bytes(a_mask_png(1))
    done = ran("leaks", "--train", str(tmp_path / "train"), "--eval", str(tmp_path / "eval"))
    assert done.returncode == 3, done.stderr


def test_ops_04_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cloud.cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        cloud.cli.main()
    assert ended.value.code == 130


# -- JSON for machines ------------------------------------------------------------------------


def told(*words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(cloud.cli.app, list(words))
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ux_05_json_has_the_documented_fields(config: Path, tmp_path: Path) -> None:
    at = ("-c", str(config), "--json")
    rows = re.findall(r"^\| `([a-z]+)[^`]*` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    documented = {name: text for name, text in rows if name in {"rollback", "backup", "restore"}}
    assert told("rounds", *at).keys() >= {"deployed", "rounds"}
    assert told("rounds", "1", *at)["rounds"]
    assert told("edges", *at).keys() >= {"edges", "rollout"}
    done = CliRunner().invoke(cloud.cli.app, ["doctor", "--only", "configuration", *at])
    assert json.loads(done.stdout).keys() == {"counts", "checks", "repairs"}
    version = tiny_bundle(seed=1).version_id
    back = told("rollback", version, *at)
    assert back.keys() == {"release", "version", "why"} and back["version"] == version
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    backup = told("backup", str(copy), *at)
    verified = told("backup", str(copy), "--verify", "--json")
    assert verified["whole"] is True
    new = tmp_path.parent / f"{tmp_path.name}-new" / "config.yaml"
    restore = told("restore", str(copy), "-c", str(new), "--json")
    assert restore["config_taken"] is True
    for name, found in (("rollback", back), ("restore", restore)):
        words = set(re.findall(r"`(\w+)`", documented[name])) - {"backup"}
        assert words <= found.keys(), name
    assert backup.keys() < restore.keys() | {"copied", "copied_bytes", "removed", "troubles"}
    assert told("rounds", "-c", str(new), "--json")["deployed"]["version"] == version


def test_ux_05_a_slip_in_a_name_is_answered_with_the_nearest_one(config: Path) -> None:
    version = tiny_bundle(seed=1).version_id
    done = ran("rollback", version[:-1] + "z", "-c", str(config))
    assert f"did you mean {version}" in done.stderr
    assert "released: " in done.stderr
    (name,) = [one["edge"] for one in told("edges", "-c", str(config), "--json")["edges"]]
    assert f"did you mean '{name}'" in ran("edges", f"{name}x", "-c", str(config)).stderr
    assert "there are 1 to 1" in ran("rounds", "7", "-c", str(config)).stderr


@pytest.mark.parametrize("word", ["False", "false", "no", "off", "0", "FALSE", "f", "n", ""])
def test_b1_a_boolean_as_text_is_never_true_by_being_there(tmp_path: Path, word: str) -> None:
    """B1: `bool("False")` is true; here such a word is false, or refused."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"assist": {"enabled": word}}), encoding="utf-8")
    try:
        assert load_config(path).assist.enabled is False
    except ConfigError as error:
        assert "assist.enabled" in str(error)
