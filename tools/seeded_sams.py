"""Weights, a picture and prompts that every implementation of a SAM can make for itself.

Numbers follow from names alone, so two implementations with the same names hold the same network
without a file between them.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 90, 140  # of the picture; neither square nor a multiple of anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to ask; coordinates in pixels of the picture, x before y."""

    points: NDArray[np.float32] | None = None  # (N, P, 2)
    labels: NDArray[np.int64] | None = None  # (N, P)
    boxes: NDArray[np.float32] | None = None  # (N, 4)
    masks: NDArray[np.float32] | None = None  # (N, 1, side, side)
    several: bool


def seeded_weight(name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """The weight of this name: variances as a trained network might have them.

    Returns:
        `shape`, float32; int64 for counters of batches.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    unit = (generator.random(shape) * 2 - 1) * math.sqrt(3)  # mean 0, variance 1
    if name.endswith("running_var"):
        values = 1 + 0.25 * unit
    elif name.endswith("gaussian_matrix"):
        values = unit
    elif len(shape) > 1:
        values = unit / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("weight"):  # of a normalisation
        values = 1 + 0.1 * unit
    else:
        values = 0.1 * unit
    return values.astype(np.float32)


def picture() -> NDArray[np.uint8]:
    """(90, 140, 3) uint8: waves of a different length in every channel, and a bright box."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    waves = [np.sin(rows / (3 + c)) + np.cos(columns / (7 - c)) for c in range(3)]
    image = (127 + 60 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)
    image[20:50, 60:100] = (250, 240, 200)
    return image


def cases(mask_side: int = 256) -> dict[str, Case]:
    """Points, boxes and masks, alone and together."""
    points = np.array([[[30.0, 20.0]], [[80.5, 35.25]], [[139.0, 89.0]]], np.float32)
    labels = np.ones((3, 1), np.int64)
    boxes = np.array([[60, 20, 99, 49], [5.5, 40.0, 70.25, 88.0]], np.float32)
    both = np.array([[[70, 30], [10, 10]], [[30, 60], [60, 45]]], np.float32)
    rows, columns = np.mgrid[0:mask_side, 0:mask_side]
    blob = 8 - ((rows - mask_side / 3) ** 2 + (columns - mask_side / 2) ** 2) / mask_side
    masks = np.stack([blob, -blob])[:, None].astype(np.float32).clip(-20, 20)
    mixed = np.array([[1, 0], [1, 0]], np.int64)
    return {
        "points_several": Case(points=points, labels=labels, several=True),
        "points_single": Case(points=points, labels=labels, several=False),
        "boxes_several": Case(boxes=boxes, several=True),
        "boxes_single": Case(boxes=boxes, several=False),
        "boxes_and_points_single": Case(points=both, labels=mixed, boxes=boxes, several=False),
        "points_and_masks_several": Case(points=both, labels=mixed, masks=masks, several=True),
    }
