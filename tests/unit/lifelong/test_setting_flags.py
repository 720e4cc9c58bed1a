"""UX-05: what a person changes often is a flag too, of every command, by one mechanism."""

import re
from pathlib import Path
from typing import Any, get_origin

import pytest
import typer
from typer.testing import CliRunner

from lifelong.given_settings import Given
from lifelong.setting_flags import Setting, kind_of, with_settings
from tools.command_table import commands

ROOT = Path(__file__).parents[3]
TRAINING = {
    "--steps": "training.steps", "--strategy": "training.strategy", "--seed": "training.seed",
    "--network": "training.network", "--init": "training.init", "--device": "training.device",
    "--precision": "training.precision",
}  # fmt: skip
# What is changed from one run to the next, by command; each stands for the key beside it.
WANTED = {
    "cornerloop-edge run": {
        "--id": "edge.id", "--source": "edge.source", "--storage": "storage",
        "--once": "edge.source.stop_when_empty", "--frames": "edge.stop_after_frames",
        "--fps": "edge.max_frames_per_second", "--uploads": "edge.upload.enabled",
        "--state": "edge.state_path", "--outbox": "edge.outbox.path",
        "--trusted-keys": "edge.updates.trusted_keys", "--label-map": "label_map",
        "--policy": "edge.hard_examples.policy", "--threads": "edge.threads",
        "--provider": "edge.providers", "--max-mib-per-day": "edge.upload.max_mib_per_day",
        "--threshold": "edge.hard_examples.threshold",
    },
    "cornerloop-edge check": {"--source": "edge.source", "--storage": "storage"},
    "cornerloop-edge replay": {"--storage": "storage", "--frames": "edge.stop_after_frames"},
    "cornerloop-edge health": {"--state": "edge.state_path"},
    "cornerloop serve": {
        "--host": "web.host", "--port": "web.port", "--storage": "storage",
        "--budget": "rounds.annotation_budget", "--min-examples": "rounds.min_examples",
    },
    "cornerloop assist": {
        "--host": "assist.host", "--port": "assist.port", "--device": "assist.device",
        "--label-studio": "label_studio.url",
    },
    "cornerloop preannotate": {
        "--label-map": "label_map", "--ontology": "preannotation.ontology",
        "--device": "preannotation.device",
    },
    "cornerloop learn": TRAINING, "cornerloop begin": TRAINING, "cornerloop job run": TRAINING,
}  # fmt: skip


def flags() -> dict[str, dict[str, str]]:
    """Of every command, the flags that stand for a key, and which."""
    found: dict[str, dict[str, str]] = {}
    for words, command in commands():
        for one in command.params:
            named = re.search(r"\(([a-z_.]+)\)\.$|^Instead of ([a-z_.]+)\.$", one.help or "")
            if one.name.startswith("set_") and named:
                found.setdefault(" ".join(words), {})[one.opts[0]] = named[1] or named[2]
    return found


def test_ux_05_every_command_has_the_flags_that_are_wanted_of_it() -> None:
    found = flags()
    assert found.keys() == WANTED.keys()
    for name, wanted in WANTED.items():
        assert wanted.items() <= found[name].items(), name


def test_ux_05_every_flag_names_a_key_that_exists() -> None:
    for name, found in flags().items():
        for flag, key in found.items():
            assert kind_of(key) is not None, (name, flag)
    with pytest.raises(KeyError):
        kind_of("web.prt")


def test_ux_05_the_configuration_page_tells_of_every_flag() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    _, _, chapter = page.partition("\n## Flags\n")
    told = chapter.partition("\n## ")[0]
    rows = set(re.findall(r"`(--[a-z-]+)`[^|]*\| `([a-z_.]+)` \|", told))
    assert rows == {pair for found in flags().values() for pair in found.items()}


def called(typed: list[str], *settings: Setting, within: str = "") -> Any:
    """What a command is given when that is typed; the exit code when it does not get so far."""
    app, seen = typer.Typer(), []

    @app.command()
    @with_settings(*settings, pairs_within=within)
    def command(*, given: list[Given]) -> None:
        seen.extend((one.flag, ".".join(one.key), one.value) for one in given)

    done = CliRunner().invoke(app, typed)
    return seen if done.exit_code == 0 else done.exit_code


UPLOADS = Setting(flag="--uploads/--no-uploads", key="edge.upload.enabled")
PROVIDERS = Setting(flag="--provider", key="edge.providers")


def test_b1_a_switch_is_two_words_and_takes_none_behind_it() -> None:
    """B1: `--flag False` was true; here it is no usage, and `--no-flag` says it."""
    assert called(["--uploads"], UPLOADS) == [("--uploads", "edge.upload.enabled", True)]
    assert called(["--no-uploads"], UPLOADS) == [("--uploads", "edge.upload.enabled", False)]
    assert called([], UPLOADS) == []
    assert called(["--uploads", "False"], UPLOADS) == 2


def test_ux_05_what_is_not_typed_is_not_given_and_lists_are_repeated() -> None:
    assert get_origin(kind_of("edge.providers")) is tuple
    typed = ["--provider", "A", "--provider", "B", "--set", "steps=3", "--set", "web.port=0"]
    assert called(typed, PROVIDERS, within="training") == [
        ("--provider", "edge.providers", ["A", "B"]),
        ("--set", "training.steps", 3),
        ("--set", "web.port", 0),
    ]
