"""UX-05: what is given on a command line stands instead of one key, held to the file's rules."""

from pathlib import Path

import pytest

from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.given_settings import Given, given_pair
from lifelong.sections.edge import FolderSource, VideoSource


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that says something of several sections."""
    path = tmp_path / "place" / "config.yaml"
    path.parent.mkdir()
    path.write_text(
        "storage: stored\n"
        "web: {port: 8001, host: 10.0.0.1}\n"
        "edge: {id: gate, source: {type: folder, path: frames, poll_seconds: 3}}\n",
        encoding="utf-8",
    )
    return path


def given(flag: str, key: str, value: object) -> Given:
    return Given(flag=flag, key=tuple(key.split(".")), value=value)


def test_ux_05_a_given_value_replaces_one_key_and_no_other(file: Path) -> None:
    before = load_config(file)
    after = load_config(file, [given("--port", "web.port", "9000")])
    assert after.web.port == 9000
    assert after.model_copy(update={"web": before.web}) == before
    assert after.web.host == "10.0.0.1"


@pytest.mark.parametrize(
    ("key", "value"),
    [("web.port", "eighty"), ("web.port", "70000"), ("rounds.annotation_budget", "0"),
     ("training.strategy", "none"), ("edge.upload.enabled", "maybe")],
)  # fmt: skip
def test_ux_05_a_wrong_value_is_told_as_the_file_would_be_with_the_flag_in_its_place(
    tmp_path: Path, key: str, value: str
) -> None:
    section, _, name = key.rpartition(".")
    outer, _, inner = section.partition(".")
    said = f"{name}: {value}"
    said = f"{inner}: {{{said}}}, source: {{type: folder, path: x}}" if inner else said
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(f"{outer}: {{{said}}}\n", encoding="utf-8")
    empty = tmp_path / "empty.yaml"
    empty.write_text("edge: {source: {type: folder, path: x}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as of_file:
        load_config(wrong)
    with pytest.raises(ConfigError) as of_flag:
        load_config(empty, [given("--flag", key, value)])
    assert str(of_flag.value) == str(of_file.value).replace(str(wrong), "--flag", 1)
    assert f": {key}: " in str(of_flag.value)


def test_ux_05_of_two_mistakes_each_is_told_by_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("web: {hots: here}\nedge: {source: {type: folder, pat: x}}\n", "utf-8")
    with pytest.raises(ConfigError) as told:
        load_config(
            path,
            [
                given("--port", "web.port", "-1"),
                given("--source", "edge.source", {"type": "folder", "path": "frames"}),
            ],
        )
    lines = {line.split(": ")[0]: line for line in str(told.value).splitlines()}
    assert lines.keys() == {str(path), "--port"}
    assert "web.hots: unknown key; did you mean 'host'?" in str(told.value)
    assert f"{path}: edge.source.folder.pat: unknown key" in str(told.value)


def test_ux_05_an_unknown_key_is_refused_with_the_nearest_one(file: Path) -> None:
    for text, says in {
        "web.prt=1": "--set: web.prt: unknown key; did you mean 'port'?",
        "trainin.steps=1": "--set: trainin: unknown key; did you mean 'training'?",
        "edge.source.pol_seconds=1": "did you mean 'poll_seconds'?",
    }.items():
        with pytest.raises(ConfigError) as told:
            load_config(file, [given_pair(text)])
        assert says in str(told.value)


def test_ux_05_paths_of_a_command_line_start_here_those_of_the_file_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    known = load_config(file, [given("--outbox", "edge.outbox.path", "box")])
    assert known.edge is not None
    assert known.edge.outbox.path == here / "box"
    assert known.edge.state_path == file.parent / "edge-state"
    assert known.storage == str(file.parent / "stored")
    other = load_config(file, [given("--storage", "storage", "mine")])
    assert other.storage == str(here / "mine")
    assert load_config(file, [given("--storage", "storage", "s3://b/p")]).storage == "s3://b/p"
    assert load_config(None, []).storage == str(here / "storage")


def test_ux_05_a_name_of_weights_is_a_path_only_where_it_was_typed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "weights").write_text("x")
    monkeypatch.chdir(tmp_path)
    named = [given("--init", "training.init", "weights")]
    assert load_config(file, named).training.init == "weights"
    (tmp_path / "weights").write_text("x")
    assert load_config(file, named).training.init == str(tmp_path / "weights")


def test_ux_05_a_source_of_the_same_kind_keeps_what_the_file_says_of_it(file: Path) -> None:
    same = given("--source", "edge.source", {"type": "folder", "path": "/other"})
    known = load_config(file, [same]).edge
    assert known is not None and isinstance(known.source, FolderSource)
    assert (known.source.path, known.source.poll_seconds) == (Path("/other"), 3)
    another = given("--source", "edge.source", {"type": "video", "path": "/a.mp4"})
    known = load_config(file, [another]).edge
    assert known is not None and isinstance(known.source, VideoSource)


@pytest.mark.parametrize("word", ["False", "false", "no", "off", "FALSE"])
def test_b1_a_switch_given_as_text_is_what_it_says(file: Path, word: str) -> None:
    """B1: `type=bool` made every word true."""
    known = load_config(file, [given_pair(f"edge.upload.enabled={word}")]).edge
    assert known is not None and known.upload.enabled is False
    known = load_config(file, [given("--uploads", "edge.upload.enabled", word)]).edge
    assert known is not None and known.upload.enabled is False


def test_ux_05_a_pair_without_a_value_or_within_no_section_says_what_is_expected(
    file: Path,
) -> None:
    for text in ("steps", "=3", "training.=3"):
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            given_pair(text)
    with pytest.raises(ConfigError, match="not YAML"):
        given_pair("training.steps=[1")
    with pytest.raises(ConfigError, match="storage is 'stored' and has no keys"):
        load_config(file, [given_pair("storage.path=x")])
    with pytest.raises(ConfigError, match=r"without --config: edge\.source: Field required"):
        load_config(None, [given("--id", "edge.id", "one")])
