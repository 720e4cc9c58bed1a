"""A model sits an examination: from memory, from files, from storage."""

import numpy as np
import pytest
from PIL import Image

from lifelong.errors import ConfigError, LabelMapError, ModelOutputError, RecordError
from lifelong.evaluation import evaluate, holdouts_of_samples, read_holdouts
from lifelong.links.storage import open_storage
from lifelong.segmenter import OnnxSegmenter
from tests.builders import (
    SMALL_MAP,
    a_jpeg,
    a_mask,
    a_mask_png,
    a_prediction,
    a_sample,
    an_image,
)
from tests.tiny_bundle import tiny_bundle


class Constant:
    """Answers one class everywhere, and counts how often it was asked."""

    def __init__(self, class_id=0):
        self.class_id, self.asked = class_id, 0

    def segment(self, image):
        self.asked += 1
        return a_prediction(mask=np.full(image.shape[:2], self.class_id, dtype=np.uint8))


def write(folder, count=2, suffix=".jpg"):
    (folder / "images").mkdir(parents=True)
    (folder / "train_ids").mkdir()
    for seed in range(count):
        Image.fromarray(an_image(seed)).save(folder / "images" / f"{seed}{suffix}")
        (folder / "train_ids" / f"{seed}.png").write_bytes(a_mask_png(seed))


def test_a_report_is_taken_over_the_whole_holdout_by_hand():
    half = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    full = np.array([[0, 0], [0, 255]], dtype=np.uint8)
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    report = evaluate(Constant(0), {"day": [(image, half), (image, full)]}, SMALL_MAP)
    result = report.tasks["day"]
    # Class 0: 5 of 7 pixels, class 1: none of its 2; class 2 is not there and left out.
    assert result.iou == {"road": 5 / 7, "car": 0.0}
    assert pytest.approx(result.miou) == 5 / 14
    assert pytest.approx(result.pixel_accuracy) == 5 / 7
    assert result.images == 2 and report.version_id == "00000000000000aa"


def test_files_in_folders_are_holdouts_by_learning_task(tmp_path):
    write(tmp_path / "night" / "eval")
    write(tmp_path / "day" / "eval", count=3, suffix=".png")
    write(tmp_path / "day" / "train")
    holdouts = read_holdouts(tmp_path)
    assert list(holdouts) == ["day", "night"]
    assert [len(list(h)) for h in holdouts.values()] == [3, 2]
    assert [len(list(h)) for h in holdouts.values()] == [3, 2], "they may be walked twice"


def test_a_flat_folder_is_one_holdout(tmp_path):
    write(tmp_path / "fog")
    assert list(read_holdouts(tmp_path / "fog")) == ["fog"]


def test_a_missing_mask_or_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no hold-outs"):
        read_holdouts(tmp_path)
    write(tmp_path / "day" / "eval")
    (tmp_path / "day" / "eval" / "train_ids" / "1.png").unlink()
    with pytest.raises(ConfigError, match=r"1\.png is missing"):
        read_holdouts(tmp_path)


def test_samples_in_storage_examine_a_real_bundle():
    storage = open_storage("memory://")
    samples = [a_sample(seed, learning_task=task) for seed, task in enumerate("aba")]
    for seed, sample in enumerate(samples):
        storage.put(sample.image_key, a_jpeg(seed))
        storage.put(sample.mask_key, a_mask_png(seed))
    holdouts = holdouts_of_samples(samples, storage)
    bundle = tiny_bundle()
    report = evaluate(OnnxSegmenter(bundle, threads=1), holdouts, SMALL_MAP)
    assert {task: result.images for task, result in report.tasks.items()} == {"a": 2, "b": 1}
    assert bundle.version_id == report.version_id


def test_pictures_are_asked_one_at_a_time():
    model = Constant()

    def stream():
        for seed in range(5):
            assert seed == model.asked
            yield an_image(seed), a_mask(seed)

    assert evaluate(model, {"day": stream()}, SMALL_MAP).tasks["day"].images == 5


@pytest.mark.parametrize(
    ("holdouts", "error", "said"),
    [
        ({}, RecordError, "needs hold-outs"),
        ({"day": []}, RecordError, "'day': 0 pictures"),
        ({"day": [(an_image(), np.full((48, 64), 255, np.uint8))]}, RecordError, "no labelled"),
        ({"day": [(an_image(), np.full((48, 64), 3, np.uint8))]}, LabelMapError, "'day', picture"),
    ],
)
def test_an_examination_without_substance_is_refused(holdouts, error, said):
    with pytest.raises(error, match=said):
        evaluate(Constant(), holdouts, SMALL_MAP)


def test_a_model_that_leaves_pixels_without_a_class_is_refused():
    with pytest.raises(ModelOutputError, match="without a class"):
        evaluate(Constant(255), {"day": [(an_image(), a_mask())]}, SMALL_MAP)
