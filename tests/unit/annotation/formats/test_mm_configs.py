"""Configurations of an export: plain Python with the export's own files and three real splits."""

from typing import Any

import pytest

from annotation.formats.coco import CocoInstances
from annotation.formats.export_formats import FORMATS, FormatOptions
from annotation.formats.mm_configs import cornerloop_config, mmdet_configs, mmseg_configs
from annotation.formats.plain_masks import TrainingPairs
from lifelong.records.label_map import CITYSCAPES
from tests.unit.annotation.formats.pictures import THINGS, drawn_picture, run_writer

ALL = {
    "train": [drawn_picture("a.jpg")],
    "val": [drawn_picture("b.jpg")],
    "test": [drawn_picture("c.jpg")],
}


def values(text: str) -> dict[str, Any]:
    """What the configuration says, run in an empty namespace."""
    found: dict[str, Any] = {}
    exec(compile(text, "config.py", "exec"), found)
    return found


@pytest.mark.parametrize("path", ["configs/mask-rcnn_r50_fpn.py", "configs/rtmdet-ins_s.py"])
def test_cnv_14_mmdetection_trains_on_the_files_of_the_export(path: str) -> None:
    files, images = run_writer(CocoInstances(label_map=THINGS), ALL)
    config = values(files[path].decode())
    assert config["_base_"].startswith("mmdet::") and config["_base_"].endswith("_coco.py")
    assert config["metainfo"]["classes"] == ("road", "car", "person")
    assert config["metainfo"]["palette"] == list(THINGS.colours)
    heads = config["model"].get("roi_head", config["model"])
    assert {head["num_classes"] for head in heads.values()} == {3}
    for split in ALL:
        dataset = config[f"{split}_dataloader"]["dataset"]
        assert dataset["type"] == "CocoDataset"
        assert dataset["ann_file"] in files
        assert any(image.startswith(dataset["data_prefix"]["img"]) for image in images)
        assert dataset["metainfo"] == config["metainfo"]
    for split in ("val", "test"):
        judged = config[f"{split}_evaluator"]["ann_file"]
        assert judged == f"./annotations/instances_{split}.json"


def test_flaw_b1_val_is_not_train_in_any_config() -> None:
    """B1: the peer's val set is its train set; without pictures a split is switched off here."""
    files, _ = run_writer(CocoInstances(label_map=THINGS), {"train": ALL["train"]})
    for path in ("configs/mask-rcnn_r50_fpn.py", "configs/rtmdet-ins_s.py"):
        text = files[path].decode()
        config = values(text)
        for split in ("val", "test"):
            assert [config[f"{split}_{part}"] for part in ("dataloader", "evaluator", "cfg")] == [
                None, None, None]  # fmt: skip
            assert f"# No picture is in {split}" in text
        assert "val.json" not in text and "test.json" not in text


@pytest.mark.parametrize(("name", "folder"), [("png", "masks/{}"), ("train-ids", "{}/train_ids")])
def test_cnv_14_mmsegmentation_trains_on_the_masks_of_the_export(name: str, folder: str) -> None:
    files, images = run_writer(FORMATS[name](CITYSCAPES, FormatOptions()), ALL)
    config = values(files["configs/deeplabv3plus_r50.py"].decode())
    assert config["model"]["decode_head"]["num_classes"] == 19
    places = []
    for split in ALL:
        dataset = config[f"{split}_dataloader"]["dataset"]
        assert dataset["type"] == "BaseSegDataset" and dataset["_delete_"]
        assert dataset["img_suffix"] == ".jpg" and dataset["reduce_zero_label"] is False
        places.append(dataset["data_prefix"]["seg_map_path"])
        image = next(path for path in images if f"{split}/" in path)
        mask = image.replace(dataset["data_prefix"]["img_path"], places[-1])
        assert mask.replace(dataset["img_suffix"], dataset["seg_map_suffix"]) in files
        steps = [step["type"] for step in dataset["pipeline"]]
        assert ("RandomCrop" in steps) == (split == "train") and steps[-1] == "PackSegInputs"
    assert places == [folder.format(split) for split in ALL]


def test_cnv_14_images_of_several_kinds_are_all_trained_on() -> None:
    pictures = {"train": [drawn_picture("a.jpg"), drawn_picture("b.png")], "val": ALL["val"]}
    files, _ = run_writer(TrainingPairs(label_map=THINGS), pictures)
    text = files["configs/deeplabv3plus_r50.py"].decode()
    config = values(text)
    dataset = config["train_dataloader"]["dataset"]
    assert dataset["type"] == "ConcatDataset"
    assert [one["img_suffix"] for one in dataset["datasets"]] == [".jpg", ".png"]
    assert config["test_dataloader"] is None and "cannot be tested" in text
    assert config["val_dataloader"]["dataset"]["data_prefix"]["img_path"] == "val/images"


def test_cnv_14_names_with_quotes_stay_names() -> None:
    label_map = type(THINGS)(("it's", 'a "b"'), ((1, 1, 1), (2, 2, 2)))
    for text in (
        *mmdet_configs(label_map, {"train"}).values(),
        *mmseg_configs(label_map, {"train": {".jpg"}}, images="i", masks="m").values(),
    ):
        assert values(text)["metainfo"]["classes"] == ("it's", 'a "b"')


def test_cnv_14_only_evaluation_is_a_config_too() -> None:
    for text in mmdet_configs(THINGS, {"test"}).values():
        config = values(text)
        assert config["train_dataloader"] is None and config["train_cfg"] is None
        assert config["test_dataloader"]["dataset"]["ann_file"].endswith("instances_test.json")


def test_cnv_14_cornerloops_own_config_says_what_is_missing() -> None:
    assert "holdouts: val" in cornerloop_config({"train", "val"})
    without = cornerloop_config({"test"})
    assert "holdouts" not in without
    assert "No picture is for training" in without and "No picture is in val" in without
