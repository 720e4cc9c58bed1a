"""LLL-13 and LLL-01 from the command line: `cornerloop leaks`, `cornerloop rounds --start`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cloud.assembly import open_cloud
from cloud.cli import app
from cloud.round_start import is_asked_for
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.records.ids import RoundNumber
from lifelong.records.samples import Split
from tests.builders import a_jpeg, a_mask_png, a_round, a_sample, an_image


def pictures(folder: Path, *seeds: int, mirrored: bool = False) -> Path:
    folder.mkdir(parents=True)
    for seed in seeds:
        image = an_image(seed, 96, 128)
        turned = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
        Image.fromarray(turned).save(folder / f"{seed}.jpg")
    return folder


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_lll13_two_folders_are_compared(tmp_path: Path) -> None:
    """LLL-13: exit code 3 and both names when something leaks, 0 when nothing does."""
    train = pictures(tmp_path / "train" / "images", 1, 2, 3).parent
    held = pictures(tmp_path / "held" / "images", 2, 9, mirrored=True).parent
    honest = pictures(tmp_path / "honest", 7, 8)
    code, text = run("leaks", "--train", train, "--eval", held, "--json")
    told = json.loads(text)
    assert code == 3
    assert (told["train"], told["eval"]) == (3, 2)
    assert [(leak["train"], leak["eval"]) for leak in told["leaks"]] == [
        ("images/2.jpg", "images/2.jpg")
    ]
    code, text = run("leaks", "--train", train, "--eval", honest)
    assert code == 0
    assert "0 of 3 training pictures leak into 2 held out" in text


def test_lll13_a_configurations_samples_and_hold_outs_are_compared(tmp_path: Path) -> None:
    """LLL-13: those of the knowledge base against the folder and those that rounds held back."""
    place = tmp_path / "holdouts" / "day" / "eval"
    for part, data in (("images/a.jpg", a_jpeg(1)), ("train_ids/a.png", a_mask_png(1))):
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        (place / part).write_bytes(data)
    config = tmp_path / "config.yaml"
    config.write_text("storage: storage\nholdouts: holdouts\njournal_path: journal\n")
    cloud = open_cloud(load_config(config))
    for seed, split in ((1, Split.TRAIN), (2, Split.TRAIN), (5, Split.EVAL)):
        sample = a_sample(seed, split=split, learning_task="fog")
        cloud.storage.put(sample.image_key, a_jpeg(seed))
        cloud.kb.add([sample], why="test")
    code, text = run("leaks", "-c", config)
    assert code == 3
    assert f"{a_sample(1).sample_id} is day/a.jpg" in text
    assert "1 of 2 training pictures leak into 2 held out" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a configuration"),
        (("--train", "."), "belong together"),
        (("--train", "{tmp}", "--eval", "{tmp}"), "no pictures"),
    ],
)
def test_what_cannot_be_compared_is_said(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORNERLOOP_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=said):
        run("leaks", *(word.format(tmp=tmp_path) for word in words))


def test_lll01_a_round_is_started_by_a_word(tmp_path: Path) -> None:
    """LLL-01: through storage, so the service may run anywhere."""
    config = tmp_path / "config.yaml"
    config.write_text("storage: storage\njournal_path: journal\n")
    cloud = open_cloud(load_config(config))
    cloud.rounds.save(a_round(number=RoundNumber(4)))
    code, text = run("rounds", "-c", config, "--start", "--json")
    assert (code, json.loads(text)) == (0, {"asked_for": 4})
    assert is_asked_for(cloud.storage, RoundNumber(4))
    assert not is_asked_for(cloud.storage, RoundNumber(5))
