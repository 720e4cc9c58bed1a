"""One file, one schema: what is wrong is said in one line each, and nothing is guessed."""

import json
from pathlib import Path

import pytest

from lifelong.config import Config, load_config, load_label_map
from lifelong.errors import ConfigError, LabelMapError
from lifelong.records.label_map import CITYSCAPES


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("storag: x\n", "storag: unknown key; did you mean 'storage'?"),
        ("gate: {max_forgeting: 0.1}\n", "gate.max_forgeting: unknown key; did you mean"),
        ("edge: {source: {type: folder, pth: x, path: y}}\n", "did you mean 'path'?"),
        ("edge: {source: {type: floder, path: x}}\n", "edge.source: Input tag 'floder'"),
        ("training: {steps: 0}\n", "training.steps: Input should be greater than or equal to 1"),
        ("gate: {max_forgetting: 1.5}\n", "gate.max_forgetting: Input should be less than"),
        ("edge: {id: e}\n", "edge.source: Field required"),
    ],
)
def test_ux05_a_mistake_names_file_key_and_what_would_be_right(
    text: str, told: str, tmp_path: Path
) -> None:
    """UX-05."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert told in str(error.value)
    assert all(line.startswith(str(path)) for line in str(error.value).splitlines())


def test_ux05_several_mistakes_are_told_together(tmp_path: Path) -> None:
    """UX-05: nobody wants to fix a file one error at a time."""
    path = written(tmp_path, "storag: x\ntraining: {steps: 0}\nweb: {port: -1}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert len(str(error.value).splitlines()) == 3


def test_paths_start_at_the_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    text = "storage: ../store\nedge: {source: {type: folder, path: frames}}\n"
    config = load_config(written(tmp_path / "deep", text))
    assert config.storage == str(tmp_path / "store")
    assert config.edge is not None
    assert config.edge.source.path == tmp_path / "deep" / "frames"  # type: ignore[union-attr]
    assert load_config(written(tmp_path, "storage: s3://bucket/x\n")).storage == "s3://bucket/x"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_without_a_file_the_classes_are_those_of_cityscapes() -> None:
    assert load_label_map(Config()) == CITYSCAPES.with_distinct_colours()


def test_cnv05_ids_come_from_the_keys_not_from_the_order(tmp_path: Path) -> None:
    """CNV-05: seed 003's file, permuted."""
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({"id2label": {"1": "grass", "0": "road", "2": "sky"}}))
    assert load_label_map(Config(label_map=path)).names == ("road", "grass", "sky")
    path.write_text(json.dumps({"id2label": {"0": "road", "2": "sky"}}))
    with pytest.raises(ConfigError, match="without gaps"):
        load_label_map(Config(label_map=path))


def test_many_classes_have_colours_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({"id2label": {str(i): f"class {i}" for i in range(255)}}))
    assert len(set(load_label_map(Config(label_map=path)).colours)) == 255


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"classes": [{"label": "a"}]}', '{"id2label": {"x": "road"}}', "{"]
)
def test_a_wrong_class_file_is_told_what_it_should_hold(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected"):
        load_label_map(Config(label_map=path))


def test_a_class_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({"id2label": {"0": "road", "1": "road"}}))
    with pytest.raises(LabelMapError, match="twice"):
        load_label_map(Config(label_map=path))


def test_models_that_lie_beside_the_configuration_are_meant(tmp_path):
    """Relative names of models start at the file's own folder; others are names of the hub."""
    (tmp_path / "models" / "ade").mkdir(parents=True)
    (tmp_path / "net.onnx").write_bytes(b"")
    (tmp_path / "vit_b").mkdir()  # a folder that happens to be called like a size of SAM
    path = tmp_path / "config.yaml"
    path.write_text(
        "preannotation:\n"
        "  masks: {model: vit_b}\n"
        "  semantic: {type: onnx, model: net.onnx}\n"
        "  open_vocabulary: {clip: openai/clip, labelers: [models/ade, org/name]}\n"
    )

    told = load_config(path).preannotation

    assert told.semantic.model == str(tmp_path / "net.onnx")
    assert told.open_vocabulary.labelers == (str(tmp_path / "models" / "ade"), "org/name")
    assert told.open_vocabulary.clip == "openai/clip"
    assert told.masks.model == "vit_b"
