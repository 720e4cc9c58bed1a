"""Cityscapes, VOC, plain masks, pairs: the layouts, the ids, the colours; names one-to-one."""

import io
import json
import xml.etree.ElementTree as ElementTree
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.cityscapes import LABELS, Cityscapes
from annotation.formats.export_formats import FORMATS, FormatOptions
from annotation.formats.file_names import (
    checked_name,
    flat_name,
    original_name,
    refuse_twins,
    stem_of,
    suffix_of,
)
from annotation.formats.plain_masks import PlainMasks, TrainingPairs
from annotation.formats.voc import PascalVoc
from annotation.labelled_pictures import LabelledPicture, picture_from_mask
from lifelong.config import Config, load_config, load_label_map
from lifelong.errors import ConfigError, CorruptRecordError, LabelMapError, ShapeError
from lifelong.labels.folders import labelled_pairs
from lifelong.records.label_map import CITYSCAPES, LabelMap, label_map_of
from lifelong.records.pixels import mask_from_png
from tests.builders import a_mask
from tests.unit.annotation.formats.pictures import (
    THINGS,
    camvid_pictures,
    drawn_picture,
    lay_out,
    region,
    run_writer,
    seen_masks,
)

NAMES = st.lists(
    st.text(st.sampled_from("a_%25F/. -ä"), min_size=1, max_size=8), min_size=1, max_size=3
).map("/".join)


def pixels(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def city_picture(name: str = "front/0001.jpg") -> LabelledPicture:
    """The drawn picture with road, car and person of Cityscapes."""
    drawn = drawn_picture(name)
    ids = {0: "road", 1: "car", 2: "person"}
    regions = [
        region(
            np.zeros((40, 61), dtype=np.bool_) | frame,
            CITYSCAPES.id_of(ids[class_id]),
            is_crowd=one.is_crowd,
        )
        for (one, _), (class_id, frame) in zip(drawn.visible(), seen_masks(drawn), strict=True)
    ]
    return LabelledPicture(name=name, height=40, width=61, regions=tuple(regions))


# Names.


@given(name=NAMES)
def test_cnv_06_a_flat_name_comes_from_one_name_only(name: str) -> None:
    try:
        flat = flat_name(name)
    except CorruptRecordError:
        assert any(part in {"", ".", ".."} for part in name.split("/"))
        return
    assert "/" not in flat
    assert original_name(flat) == name


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        ("front/0001.jpg", "front__0001.jpg"),
        ("a-b c_d%20ä.jpg", "a-b c_d%20ä.jpg"),
        ("a__b.jpg", "a%5F%5Fb.jpg"),
        ("a_/b.jpg", "a%5F__b.jpg"),
        ("50%25.jpg", "50%2525.jpg"),
    ],
)
def test_cnv_06_ordinary_names_stay_as_they_are(name: str, flat: str) -> None:
    assert flat_name(name) == flat


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "../a.jpg", "a/../b.jpg", "a//b.jpg", "", "a\n.jpg"]
)
def test_sec_03_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(CorruptRecordError, match="a name is relative"):
        checked_name(name)
    for make in FORMATS.values():
        picture = LabelledPicture(name=name, height=2, width=2, regions=())
        with pytest.raises(CorruptRecordError):
            make(CITYSCAPES, FormatOptions()).entry(picture, "train")


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [("a.b/c.d.jpg", "a.b/c.d", ".jpg"), ("a.b/c", "a.b/c", ""), (".jpg", ".jpg", "")],
)
def test_stem_and_suffix_are_the_name(name: str, stem: str, suffix: str) -> None:
    assert (stem_of(name), suffix_of(name)) == (stem, suffix)


def test_cnv_06_twins_are_found_whatever_their_case() -> None:
    refuse_twins([("a", "a.jpg"), ("b", "b.jpg")])
    with pytest.raises(CorruptRecordError, match=r"'A\.png' and 'a\.jpg' both become 'a'"):
        refuse_twins([("A", "A.png"), ("b", "b.jpg"), ("a", "a.jpg")])


@pytest.mark.parametrize(
    "name", ["coco-panoptic", "yolo-detect", "cityscapes", "voc", "png", "numpy", "train-ids"]
)
def test_flaw_b3_different_images_never_overwrite_each_other(name: str) -> None:
    """B3: names were cut at "-" and suffixes replaced, so that files of two images were one."""
    writer = FORMATS[name](CITYSCAPES, FormatOptions())
    names = ["front/a-1.jpg", "front/b-1.jpg", "back/a-1.jpg", "back__a-1.jpg", "a 1%20.png"]
    pictures = [picture_from_mask(one, a_mask(1), CITYSCAPES) for one in names]
    _, images = run_writer(writer, {"train": pictures})
    assert len(images) == len(names)
    twins = [picture_from_mask(one, a_mask(1), CITYSCAPES) for one in ("a.jpg", "a.png")]
    with pytest.raises(CorruptRecordError, match="both become"):
        run_writer(writer, {"train": twins}, may_clash=True)


# Cityscapes.


def test_cnv_10_cityscapes_table_agrees_with_our_label_map() -> None:
    trained = {label.train_id: label for label in LABELS if label.train_id != 255}
    assert [trained[i].name for i in range(19)] == list(CITYSCAPES.names)
    assert [trained[i].colour for i in range(19)] == list(CITYSCAPES.colours)
    assert {trained[i].name for i in range(19) if trained[i].has_instances} == set(
        CITYSCAPES.things
    )
    assert [label.label_id for label in LABELS] == list(range(34))


def test_cnv_10_cityscapes_files_and_ids() -> None:
    picture = city_picture()
    files, images = run_writer(Cityscapes(label_map=CITYSCAPES), {"val": [picture]})
    before = "gtFine/val/front/0001_gtFine_"
    assert sorted(files) == [
        f"{before}{kind}.png" for kind in ("color", "instanceIds", "labelIds", "labelTrainIds")
    ]
    assert images == {"leftImg8bit/val/front/0001_leftImg8bit.jpg": "front/0001.jpg"}
    mask = picture.mask()
    train_ids = pixels(files[f"{before}labelTrainIds.png"])
    assert train_ids.dtype == np.uint8 and np.array_equal(train_ids, mask)
    label_ids = pixels(files[f"{before}labelIds.png"])
    ours = {0: 7, CITYSCAPES.id_of("car"): 26, CITYSCAPES.id_of("person"): 24, 255: 0}
    assert np.array_equal(label_ids, np.vectorize(ours.__getitem__)(mask))
    colours = pixels(files[f"{before}color.png"])
    assert np.array_equal(colours, CITYSCAPES.paint(mask))
    with Image.open(io.BytesIO(files[f"{before}instanceIds.png"])) as image:
        assert image.mode == "I;16"
        instances = np.asarray(image)
    assert np.unique(instances).tolist() == [0, 7, 24, 24000, 26000, 26001]
    things = instances >= 1000
    assert np.array_equal(instances[things] // 1000, label_ids[things])
    assert np.array_equal(instances[~things], label_ids[~things])


def test_cnv_10_cityscapes_colours_are_the_data_sets_whatever_the_label_map_says() -> None:
    ours = label_map_of([("car", (1, 2, 3)), ("road", (4, 5, 6)), ("parking", (7, 8, 9))])
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    picture = picture_from_mask("a.png", mask, ours)
    files, images = run_writer(Cityscapes(label_map=ours), {"train": [picture]})
    before = "gtFine/train/top__/a_gtFine_"
    assert pixels(files[f"{before}color.png"])[0].tolist() == [
        [0, 0, 142], [128, 64, 128], [250, 170, 160], [0, 0, 0]]  # fmt: skip
    assert pixels(files[f"{before}labelIds.png"]).tolist() == [[26, 7, 9, 0]]
    assert pixels(files[f"{before}labelTrainIds.png"]).tolist() == [[13, 0, 255, 255]]
    assert list(images) == ["leftImg8bit/train/top__/a_leftImg8bit.png"]


def test_cnv_10_own_names_of_cityscapes_are_not_doubled() -> None:
    name = "leftImg8bit/bonn/bonn_000001_000019_leftImg8bit.png"
    picture = LabelledPicture(name=name, height=2, width=2, regions=())
    entry = Cityscapes(label_map=CITYSCAPES).entry(picture, "test")
    city = "leftImg8bit/test/leftImg8bit__bonn"
    assert entry.image_path == f"{city}/bonn_000001_000019_leftImg8bit.png"


def test_cnv_10_classes_that_cityscapes_lacks_are_listed() -> None:
    foreign = label_map_of([("car", (1, 1, 1)), ("unicorn", (2, 2, 2)), ("yeti", (3, 3, 3))])
    with pytest.raises(LabelMapError, match="'unicorn', 'yeti'"):
        Cityscapes(label_map=foreign)


def test_cnv_10_cityscapes_counts_no_further_than_its_ids_go() -> None:
    regions = []
    for number in range(1001):
        painted = np.zeros((32, 32), dtype=np.bool_)
        painted[number // 32, number % 32] = True
        regions.append(region(painted, CITYSCAPES.id_of("car")))
    writer = Cityscapes(label_map=CITYSCAPES)
    fits = LabelledPicture(name="a.jpg", height=32, width=32, regions=tuple(regions[:1000]))
    ids = pixels(writer.entry(fits, "train").files["gtFine/train/top__/a_gtFine_instanceIds.png"])
    assert ids.max() == 26999
    with pytest.raises(ShapeError, match=r"a\.jpg: more than 1000 of class 'car'"):
        many = LabelledPicture(name="a.jpg", height=32, width=32, regions=tuple(regions))
        writer.entry(many, "train")


# VOC.


def test_cnv_10_voc_masks_boxes_and_lists() -> None:
    pictures = {"train": [drawn_picture("a/b.jpg")], "val": [drawn_picture("c d.jpg")]}
    files, images = run_writer(PascalVoc(label_map=THINGS), pictures)
    assert images == {"JPEGImages/a__b.jpg": "a/b.jpg", "JPEGImages/c d.jpg": "c d.jpg"}
    for part in ("Main", "Segmentation"):
        assert files[f"ImageSets/{part}/train.txt"] == b"a__b\n"
        assert files[f"ImageSets/{part}/val.txt"] == b"c d\n"
        assert f"ImageSets/{part}/test.txt" not in files
    assert files["labels.txt"] == b"background\nroad\ncar\nperson\n"
    picture = pictures["train"][0]
    mask = picture.mask()
    with Image.open(io.BytesIO(files["SegmentationClass/a__b.png"])) as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette()).reshape(-1, 3)
        classes = np.asarray(image)
    assert np.array_equal(classes, np.where(mask == 255, 255, mask + 1))
    assert [tuple(colour) for colour in palette[1:4].tolist()] == list(THINGS.colours)
    assert palette[0].tolist() == [0, 0, 0]
    objects = pixels(files["SegmentationObject/a__b.png"])
    root = ElementTree.fromstring(files["Annotations/a__b.xml"])
    assert [root.findtext(f"size/{side}") for side in ("width", "height")] == ["61", "40"]
    for number, (thing, (class_id, painted)) in enumerate(
        zip(root.findall("object"), seen_masks(picture), strict=True), start=1
    ):
        assert np.array_equal(objects == number, painted)
        assert thing.findtext("name") == THINGS.names[class_id]
        box = [int(thing.findtext(f"bndbox/{c}", "")) for c in ("xmin", "ymin", "xmax", "ymax")]
        y, x = np.nonzero(painted)
        assert box == [x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1]
    crowds = [thing.findtext("difficult") for thing in root.findall("object")]
    assert crowds.count("1") == 1
    assert np.array_equal(objects == 255, mask == 255)


def test_cnv_10_voc_says_what_it_cannot_hold() -> None:
    many = LabelMap(tuple(f"c{i}" for i in range(255)), tuple((i, 0, 0) for i in range(255)))
    with pytest.raises(LabelMapError, match="254 classes"):
        PascalVoc(label_map=many)
    mask = np.zeros((2, 600), dtype=np.uint8)
    mask[:, ::2] = 255
    picture = picture_from_mask("a.jpg", mask, THINGS.with_things(("road",)))
    with pytest.raises(ShapeError, match=r"a\.jpg: VOC holds 254 objects"):
        PascalVoc(label_map=THINGS).entry(picture, "train")


# Plain masks and pairs.


@pytest.mark.parametrize(
    ("file", "mode"), [("png", "L"), ("png16", "I;16"), ("palette", "P"), ("numpy", None)]
)
def test_cnv_10_plain_masks_hold_class_ids(file: Any, mode: str | None) -> None:
    picture = drawn_picture("a b/c.jpg")
    files, images = run_writer(PlainMasks(label_map=THINGS, file=file), {"train": [picture]})
    assert images == {"images/train/a b/c.jpg": "a b/c.jpg"}
    if mode is None:
        data = io.BytesIO(files["masks/train/a b/c.npy"])
        found = np.load(data, allow_pickle=False)
        assert found.dtype == np.uint8
    else:
        data = io.BytesIO(files["masks/train/a b/c.png"])
        with Image.open(data) as image:
            assert image.mode == mode
            if mode == "P":
                palette = np.array(image.getpalette()).reshape(-1, 3)
                assert [tuple(c) for c in palette[:3].tolist()] == list(THINGS.colours)
        found = mask_from_png(data.getvalue(), "mask")
    assert np.array_equal(found, picture.mask())
    classes = json.loads(files["label_map.json"])["classes"]
    assert [(one["id"], one["name"], one["thing"]) for one in classes] == [
        (0, "road", False), (1, "car", True), (2, "person", True)]  # fmt: skip


def test_cnv_14_pairs_are_what_our_trainer_reads(tmp_path: Path) -> None:
    pictures = {"train": [drawn_picture("x/a.jpg"), drawn_picture("b.png")],
                "val": [drawn_picture("c.jpg")]}  # fmt: skip
    folder = lay_out(tmp_path, TrainingPairs(label_map=THINGS), pictures)
    pairs = labelled_pairs(folder / "train")
    assert [image.name for image, _ in pairs] == ["b.png", "x__a.jpg"]
    for _, mask in pairs:
        assert np.array_equal(mask_from_png(mask.read_bytes(), "m"), drawn_picture().mask())
    config: Config = load_config(folder / "cornerloop.yaml")
    assert config.holdouts == folder / "val"
    assert len(labelled_pairs(config.holdouts)) == 1
    assert load_label_map(config).names == THINGS.names
    assert load_label_map(config).colours == THINGS.colours


def test_pairs_take_no_image_that_training_does_not_read() -> None:
    picture = LabelledPicture(name="a.tif", height=2, width=2, regions=())
    with pytest.raises(CorruptRecordError, match=r"'a\.tif': training reads \.jpeg, \.jpg, \.png"):
        TrainingPairs(label_map=THINGS).entry(picture, "train")


def test_cnv_10_real_masks_survive_every_layout_of_masks() -> None:
    for picture in camvid_pictures(CITYSCAPES, 3):
        mask = picture.mask()
        stem = stem_of(picture.name)
        found = {
            "png": f"masks/train/{stem}.png",
            "png16": f"masks/train/{stem}.png",
            "train-ids": f"train/train_ids/{flat_name(stem)}.png",
            "cityscapes": f"gtFine/train/{stem}_gtFine_labelTrainIds.png",
        }
        for name, path in found.items():
            entry = FORMATS[name](CITYSCAPES, FormatOptions()).entry(picture, "train")
            assert np.array_equal(mask_from_png(entry.files[path], name), mask)


# All of them.


@pytest.mark.parametrize("name", FORMATS)
def test_cnv_10_an_export_of_nothing_and_of_an_empty_picture_says_so(name: str) -> None:
    writer = FORMATS[name](CITYSCAPES, FormatOptions())
    run_writer(writer, {"train": []})
    empty = LabelledPicture(name="a.jpg", height=3, width=5, regions=())
    files, images = run_writer(writer, {"test": [empty]})
    assert len(images) == 1 and all(isinstance(content, bytes) for content in files.values())


@pytest.mark.parametrize("name", FORMATS)
def test_cnv_13_writers_travel_to_other_processes_and_answer_the_same(name: str) -> None:
    writer = FORMATS[name](CITYSCAPES, FormatOptions())
    arrived = ForkingPickler.loads(ForkingPickler.dumps(writer))
    assert arrived == writer
    assert arrived.entry(city_picture(), "val") == writer.entry(city_picture(), "val")


def test_a_tolerance_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="tolerance_px"):
        FormatOptions(tolerance_px=-1.0)
    with pytest.raises(ConfigError, match="tolerance_px"):
        FormatOptions(tolerance_px=float("nan"))
