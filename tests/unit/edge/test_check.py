"""`check`: every kind of finding, good and bad."""

import re

import pytest

from edge.check import Finding, findings
from lifelong.config import Config
from lifelong.links.storage import open_storage
from lifelong.records.label_map import CITYSCAPES
from tests.edge_fixtures import edge_config, release, street_bundle, write_frames
from tests.tiny_bundle import tiny_bundle, tiny_weights


def looked_at(config: Config) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings(config)}


def last_finding(config: Config) -> str:
    *_, last = findings(config)
    assert not last.is_good
    assert "\n" not in last.text
    return f"{last.subject}: {last.text}"


def test_a_whole_installation(tmp_path):
    write_frames(tmp_path, 1)
    config = edge_config(tmp_path)
    release(open_storage(config.storage), street_bundle())
    found = looked_at(config)
    assert list(found) == ["config", "keys", "source", "storage", "model", "segmentation"]
    assert all(finding.is_good for finding in found.values())
    assert CITYSCAPES.digest in found["config"].text


def test_no_edge_section():
    assert last_finding(Config()).startswith("config: edge: the section is missing")


def test_edge_10_a_class_to_blur_that_nobody_knows(tmp_path):
    found = last_finding(edge_config(tmp_path, privacy={"blur": ["persn"]}))
    assert found.startswith("config: edge.privacy.blur: no class 'persn'")


def test_a_source_that_is_not_there(tmp_path):
    assert not looked_at(edge_config(tmp_path))["source"].is_good


def test_a_storage_that_cannot_be_opened(tmp_path):
    config = edge_config(tmp_path).model_copy(update={"storage": "ftp://somewhere"})
    assert last_finding(config).startswith("storage: storage 'ftp://somewhere'")


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [
        (tiny_bundle(), "model: .*made for label map"),
        (
            street_bundle(weights=tuple(w * float("nan") for w in tiny_weights(CITYSCAPES))),
            "segmentation: .*NaN",
        ),
    ],
)
def test_models_that_cannot_do_the_work(tmp_path, bundle, expected):
    config = edge_config(tmp_path)
    release(open_storage(config.storage), bundle)
    assert re.match(expected, last_finding(config))
