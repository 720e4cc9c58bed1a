"""Panoptic COCO: every pixel in exactly one segment or unlabelled."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from annotation.formats.coco_panoptic import CocoPanoptic
from annotation.labelled_pictures import LabelledPicture
from lifelong.errors import CorruptRecordError
from lifelong.records.label_map import CITYSCAPES
from tests.unit.annotation.formats.pictures import (
    THINGS,
    camvid_pictures,
    drawn_picture,
    region,
    run_writer,
)


def ids_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        rgb = np.asarray(picture).astype(np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


@pytest.mark.parametrize("source", ["drawn", "camvid"])
def test_cnv_10_segments_are_the_mask_with_their_area_and_box(source: str) -> None:
    label_map = THINGS if source == "drawn" else CITYSCAPES
    pictures = [drawn_picture()] if source == "drawn" else camvid_pictures(CITYSCAPES, 2)
    files, _ = run_writer(CocoPanoptic(label_map=label_map), {"val": pictures})
    content = json.loads(files["annotations/panoptic_val.json"])
    assert [one["file_name"] for one in content["images"]] == [one.name for one in pictures]
    for picture, annotation in zip(pictures, content["annotations"], strict=True):
        ids = ids_of(files[f"annotations/panoptic_val/{annotation['file_name']}"])
        mask = np.full(ids.shape, 255, dtype=np.uint8)
        for segment in annotation["segments_info"]:
            own = ids == segment["id"]
            mask[own] = segment["category_id"] - 1
            y, x = np.nonzero(own)
            assert segment["area"] == x.size
            assert segment["bbox"] == [
                x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]  # fmt: skip
        assert np.array_equal(mask, picture.mask())
        assert np.array_equal(ids == 0, picture.mask() == 255)
        stuff = [s for s in annotation["segments_info"] if not label_map.is_thing(
            s["category_id"] - 1)]  # fmt: skip
        assert len({s["category_id"] for s in stuff}) == len(stuff)


def test_cnv_10_things_are_one_by_one_and_stuff_is_merged() -> None:
    """Two cars, a person, a crowd and the road: five segments; a second road joins the first."""
    drawn = drawn_picture()
    more = np.zeros((40, 61), dtype=np.bool_)
    more[:2, :5] = True
    picture = LabelledPicture(
        name="a.jpg", height=40, width=61, regions=(*drawn.regions, region(more, 0))
    )
    files, _ = run_writer(CocoPanoptic(label_map=THINGS), {"train": [picture]})
    content = json.loads(files["annotations/panoptic_train.json"])
    segments = content["annotations"][0]["segments_info"]
    assert sorted((s["category_id"], s["iscrowd"]) for s in segments) == [
        (1, 0), (2, 0), (2, 0), (3, 0), (3, 1)]  # fmt: skip
    assert [one["isthing"] for one in content["categories"]] == [0, 1, 1]


def test_more_than_255_segments_need_the_second_byte() -> None:
    regions = []
    for number in range(300):
        painted = np.zeros((20, 20), dtype=np.bool_)
        painted[number // 20, number % 20] = True
        regions.append(region(painted, 1))
    picture = LabelledPicture(name="a.jpg", height=20, width=20, regions=tuple(regions))
    files, _ = run_writer(CocoPanoptic(label_map=THINGS), {"train": [picture]})
    assert sorted(np.unique(ids_of(files["annotations/panoptic_train/a.png"]))) == list(range(301))


def test_cnv_06_two_pictures_that_would_be_one_png_are_refused() -> None:
    empty = [LabelledPicture(name=name, height=2, width=2, regions=()) for name in ("a.jpg", "a.x")]
    writer = CocoPanoptic(label_map=THINGS)
    with pytest.raises(CorruptRecordError, match=r"'a.jpg' and 'a.x' both become"):
        run_writer(writer, {"train": empty}, may_clash=True)
