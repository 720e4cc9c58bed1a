"""Synthetic street scenes with exact labels in the 19 classes of Cityscapes: a world in which the
whole loop can be tried, told and measured without a camera, a data set or a person."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud.demo.scene_canvas import Layers
from cloud.demo.scene_street import draw_street
from cloud.demo.scene_weather import photograph
from lifelong.errors import ConfigError

CONDITIONS = ("clear", "dusk", "fog", "rain", "night")


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its exact labels."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    mask: NDArray[np.uint8]  # (H, W) class ids of CITYSCAPES; 255 never occurs


def draw_scene(seed: int, condition: str, height: int = 320, width: int = 480) -> Scene:
    """The street of that seed in that weather; the same seed is the same street in every weather.

    Raises:
        ConfigError: no such condition.
    """
    layers = draw_layers(seed, height, width)
    return Scene(image=photograph_layers(layers, seed, condition), mask=layers.mask)


def draw_layers(seed: int, height: int = 320, width: int = 480) -> Layers:
    """The geometry alone: colours before weather, labels, instances and depth."""
    return draw_street(height, width, np.random.default_rng([seed, 0])).layers()


def photograph_layers(layers: Layers, seed: int, condition: str) -> NDArray[np.uint8]:
    """The picture of drawn layers, (H, W, 3) uint8 RGB; `seed` also seeds clouds, rain and noise.

    Raises:
        ConfigError: no such condition.
    """
    if condition not in CONDITIONS:
        raise ConfigError(f"no condition {condition!r}; scenes know {', '.join(CONDITIONS)}")
    rng = np.random.default_rng([seed, 1 + CONDITIONS.index(condition)])
    return photograph(layers, condition, rng)


def write_dataset(directory: Path, condition: str, seeds: Iterable[int]) -> None:
    """Scenes as files: `images/NNNNN.jpg` (quality 95) and `train_ids/NNNNN.png` (8 bit)."""
    images, train_ids = directory / "images", directory / "train_ids"
    images.mkdir(parents=True, exist_ok=True)
    train_ids.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        scene = draw_scene(seed, condition)
        Image.fromarray(scene.image).save(images / f"{number:05d}.jpg", quality=95)
        Image.fromarray(scene.mask).save(train_ids / f"{number:05d}.png")
