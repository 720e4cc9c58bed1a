"""A tiny world for training tests: discs and bars on a ground, in two kinds of light."""

import numpy as np

from lifelong.config import TrainingSection
from lifelong.preprocessing import Preprocessing
from lifelong.training.datasets import no_pictures, pictures_from_pairs
from lifelong.training.lesson import Lesson

HOW = Preprocessing(height=32, width=48)
CLASSES = 3

# Ground, disc, bar: in the light and in the dark the same shapes have other colours, and the
# dark ones contradict the light ones, so that whoever only learns the dark must forget.
LIGHT = np.array([(60, 60, 60), (220, 60, 60), (60, 60, 220)], dtype=np.float64)
DARK = np.array([(220, 60, 60), (60, 60, 220), (60, 60, 60)], dtype=np.float64) * 0.6 + 10


def a_scene(seed, colours):
    """(32, 48, 3) uint8 and (32, 48) uint8: a disc and a bar somewhere on the ground."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :48]
    mask = np.zeros((32, 48), dtype=np.uint8)
    y, x = rng.uniform(8, 24), rng.uniform(8, 40)
    mask[(rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 9) ** 2] = 1
    left = int(rng.integers(0, 40))
    mask[:, left : left + 7] = 2
    image = colours[mask] + rng.normal(0, 12, (32, 48, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def scenes(count, colours, *, first=0):
    return [a_scene(first + number, colours) for number in range(count)]


def a_lesson(*, new=None, memory=None, incumbent=None, **changes):
    """A lesson of a few steps on one thread; `changes` are fields of the section."""
    settings = {
        "height": 32,
        "width": 48,
        "steps": 6,
        "first_steps_factor": 1,
        "first_rate_factor": 1.0,
        "learning_rate": 1e-3,
        "batch_size": 4,
        "threads": 1,
    } | changes
    pictures = pictures_from_pairs(new or scenes(6, LIGHT), HOW, learning_task="light")
    old = pictures_from_pairs(memory, HOW, learning_task="old") if memory else no_pictures(HOW)
    return Lesson(
        section=TrainingSection.model_validate(settings | {"device": "cpu"}),
        classes=CLASSES,
        new=pictures,
        memory=old,
        incumbent=incumbent,
    )
