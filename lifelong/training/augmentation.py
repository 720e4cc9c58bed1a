"""Paired picture/mask transforms for a whole batch: flip, zoom and shift, light and colour.

One `grid_sample` bends all pictures of a batch at once; torchvision's v2 transforms take one
picture at a time and draw from torch's global random numbers, which a resumed run cannot replay.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lifelong.preprocessing import Preprocessing
from lifelong.records.label_map import IGNORE_INDEX

_GREY = (0.299, 0.587, 0.114)  # weights of red, green, blue in brightness (ITU-R BT.601)


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
    coloured = _recoloured(pictures.float() / 255.0, rng)
    mean = torch.tensor(how.mean, device=pictures.device).view(1, 3, 1, 1)
    std = torch.tensor(how.std, device=pictures.device).view(1, 3, 1, 1)
    return _bent((coloured - mean) / std, masks, rng)


def _recoloured(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Saturation, contrast and brightness, each by a factor of its own for every picture."""

    def factor(low: float, high: float) -> Tensor:
        drawn = rng.uniform(low, high, size=(len(pictures), 1, 1, 1)).astype(np.float32)
        return torch.from_numpy(drawn).to(pictures.device)

    weights = torch.tensor(_GREY, device=pictures.device).view(1, 3, 1, 1)
    grey = (pictures * weights).sum(1, keepdim=True)
    pictures = grey + factor(0.7, 1.3) * (pictures - grey)
    middle = pictures.mean((1, 2, 3), keepdim=True)
    pictures = middle + factor(0.75, 1.25) * (pictures - middle)
    return (pictures * factor(0.75, 1.25)).clamp(0.0, 1.0)


def _bent(pictures: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror left to right, zoom between 0.8 and 1.6, shift within what the zoom allows."""
    count = len(pictures)
    mirrored = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    window = 1.0 / rng.uniform(0.8, 1.6, size=count)  # share of the picture that is looked at
    shift = rng.uniform(-1.0, 1.0, size=(count, 2)) * np.abs(1.0 - window)[:, None]
    maps = np.zeros((count, 2, 3), dtype=np.float32)
    maps[:, 0, 0], maps[:, 0, 2] = mirrored * window, shift[:, 0]
    maps[:, 1, 1], maps[:, 1, 2] = window, shift[:, 1]
    grid = F.affine_grid(
        torch.from_numpy(maps).to(pictures.device), list(pictures.shape), align_corners=False
    )
    bent = F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)
    # Outside the picture grid_sample answers 0, so ids are shifted by one and 0 means "ignore".
    ids = F.grid_sample(
        masks[:, None].float() + 1.0, grid, mode="nearest", align_corners=False
    ).long()[:, 0]
    return bent, torch.where(ids == 0, IGNORE_INDEX, ids - 1)
