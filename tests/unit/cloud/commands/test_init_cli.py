"""UX-01, UX-05: one command makes a folder in which the loop can begin."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.preannotation.assembly import ontology_from
from lifelong.config import load_config, load_label_map
from lifelong.errors import ConfigError


def made(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["init", str(folder), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_ux_01_init_makes_a_configuration_a_key_and_the_folders(tmp_path: Path) -> None:
    folder = tmp_path / "my-loop"
    told = made(folder)
    config = load_config(folder / "config.yaml")
    assert config.releases.signing_key == folder / "keys" / "signing.json"
    assert config.releases.signing_key.stat().st_mode & 0o077 == 0
    assert config.edge is not None
    assert config.edge.updates.trusted_keys is not None
    assert config.edge.updates.trusted_keys.is_file()
    assert (folder / "holdouts").is_dir()
    assert (folder / "frames").is_dir()
    assert "road, sidewalk" in told
    assert not list(folder.rglob(".unfinished*"))


def test_sec_the_folder_that_label_studio_serves_holds_no_secret(tmp_path: Path) -> None:
    made(tmp_path / "x")
    config = load_config(tmp_path / "x" / "config.yaml")
    root = config.label_studio.local_files_root
    assert root is not None
    assert Path(config.storage).is_relative_to(root)
    assert config.releases.signing_key is not None
    assert not config.releases.signing_key.is_relative_to(root)
    assert not (tmp_path / "x" / "label-studio").is_relative_to(root)


def test_ux_05_init_takes_classes_and_says_their_ids(tmp_path: Path) -> None:
    told = made(tmp_path / "x", "--classes", "ground, bin,person", "--things", "bin,person")
    assert "ids from 0: ground, bin, person" in told
    label_map = load_label_map(load_config(tmp_path / "x" / "config.yaml"))
    assert label_map.names == ("ground", "bin", "person")
    assert set(label_map.things) == {"bin", "person"}


def test_ux_01_init_says_which_classes_the_shipped_models_cannot_draft(tmp_path: Path) -> None:
    """Else a new user finds out from pictures without a draft of them."""
    told = made(tmp_path / "x", "--classes", "drivable,pole,Straße,vehicle")
    words = tmp_path / "x" / "words.yaml"
    assert f"no drivable, Straße, vehicle until {words}" in told
    config = load_config(tmp_path / "x" / "config.yaml")
    assert config.preannotation.ontology == words
    label_map = load_label_map(config)
    as_made = ontology_from(config.preannotation, label_map)
    assert (as_made.class_of("pole"), as_made.class_of("truck")) == (1, None)
    filled = words.read_text(encoding="utf-8").replace('"vehicle": []', '"vehicle": [car, truck]')
    words.write_text(filled, encoding="utf-8")
    assert ontology_from(config.preannotation, label_map).class_of("truck") == 3
    assert "words.yaml" not in made(tmp_path / "y", "--classes", "road,person")
    assert "words.yaml" not in made(tmp_path / "z")


def test_ux_01_init_says_what_comes_next_as_one_can_type_it(tmp_path: Path) -> None:
    told = made(tmp_path / "相机 1")
    assert f"cornerloop label-studio --config '{tmp_path / '相机 1' / 'config.yaml'}'" in told
    assert "next" not in made(tmp_path / "x", "--without-label-studio")


def test_init_without_label_studio_offers_files(tmp_path: Path) -> None:
    made(tmp_path / "x", "--without-label-studio")
    assert load_config(tmp_path / "x" / "config.yaml").annotation_folder == tmp_path / "x/people"


def test_init_changes_nothing_that_is_there(tmp_path: Path) -> None:
    made(tmp_path / "x")
    before = {p: p.read_bytes() for p in (tmp_path / "x").rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="there is one already"):
        made(tmp_path / "x", "--classes", "a,b")
    assert {p: p.read_bytes() for p in (tmp_path / "x").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--classes", "a,b", "--things", "c"], "c: none of the classes a, b"),
        (["--things", "c"], "say these too"),
        (["--classes", "a,a"], "a"),
    ],
)
def test_init_refuses_classes_that_cannot_be(tmp_path: Path, words: list[str], told: str) -> None:
    with pytest.raises(Exception, match=told):
        made(tmp_path / "x", *words)
    assert not (tmp_path / "x" / "config.yaml").exists()


def test_an_encrypted_key_where_a_password_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "open")
    monkeypatch.setenv("CORNERLOOP_SIGNING_PASSWORD", "correct horse")
    made(tmp_path / "closed")
    monkeypatch.delenv("CORNERLOOP_SIGNING_PASSWORD")
    runner = CliRunner()
    for name, fails in (("open", False), ("closed", True)):
        config = tmp_path / name / "config.yaml"
        done = runner.invoke(app, ["keys", "rotate", "--no-password", "--config", str(config)])
        assert (done.exit_code != 0) is fails, name
