"""UX-01: pictures that examine are put where they belong by the command that begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloud.assembly import open_cloud
from cloud.first_model import Picture, begin_with_pictures, keep_holdout, refuse_shared
from lifelong.config import Config, TrainingSection
from lifelong.errors import ConfigError
from lifelong.evaluation import filled, read_holdouts
from lifelong.records.ids import sample_id_of
from lifelong.records.pixels import jpeg_from_image


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


def test_ux_01_a_picture_that_trains_and_examines_is_refused_at_the_beginning(
    tmp_path: Path,
) -> None:
    """Else the first round is refused for it, after people have corrected its drafts."""
    data, val = labelled(tmp_path / "data", "1"), labelled(tmp_path / "val", "2")
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(val / "images" / "2.png")
    refuse_shared(data, val)
    (val / "images" / "2.png").write_bytes((data / "images" / "1.png").read_bytes())
    with pytest.raises(ConfigError, match=r"val: 1 of its pictures are in .*data .*1\.png"):
        refuse_shared(data, val)


def test_ux_01_a_training_that_was_cut_off_may_begin_again_with_other_pictures(
    tmp_path: Path,
) -> None:
    """Those of the first try may examine then: the knowledge base must not know them."""
    training = TrainingSection(
        steps=1, first_steps_factor=1, batch_size=2, threads=1, device="cpu", height=32, width=48
    )
    cloud = open_cloud(
        Config(storage=str(tmp_path / "s"), journal_path=tmp_path / "j", training=training)
    )
    rng = np.random.default_rng(0)
    tried, taken = (
        [
            Picture(
                jpeg_from_image(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)),
                np.full((32, 48), class_id, np.uint8),
            )
            for class_id in (0, 10)
        ]
        for _ in range(2)
    )

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin_with_pictures(cloud, tried, "day", on_progress=cut_off)
    version = begin_with_pictures(cloud, taken, "day", on_progress=lambda *_: None)
    assert cloud.releases.current() is not None
    assert set(cloud.kb.samples) == {sample_id_of(picture.image) for picture in taken}
    assert version in cloud.kb.versions
