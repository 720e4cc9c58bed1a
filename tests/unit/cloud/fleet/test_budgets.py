"""TR-06: the cloud says how much a node may send: an operator for one, `edges.*` for the others."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cloud.cli import app
from cloud.fleet.budgets import Budgets
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import EdgeId
from lifelong.sections.fleet import EdgesSection
from tests.builders import NOON
from tests.edge_fixtures import HandClock

ONE, TWO = EdgeId("edge-1"), EdgeId("edge-2")


class Office:
    """Budgets over storage in memory, with nodes that have reported."""

    def __init__(self, folder: Path) -> None:
        self.storage, self.clock, self.folder = open_storage("memory://"), HandClock(), folder
        for node in (ONE, TWO):
            self.storage.put(f"edges/{node}/health.json", b"{}")
        self.budgets = self.restarted()

    def restarted(self) -> Budgets:
        self.budgets = Budgets(self.storage, Journal(self.folder, "c"), lambda: NOON, self.clock)
        return self.budgets

    def look(self, **edges) -> int:
        self.clock.advance(60)
        return self.budgets.apply_defaults(EdgesSection(**edges))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_tr_06_every_node_gets_the_default_once(office):
    assert office.look(max_mib_per_day=50, max_samples_per_hour=20) == 2
    assert office.look(max_mib_per_day=50, max_samples_per_hour=20) == 0
    told = office.budgets.of(ONE)
    assert (told.max_mib_per_day, told.max_samples_per_hour, told.set_by) == (50, 20, "default")
    office.storage.put("edges/edge-3/health.json", b"{}")
    assert office.look(max_mib_per_day=50, max_samples_per_hour=20) == 1


def test_tr_06_without_a_default_nothing_is_written(office):
    assert office.look() == 0
    assert office.budgets.of(ONE) is None


def test_tr_06_an_operators_word_outlives_the_default(office):
    office.budgets.publish(ONE, max_mib_per_day=1.5, max_samples_per_hour=None)
    assert office.look(max_mib_per_day=50) == 1
    told = office.budgets.of(ONE)
    assert (told.max_mib_per_day, told.set_by) == (1.5, "operator")
    office.restarted()
    assert office.look(max_mib_per_day=80) == 1  # the settings changed: edge-2 is told
    assert office.budgets.of(ONE).max_mib_per_day == 1.5
    assert office.budgets.of(TWO).max_mib_per_day == 80
    office.restarted()
    assert office.look() == 1  # no default any more
    assert office.budgets.of(TWO).max_mib_per_day is None


def test_tr_06_what_is_taken_back_becomes_the_default_again(office):
    office.budgets.publish(ONE, max_mib_per_day=1.5, max_samples_per_hour=None)
    office.budgets.withdraw(ONE)
    assert office.budgets.of(ONE) is None
    office.look(max_mib_per_day=50)
    assert office.budgets.of(ONE).max_mib_per_day == 50


def test_a_look_costs_one_listing_however_often_it_comes(office, monkeypatch):
    calls = []
    folders, get = Storage.folders, Storage.get

    def listed(storage, prefix):
        calls.append(prefix)
        return folders(storage, prefix)

    def got(storage, key, **named):
        calls.append(key)
        return get(storage, key, **named)

    monkeypatch.setattr(Storage, "folders", listed)
    monkeypatch.setattr(Storage, "get", got)
    office.look(max_mib_per_day=50)
    calls.clear()
    for _ in range(100):
        office.budgets.apply_defaults(EdgesSection(max_mib_per_day=50))
        office.clock.advance(1)
    assert calls == ["edges"]


def test_an_unreadable_budget_is_written_anew_and_odd_folders_are_passed_over(office):
    office.storage.put("edges/edge-1/budget.json", b"{")
    office.storage.put("edges/-odd name-/health.json", b"{}")
    assert office.look(max_mib_per_day=50) == 2
    assert office.budgets.of(ONE).max_mib_per_day == 50
    assert len(list(read_events(office.folder))) == 2


def cornerloop(folder: Path, *words: str) -> str:
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"storage": "storage"}))
    result = CliRunner().invoke(app, [words[0], "--config", str(config), *words[1:]])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_tr_06_cornerloop_budget_tells_sets_and_takes_back(tmp_path):
    assert "no budget from the cloud" in cornerloop(tmp_path, "budget", "north-gate")
    text = cornerloop(
        tmp_path, "budget", "north-gate", "--mib-per-day", "50", "--samples-per-hour", "20"
    )
    assert "50 MiB in any 24 hours, 20 samples in any hour (set by operator" in text
    told = json.loads(cornerloop(tmp_path, "budget", "north-gate", "--json"))
    assert (told["edge_id"], told["max_mib_per_day"]) == ("north-gate", 50.0)
    assert "no budget" in cornerloop(tmp_path, "budget", "north-gate", "--withdraw")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("budget", "../etc"), "edge id"),
        (("budget", "a", "--withdraw", "--mib-per-day", "1"), "choose one"),
        (("examples", "--attribute", "night"), "NAME=VALUE"),
        (("examples", "--since", "yesterday"), "2026-03-01"),
    ],
)
def test_wrong_words_are_told_in_one_line(tmp_path, words, error):
    from lifelong.errors import ConfigError

    with pytest.raises(ConfigError, match=error):
        cornerloop(tmp_path, *words)
