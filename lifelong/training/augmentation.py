"""Paired picture/mask transforms: torchvision's, with every random number from our own source.

torchvision's transform classes draw from torch's global random numbers, which a resumed run
cannot replay; its functions take values, and those of a batch are drawn from (seed, step).
"""

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms import InterpolationMode

from lifelong.preprocessing import Preprocessing
from lifelong.records.label_map import IGNORE_INDEX

_ZOOM = (0.7, 1.8)  # how much larger things become
_STRETCH = (0.9, 1.1)  # height beside width
_SATURATION, _CONTRAST, _BRIGHTNESS = (0.7, 1.3), (0.75, 1.25), (0.75, 1.25)
_LEAST_PX = 8


def normalised(pictures: Tensor, how: Preprocessing) -> Tensor:
    """(N, 3, h, w) uint8 RGB to float32 as `preprocessing.network_input` does it."""
    mean = torch.tensor(how.mean, device=pictures.device).view(1, 3, 1, 1) * 255.0
    std = torch.tensor(how.std, device=pictures.device).view(1, 3, 1, 1) * 255.0
    return (pictures.float() - mean) / std


def augmented(
    pictures: Tensor, masks: Tensor, how: Preprocessing, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch seen a little differently, normalised.

    Args:
        pictures: (N, 3, h, w), uint8, RGB.
        masks: (N, h, w), uint8, class ids and 255.
        rng: the only source of chance.

    Returns:
        (N, 3, h, w) float32 normalised; (N, h, w) int64, 255 where nothing was photographed.
    """
    grey = [round(255.0 * value) for value in how.mean]
    pairs = [
        _windowed(_relit(picture, rng), mask[None], grey, rng)
        for picture, mask in zip(pictures, masks, strict=True)
    ]
    images = normalised(torch.stack([picture for picture, _ in pairs]), how)
    return images, torch.cat([mask for _, mask in pairs]).long()


def _relit(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """(3, h, w) in other light and colours."""
    picture = transforms.adjust_saturation(picture, rng.uniform(*_SATURATION))
    picture = transforms.adjust_contrast(picture, rng.uniform(*_CONTRAST))
    relit: Tensor = transforms.adjust_brightness(picture, rng.uniform(*_BRIGHTNESS))
    return relit


def _windowed(
    picture: Tensor, mask: Tensor, grey: list[int], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A window of (3, h, w) and (1, h, w) at the old size, perhaps mirrored.

    A window larger than the picture shows `grey` and 255 around it.
    """
    size = int(picture.shape[1]), int(picture.shape[2])
    zoom, stretch = rng.uniform(*_ZOOM), rng.uniform(*_STRETCH)
    window = [
        max(_LEAST_PX, round(size[0] / zoom / stretch)),
        max(_LEAST_PX, round(size[1] / zoom)),
    ]
    missing = [max(0, asked - there) for asked, there in zip(window, size, strict=True)]
    if any(missing):
        around = [missing[1], missing[0]]  # left and right, top and bottom
        picture = transforms.pad(picture, around, fill=grey)
        mask = transforms.pad(mask, around, fill=IGNORE_INDEX)
    spare = [size[axis] + 2 * missing[axis] - window[axis] for axis in (0, 1)]
    # What is missing was added on both sides: any place holds the whole picture.
    top, left = (int(rng.integers(0, places + 1)) for places in spare)
    picture = transforms.resized_crop(picture, top, left, *window, list(size), antialias=True)
    mask = transforms.resized_crop(
        mask, top, left, *window, list(size), interpolation=InterpolationMode.NEAREST_EXACT
    )
    if rng.random() < 0.5:
        return transforms.horizontal_flip(picture), transforms.horizontal_flip(mask)
    return picture, mask
