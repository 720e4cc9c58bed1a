"""A pool of drawn scenes on disk, so that two trainings need not draw the same streets twice."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.demo.scenes import CONDITIONS, draw_layers, photograph_layers

FIRST_TRAINING_SEED = 1_000_000
HEIGHT, WIDTH = 320, 480


@dataclass(frozen=True, slots=True)
class ScenePool:
    """Scene number i has seed first + i and condition i modulo the number of conditions."""

    images: NDArray[np.uint8]  # (N, H, W, 3) RGB, memory-mapped
    masks: NDArray[np.uint8]  # (N, H, W) class ids
    instances: NDArray[np.int16]  # (N, H, W)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return np.asarray(self.images[index]), np.asarray(self.masks[index])


def open_pool(
    directory: Path, count: int, *, first_seed: int = FIRST_TRAINING_SEED,
    conditions: tuple[str, ...] = CONDITIONS,
) -> ScenePool:  # fmt: skip
    """The pool in `directory`, drawn first if it is not there yet."""
    names = ("images", "masks", "instances")
    done = directory / "done"
    if not done.is_file() or int(done.read_text()) != count:
        directory.mkdir(parents=True, exist_ok=True)
        _draw(directory, count, first_seed, conditions)
        done.write_text(str(count))
    return ScenePool(*(np.load(directory / f"{name}.npy", mmap_mode="r") for name in names))


def _draw(directory: Path, count: int, first_seed: int, conditions: tuple[str, ...]) -> None:
    cv2.setNumThreads(1)
    shape = (count, HEIGHT, WIDTH)
    create = np.lib.format.open_memmap
    images = create(directory / "images.npy", "w+", np.uint8, (*shape, 3))
    masks = create(directory / "masks.npy", "w+", np.uint8, shape)
    instances = create(directory / "instances.npy", "w+", np.int16, shape)
    for index in range(count):
        layers = draw_layers(first_seed + index, HEIGHT, WIDTH)
        condition = conditions[index % len(conditions)]
        images[index] = photograph_layers(layers, first_seed + index, condition)
        masks[index], instances[index] = layers.mask, layers.instance
