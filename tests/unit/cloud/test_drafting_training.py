"""Training the drafting model: pairs from a folder, repeatable steps, resuming."""

import numpy as np
import pytest
import torch
from PIL import Image

from cloud.demo.scenes import write_dataset
from cloud.preannotation.draft_network import DRAFT_NETWORKS, build_draft_network
from cloud.preannotation.drafting_training import (
    FolderPairs,
    class_weights,
    random_batch,
    train_draft_network,
)
from lifelong.errors import ConfigError, TrainingError
from lifelong.records.label_map import CITYSCAPES


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
        return train_draft_network(
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
    assert first["head.weight"].shape[0] == len(CITYSCAPES)


@pytest.mark.parametrize("network", list(DRAFT_NETWORKS))
def test_every_drafting_network_answers_at_a_fraction_of_the_size(network):
    with torch.inference_mode():
        logits = build_draft_network(network, 5).eval()(torch.zeros(1, 3, 66, 98))

    assert logits.shape[:2] == (1, 5)
    assert logits.shape[2] in (33, 17)


def test_an_unknown_drafting_network_is_refused():
    with pytest.raises(ConfigError, match="draft_net"):
        build_draft_network("huge", 5)


def test_neither_steps_nor_minutes_is_refused(folder):
    with pytest.raises(TrainingError, match="steps"):
        train_draft_network(FolderPairs(folder), seed=0, size=(32, 32), log=print)
