"""LLL-06: `cornerloop classes` says what a change would touch, and makes it."""

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from cloud.assembly import Cloud, open_cloud
from cloud.class_changes import parsed_operations
from cloud.cli import app
from lifelong.config import load_config, read_label_map
from lifelong.errors import ConfigError, LabelMapChangeError
from lifelong.labels.map_history import read_history
from tests.builders import a_sample

BEFORE = ("road", "car", "bus")


@pytest.fixture
def config(tmp_path):
    (tmp_path / "classes.json").write_text(
        json.dumps({"classes": [{"name": name} for name in BEFORE]})
    )
    (tmp_path / "holdouts").mkdir()
    path = tmp_path / "config.yaml"
    content = {
        "storage": "storage",
        "label_map": "classes.json",
        "holdouts": "holdouts",
        "gate": {"protected_classes": ["car"]},
    }
    path.write_text(yaml.safe_dump(content))
    cloud = cloud_of(path)
    samples = [
        a_sample(sample_id=f"{n:016x}", class_pixels={0: 50, 2: 10 * n, 255: 1}) for n in range(3)
    ]
    cloud.kb.add(samples, why="test")
    return path


def cloud_of(path) -> Cloud:
    return open_cloud(load_config(path))


def classes(*words):
    return CliRunner().invoke(app, ["classes", *map(str, words)], catch_exceptions=True)


def test_lll_06_a_dry_run_says_what_would_be_touched_and_writes_nothing(config, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    result = classes(
        "change", "--config", config, "--add", "tram:was bus", "--rename", "car=motor",
        "--dry-run", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["after"]["classes"] == ["road", "motor", "bus", "tram"]
    assert found["labels"] == {
        "car": {"samples": 0, "pixels": 0},
        "bus": {"samples": 2, "pixels": 30},
    }
    assert found["settings"] == ["gate.protected_classes names car, which is motor then"]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_lll_06_a_change_is_recorded_and_old_hold_outs_are_marked(config, tmp_path):
    assert (
        classes("change", "-c", config, "--add", "tram:was bus", "--remove", "car").exit_code == 0
    )
    cloud = cloud_of(config)
    assert cloud.label_map.names == ("road", "bus", "tram")
    assert read_label_map(tmp_path / "holdouts" / "label_map.json").names == BEFORE
    (change,) = read_history(cloud.storage, cloud.label_map).changes
    assert change.may_be("bus") == ("bus", "tram")
    assert change.removed == ("car",)
    again = classes("change", "-c", config, "--merge", "bus+tram=vehicle")
    assert again.exit_code == 0, again.output
    assert read_label_map(tmp_path / "holdouts" / "label_map.json").names == BEFORE
    shown = json.loads(classes("show", "-c", config, "--json").stdout)
    assert shown["classes"] == ["road", "vehicle"]
    assert len(shown["changes"]) == 2
    assert [one["samples"] for one in shown["samples"].values()] == [3]
    assert "3 samples of label map" in classes("show", "-c", config).stdout


def test_lll_06_a_change_that_was_cut_off_is_made_whole_by_asking_again(config, tmp_path):
    old = (tmp_path / "classes.json").read_bytes()
    words = ("change", "-c", config, "--add", "tram:was bus")
    assert classes(*words).exit_code == 0
    (tmp_path / "classes.json").write_bytes(old)  # as if power had failed before it was written
    assert classes(*words).exit_code == 0
    cloud = cloud_of(config)
    assert cloud.label_map.names == (*BEFORE, "tram")
    assert len(read_history(cloud.storage, cloud.label_map).changes) == 1


def test_lll_06_an_older_configuration_cannot_start_a_second_history(config, tmp_path):
    old = (tmp_path / "classes.json").read_bytes()
    assert classes("change", "-c", config, "--add", "tram:was bus").exit_code == 0
    (tmp_path / "classes.json").write_bytes(old)
    result = classes("change", "-c", config, "--remove", "bus")
    assert isinstance(result.exception, LabelMapChangeError)
    assert "the newest one is" in str(result.exception)
    assert (tmp_path / "classes.json").read_bytes() == old


def test_lll_06_the_built_in_classes_need_a_file_to_go_to(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"storage": "storage"}))
    result = classes("change", "-c", path, "--merge", "car+truck=vehicle")
    assert isinstance(result.exception, ConfigError) and "--out" in str(result.exception)
    out = tmp_path / "mine.json"
    assert (
        classes("change", "-c", path, "--merge", "car+truck=vehicle", "--out", out).exit_code == 0
    )
    made = read_label_map(out)
    assert "vehicle" in made and "vehicle" in made.things and "truck" not in made
    assert len(np.unique(np.array(made.colours), axis=0)) == len(made)


@pytest.mark.parametrize(
    "words",
    [
        {"add": ["tram=bus"], "rename": ["car"]},
        {"add": ["tram:bus"]},
        {"rename": ["car"]},
        {"merge": ["=c"]},
        {"rename": ["car="]},
    ],
)
def test_lll_06_words_that_say_something_else_are_refused(words):
    asked = {"add": [], "rename": [], "merge": [], "remove": []} | words
    with pytest.raises(LabelMapChangeError, match="expected"):
        parsed_operations(**asked)


def test_lll_06_operations_as_people_write_them():
    made = parsed_operations(["tram:was building, bus", "dog", "cat:"], ["a=b"], ["a+b=c"], ["d"])
    assert made == {
        "add": {"tram": ("building", "bus"), "dog": (), "cat": ()},
        "rename": {"a": "b"},
        "merge": {"c": ("a", "b")},
        "remove": ("d",),
    }


def test_lll_06_no_operation_is_a_usage_error(config):
    assert classes("change", "-c", config).exit_code == 2
