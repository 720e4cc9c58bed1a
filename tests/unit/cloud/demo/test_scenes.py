"""Drawn streets: repeatable, exactly labelled, the same street in every weather."""

import numpy as np
import pytest
from PIL import Image

from cloud.demo.scenes import CONDITIONS, draw_layers, draw_scene, write_dataset
from lifelong.errors import ConfigError
from lifelong.records.label_map import CITYSCAPES


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_same_seed_draws_the_same_scene(condition):
    first, again = draw_scene(7, condition), draw_scene(7, condition)

    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)


def test_another_seed_draws_another_street():
    assert not np.array_equal(draw_scene(1, "clear").mask, draw_scene(2, "clear").mask)


@pytest.mark.parametrize("size", [(320, 480), (96, 128), (33, 47), (480, 270)])
def test_a_scene_has_the_size_that_was_asked_for(size):
    scene = draw_scene(3, "night", *size)

    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.mask.shape == size
    assert scene.mask.dtype == np.uint8


def test_every_pixel_has_one_of_the_19_classes():
    for seed in range(20):
        mask = draw_layers(seed).mask
        assert mask.max() < len(CITYSCAPES)


def test_twenty_streets_show_nearly_every_class():
    present = np.unique(np.concatenate([np.unique(draw_layers(seed).mask) for seed in range(20)]))

    missing = [name for i, name in enumerate(CITYSCAPES.names) if i not in present]
    assert len(missing) <= 2, missing


def test_weather_changes_the_picture_and_never_the_labels():
    scenes = {condition: draw_scene(11, condition) for condition in CONDITIONS}

    for condition in CONDITIONS[1:]:
        assert np.array_equal(scenes["clear"].mask, scenes[condition].mask)
        change = scenes[condition].image.astype(int) - scenes["clear"].image
        assert np.abs(change).mean() > 20, condition


def test_night_is_dark_and_fog_is_pale():
    brightness = {c: draw_scene(5, c).image.mean() for c in CONDITIONS}

    assert brightness["night"] < 0.45 * brightness["clear"]
    contrasts = [
        draw_scene(seed, "fog").image.std() / draw_scene(seed, "clear").image.std()
        for seed in range(8)
    ]
    assert max(contrasts) < 0.95
    assert np.mean(contrasts) < 0.8


def test_fog_hides_far_things_more_than_near_ones():
    layers = draw_layers(5)
    difference = np.abs(draw_scene(5, "fog").image.astype(int) - draw_scene(5, "clear").image).mean(
        axis=2
    )
    ground = layers.mask == CITYSCAPES.id_of("road")

    near, far = ground & (layers.depth < 8), ground & (layers.depth > 25)
    assert difference[far].mean() > difference[near].mean()


def test_one_drawn_thing_has_one_class():
    layers = draw_layers(9)

    for number in np.unique(layers.instance):
        assert len(np.unique(layers.mask[layers.instance == number])) == 1


def test_an_unknown_condition_is_refused_by_name():
    with pytest.raises(ConfigError, match="snow"):
        draw_scene(1, "snow")


def test_a_written_dataset_holds_pictures_and_exact_labels(tmp_path):
    write_dataset(tmp_path, "rain", [4, 5])

    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["00000.jpg", "00001.jpg"]
    with Image.open(tmp_path / "train_ids" / "00001.png") as labels:
        assert labels.mode == "L"
        assert np.array_equal(np.asarray(labels), draw_scene(5, "rain").mask)
    with Image.open(tmp_path / "images" / "00001.jpg") as picture:
        error = np.abs(np.asarray(picture).astype(int) - draw_scene(5, "rain").image)
    assert error.mean() < 6
