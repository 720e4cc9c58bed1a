"""Training the drafting model: pairs from a folder, repeatable steps, resuming."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SegformerForSemanticSegmentation

from cloud.demo.scenes import write_dataset
from cloud.preannotation.drafting_training import (
    FolderPairs,
    class_weights,
    load_body,
    random_batch,
    segformer_config,
    train_segformer,
)
from lifelong.errors import TrainingError
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pairs")
    write_dataset(directory, "clear", [1, 2])
    return directory


def test_a_folder_of_pictures_and_labels_is_read_in_order(folder):
    pairs = FolderPairs(folder)

    image, mask = pairs[1]

    assert len(pairs) == 2
    assert image.shape == (*mask.shape, 3)
    assert mask.max() < 19


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="images"):
        FolderPairs(tmp_path)


def test_a_picture_without_labels_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "lonely.jpg")

    with pytest.raises(TrainingError, match=r"lonely\.jpg"):
        FolderPairs(tmp_path)


def test_batches_have_the_size_that_was_asked_for(folder):
    images, masks = random_batch(FolderPairs(folder), 3, (64, 96), np.random.default_rng(0))

    assert tuple(images.shape) == (3, 3, 64, 96)
    assert tuple(masks.shape) == (3, 64, 96)
    assert masks.dtype == torch.int64


def test_rare_classes_weigh_more_and_ignored_pixels_nothing():
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[0, 0], mask[5:] = 1, 255
    image = np.zeros((10, 10, 3), dtype=np.uint8)

    weights = class_weights([(image, mask)], 2, seed=0)

    assert weights[1] > 2 * weights[0]
    assert weights.mean() == pytest.approx(1.0)


def test_equal_seeds_give_equal_weights_and_a_finished_training_is_not_repeated(folder, tmp_path):
    pairs, lines, told = FolderPairs(folder), [], []

    def train():
        return train_segformer(
            pairs, seed=3, size=(32, 32), batch=2, steps=2, log=lines.append,
            checkpoint=tmp_path / "run.pt", publish=lambda state, step, s: told.append(step),
        )  # fmt: skip

    first = train()
    kept = train()
    (tmp_path / "run.pt").unlink()
    again = train()

    assert lines == ["resumed at step 2"]
    assert told == [2, 2, 2]
    for other in (kept, again):
        assert all(torch.equal(first[name], other[name]) for name in first)
    assert first["decode_head.classifier.weight"].shape[0] == len(CITYSCAPES)


def test_a_head_for_other_classes_begins_anew_and_the_rest_is_taken_over():
    shipped = SegformerForSemanticSegmentation(segformer_config()).state_dict()
    network = SegformerForSemanticSegmentation(segformer_config(SMALL_MAP))
    head = "decode_head.classifier.weight"
    before = network.state_dict()[head].clone()

    load_body(network, shipped)

    taken = network.state_dict()
    assert torch.equal(taken[head], before)
    assert all(torch.equal(taken[n], shipped[n]) for n in taken if "classifier" not in n)


def test_weights_of_another_network_are_no_start():
    network = SegformerForSemanticSegmentation(segformer_config(SMALL_MAP))

    with pytest.raises(TrainingError, match="another network"):
        load_body(network, {"head.weight": torch.zeros(3)})


def test_neither_steps_nor_minutes_is_refused(folder):
    with pytest.raises(TrainingError, match="steps"):
        train_segformer(FolderPairs(folder), seed=0, size=(32, 32), log=print)
