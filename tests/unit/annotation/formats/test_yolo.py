"""YOLO's label files: what is written is read back pixel by pixel; what OpenCV makes of it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.file_names import flat_name
from annotation.formats.yolo import Yolo
from annotation.formats.yolo_reading import pictures_from_yolo
from annotation.labelled_pictures import LabelledPicture
from annotation.outlines import filled
from lifelong.errors import CorruptRecordError, ImageError, LabelMapError, ShapeError
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP
from tests.unit.annotation.formats.pictures import (
    THINGS,
    camvid_pictures,
    drawn_picture,
    lay_out,
    random_picture,
    run_writer,
    seen_masks,
)
from tests.unit.annotation.maps import label_maps


def label_lines(writer: Yolo, picture: LabelledPicture) -> list[list[str]]:
    entry = writer.entry(picture, "train")
    (text,) = entry.files.values()
    return [line.split() for line in text.decode().splitlines()]


def countable(picture: LabelledPicture) -> list[tuple[int, NDArray[np.bool_]]]:
    crowds = [one.is_crowd for one, _ in picture.visible()]
    return [one for one, crowd in zip(seen_masks(picture), crowds, strict=True) if not crowd]


def ring_of(words: list[str], picture: LabelledPicture) -> NDArray[np.float64]:
    shares = np.array([float(word) for word in words[1:]]).reshape(-1, 2)
    return shares * (picture.width, picture.height)


@settings(deadline=None, max_examples=150)
@given(mask=label_maps(3))
def test_cnv_09_cnv_03_outlines_with_holes_and_pieces_are_the_same_pixels(
    mask: NDArray[np.uint8],
) -> None:
    picture = random_picture(mask)
    lines = label_lines(Yolo(label_map=THINGS, kind="segment"), picture)
    expected = countable(picture)
    assert len(lines) == len(expected)  # one line an instance, however many pieces
    for words, (class_id, painted) in zip(lines, expected, strict=True):
        patch = filled([ring_of(words, picture)], picture.height, picture.width)
        frame = np.zeros(mask.shape, dtype=np.uint8)
        patch.paint(frame, 1)
        assert int(words[0]) == class_id
        assert np.array_equal(frame == 1, painted)


@settings(deadline=None, max_examples=50)
@given(mask=label_maps(3))
def test_cnv_09_boxes_enclose_exactly_the_pixels(mask: NDArray[np.uint8]) -> None:
    picture = random_picture(mask)
    lines = label_lines(Yolo(label_map=THINGS, kind="detect"), picture)
    for words, (class_id, painted) in zip(lines, countable(picture), strict=True):
        x, y, wide, high = (float(word) for word in words[1:])
        rows, columns = np.nonzero(painted)
        assert int(words[0]) == class_id
        assert np.isclose((x - wide / 2) * picture.width, columns.min(), atol=1e-6)
        assert np.isclose((x + wide / 2) * picture.width, columns.max() + 1, atol=1e-6)
        assert np.isclose((y - high / 2) * picture.height, rows.min(), atol=1e-6)
        assert np.isclose((y + high / 2) * picture.height, rows.max() + 1, atol=1e-6)


def test_cnv_09_written_and_read_again_nothing_has_changed(tmp_path: Path) -> None:
    pictures = {"train": [drawn_picture(), drawn_picture("b/images/c.png")],
                "test": [drawn_picture("ä__b.jpg")]}  # fmt: skip
    folder = lay_out(tmp_path, Yolo(label_map=THINGS, kind="segment"), pictures)
    again = list(pictures_from_yolo(folder, THINGS))
    assert [(split, one.name) for split, one in again] == [
        (split, name)
        for split, some in pictures.items()
        for name in sorted(flat_name(one.name) for one in some)
    ]
    (crowd,) = [patch for one, patch in drawn_picture().visible() if one.is_crowd]
    without_crowd = drawn_picture().mask()
    crowd.paint(without_crowd, 255)
    for _, picture in again:
        assert np.array_equal(picture.mask(), without_crowd)
        assert Path(picture.image).is_file()


def test_flaw_b1_val_is_not_train_in_data_yaml(tmp_path: Path) -> None:
    writer = Yolo(label_map=THINGS, kind="detect")
    files, images = run_writer(writer, {"train": [drawn_picture("a.jpg")]})
    told = yaml.safe_load(files["data.yaml"])
    assert told["train"] == "images/train" and "val" not in told and "test" not in told
    assert b"# val: no picture is in it" in files["data.yaml"]
    assert told["names"] == {0: "road", 1: "car", 2: "person"}
    assert b"# 1 crowd regions are in no label file" in files["data.yaml"]
    assert images == {"images/train/a.jpg": "a.jpg"} and "labels/train/a.txt" in files


def test_a_picture_without_regions_is_background_with_an_empty_file() -> None:
    empty = LabelledPicture(name="a.jpg", height=4, width=6, regions=())
    files, _ = run_writer(Yolo(label_map=THINGS, kind="segment"), {"val": [empty]})
    assert files["labels/val/a.txt"] == b""


def filled_by_opencv(words: list[str], picture: LabelledPicture) -> NDArray[np.bool_]:
    """As Ultralytics draws a training mask: corners cut to whole pixels, OpenCV's fillPoly."""
    canvas = np.zeros((picture.height, picture.width), dtype=np.uint8)
    cv2.fillPoly(canvas, [ring_of(words, picture).astype(np.int32)], 1)
    return canvas.astype(np.bool_)


def test_cnv_09_opencvs_filling_of_real_masks_loses_no_pixel_and_adds_a_rim() -> None:
    """The rim lies right and below: at most one pixel, and one along a bridge."""
    both = either = 0
    for picture in camvid_pictures(CITYSCAPES, 4):
        lines = label_lines(Yolo(label_map=CITYSCAPES, kind="segment"), picture)
        for words, (_, painted) in zip(lines, countable(picture), strict=True):
            drawn = filled_by_opencv(words, picture)
            assert not (painted & ~drawn).any()
            both += np.count_nonzero(drawn & painted)
            either += np.count_nonzero(drawn | painted)
    assert both / either > 0.96  # 0.969 measured


def data_set(folder: Path, line: str, **told: Any) -> Path:
    for place in ("images/train", "labels/train"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 4)).save(folder / "images" / "train" / "a.png")
    (folder / "labels" / "train" / "a.txt").write_text(f"\n{line}\n")
    content = {"train": "images/train", "names": {0: "road", 1: "unicorn"}} | told
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("line", "error", "told"),
    [
        ("0 0.5 0.5 0.5", CorruptRecordError, "4 numbers"),
        ("0 0.5 0.5 0.5 0.5 0.5", CorruptRecordError, "6 numbers"),
        ("0 0.5 0.5 0.5 x", CorruptRecordError, "not numbers"),
        ("7 0.5 0.5 0.5 0.5", LabelMapError, "class 7"),
        ("0.5 0.5 0.5 0.5 0.5", LabelMapError, "class 0.5"),
        ("1 0.5 0.5 0.5 0.5", LabelMapError, "unicorn"),
        ("0 0.5 0.5 0.5 1.5", ShapeError, "1.5"),
        ("0 0.5 0.5 0.5 nan", ShapeError, "nan"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(
    line: str, error: type[Exception], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=rf"a\.txt, line 2: .*{told}"):
        list(pictures_from_yolo(data_set(tmp_path, line), SMALL_MAP))


def test_boxes_and_list_names_of_other_tools_are_read(tmp_path: Path) -> None:
    folder = data_set(tmp_path, "1 0.5 0.5 0.5 0.5", names=["road", "car"], path=str(tmp_path))
    (folder / "images" / "train" / "b.png").write_bytes(
        (folder / "images" / "train" / "a.png").read_bytes()
    )
    (_, first), (_, second) = pictures_from_yolo(folder, SMALL_MAP)
    assert first.regions[0].shape == "rectangle" and second.regions == ()
    expected = np.full((4, 8), 255, dtype=np.uint8)
    expected[1:3, 2:6] = 1
    assert np.array_equal(first.mask(), expected)


def test_a_turned_photograph_has_its_upright_size(tmp_path: Path) -> None:
    folder = data_set(tmp_path, "0 0.5 0.5 1 1")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4)).save(folder / "images" / "train" / "a.png", exif=exif)
    ((_, picture),) = pictures_from_yolo(folder, SMALL_MAP)
    assert (picture.height, picture.width) == (8, 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"names": 3}, "names is 3"), ({"train": "gone"}, "no folder")],
)
def test_a_data_yaml_that_cannot_be_read_is_named(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(CorruptRecordError, match=rf"data\.yaml.*{told}"):
        list(pictures_from_yolo(data_set(tmp_path, "", **changes), SMALL_MAP))


def test_a_missing_data_yaml_or_a_broken_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptRecordError, match=r"data\.yaml"):
        list(pictures_from_yolo(tmp_path, SMALL_MAP))
    folder = data_set(tmp_path, "")
    (folder / "images" / "train" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"a\.png"):
        list(pictures_from_yolo(folder, SMALL_MAP))
    (folder / "data.yaml").write_text("- a")
    with pytest.raises(CorruptRecordError, match="expected names"):
        list(pictures_from_yolo(folder, SMALL_MAP))
