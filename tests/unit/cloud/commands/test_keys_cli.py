"""`cornerloop keys`, SEC-02: from the first key to a stolen one, as an operator types it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.assembly import open_cloud
from cloud.cli import app
from edge.models.model_updates import LOOKS_BETWEEN_RINGS, ModelUpdates
from edge.models.trust import open_trust
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.updates import UpdatesSection
from tests.edge_fixtures import street_bundle

OLD, NEW = street_bundle(0), street_bundle(1)


@pytest.fixture
def site(tmp_path) -> Path:
    (tmp_path / "config.yaml").write_text(
        "storage: storage\njournal_path: journal\nreleases: {signing_key: keys/signing.json}\n"
    )
    cloud = open_cloud(load_config(tmp_path / "config.yaml"))
    for bundle in (OLD, NEW):
        cloud.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    return tmp_path


def keys(site: Path, *words: str) -> str:
    done = CliRunner().invoke(
        app, ["keys", *words, "--config", str(site / "config.yaml")], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def refused(site: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        keys(site, *words)
    return str(raised.value)


def ids(site: Path, state: str) -> list[str]:
    lines = keys(site, "list").splitlines()[1:]
    return [line.split()[0] for line in lines if line.split()[1] == state]


def test_sec_02_a_key_is_made_stolen_replaced_and_revoked(site):
    assert "is active" in keys(site, "new", "--no-password", "--note", "olga's laptop")
    keys(site, "export", str(site / "nodes" / "ring.json"))
    cloud = open_cloud(load_config(site / "config.yaml"))
    cloud.releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    trust = open_trust(UpdatesSection(trusted_keys=site / "nodes/ring.json"), site / "state")
    node = ModelUpdates(
        cloud.storage,
        site / "state/models",
        CITYSCAPES.digest,
        Journal(site / "state/journal", "edge-1"),
        trust=trust,
    )
    offer = node.newer_than(None)
    assert offer is not None
    node.keep(offer, None)
    (stolen,) = ids(site, "active")
    assert "olga's laptop" in keys(site, "list")

    keys(site, "rotate", "--no-password")
    assert ids(site, "retired") == [stolen]
    assert node.newer_than(OLD.version_id) is None
    assert node.doubt == ""  # what the retired key signed before stays good
    told = keys(site, "revoke", stolen)
    assert "--resign" in told
    for _ in range(LOOKS_BETWEEN_RINGS):
        node.newer_than(OLD.version_id)
    assert stolen in node.doubt
    assert "signed by" in keys(site, "publish", "--resign")
    node.newer_than(OLD.version_id)
    assert node.doubt == ""
    # The service goes on with the file where it always was.
    cloud.releases.publish(NEW.version_id, RoundNumber(2), "round 2 accepted")
    assert node.newer_than(OLD.version_id).bundle == NEW
    assert "was published before" in keys(site, "publish")


def test_a_further_key_lies_where_it_is_told_and_may_sign_releases_only(site):
    keys(site, "new", "--no-password")
    assert "--out" in refused(site, "new", "--no-password")
    keys(site, "new", "--no-password", "--out", str(site / "server.json"), "--releases-only")
    assert "releases only" in keys(site, "list")
    assert len(ids(site, "active")) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list",), "keys new"),
        (("new",), "CORNERLOOP_SIGNING_PASSWORD"),
        (("new", "--no-password", "--releases-only"), "first key"),
        (("rotate", "--no-password"), "keys new"),
        (("publish",), "keys new"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(site, monkeypatch, words, told):
    monkeypatch.delenv("CORNERLOOP_SIGNING_PASSWORD", raising=False)
    assert told in refused(site, *words)


def test_without_a_place_for_the_key_the_setting_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("storage: storage\n")
    assert "releases.signing_key is missing" in refused(tmp_path, "new")


def test_a_rotation_that_was_cut_short_is_given_again(site, monkeypatch):
    keys(site, "new", "--no-password")

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lifelong.links.durable_files.write_whole", killed)
        done = CliRunner().invoke(
            app, ["keys", "rotate", "--no-password", "--config", str(site / "config.yaml")]
        )
        assert done.exit_code != 0
    keys(site, "rotate", "--no-password")
    assert (len(ids(site, "active")), len(ids(site, "retired"))) == (1, 1)
    cloud = open_cloud(load_config(site / "config.yaml"))
    release = cloud.releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    assert [release.key_id] == ids(site, "active")
