"""UX-01: pictures that examine are put where they belong by the command that begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloud.first_model import keep_holdout
from lifelong.errors import ConfigError
from lifelong.evaluation import filled, read_holdouts


def labelled(folder: Path, *names: str) -> Path:
    for kind in ("images", "train_ids"):
        (folder / kind).mkdir(parents=True)
        for name in names:
            Image.fromarray(np.zeros((4, 6), np.uint8)).save(folder / kind / f"{name}.png")
    return folder


def test_ux_01_a_holdout_is_kept_for_its_task_and_again_changes_nothing(tmp_path: Path) -> None:
    holdouts = tmp_path / "holdouts"
    val = labelled(tmp_path / "val", "1", "2")
    assert keep_holdout(holdouts, "day", val) == 2
    assert keep_holdout(holdouts, "day", val) == 2
    assert [*read_holdouts(holdouts)] == ["day"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holdouts", "val"]


def test_what_examines_a_task_stays_the_same(tmp_path: Path) -> None:
    keep_holdout(tmp_path / "holdouts", "day", labelled(tmp_path / "val", "1", "2"))
    with pytest.raises(ConfigError, match=r"day has other pictures.*leave --holdout away"):
        keep_holdout(tmp_path / "holdouts", "day", labelled(tmp_path / "new", "3"))
    with pytest.raises(ConfigError, match="holdouts is missing"):
        keep_holdout(None, "day", tmp_path / "val")


def test_a_folder_that_nobody_has_filled_is_no_holdout_and_no_mistake(tmp_path: Path) -> None:
    """A round must not wait for ever since `cornerloop init` made an empty folder."""
    assert filled(None) is None
    assert filled(tmp_path) is None
    (tmp_path / "label_map.json").write_text("{}")
    assert filled(tmp_path) is None
    (tmp_path / "picture.jpg").write_bytes(b"lies wrongly")
    assert filled(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="no hold-outs; expected"):
        read_holdouts(tmp_path)
    assert filled(tmp_path / "not there") == tmp_path / "not there"
