"""A perceptual hash: 64 bits that stay nearly the same while a picture shows the same scene.

The lowest frequencies of the picture's discrete cosine transform, each against their median
(Zauner 2010, "pHash"). Noise, JPEG and a change of brightness live in the high frequencies or in
the mean, which are left out.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # pixels of the small grey picture
KEPT = 8  # frequencies along each side


def scene_hash(image: NDArray[np.uint8]) -> str:
    """16 hex digits of a picture, (H, W, 3) uint8 RGB.

    >>> scene_hash(np.zeros((48, 64, 3), np.uint8))
    '0000000000000000'
    """
    picture = Image.fromarray(image)
    factor = min(picture.size) // (4 * SIDE)
    if factor > 1:  # a quick way down; the last steps are exact
        picture = picture.reduce(factor)
    grey = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    low = _COSINES @ np.asarray(grey, dtype=np.float64) @ _COSINES.T  # (9, 9)
    # Without the mean and what runs along one side only: light from one side changes with the sun.
    values = low[1:, 1:].ravel()
    bits = values > np.median(values) + 1e-6
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def bits_apart(one: str, other: str) -> int:
    """In how many of their 64 bits two hashes differ.

    >>> bits_apart("00000000000000ff", "000000000000000f")
    4
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _cosines() -> NDArray[np.float64]:
    """(9, 32): row k is the k-th basis function of the cosine transform, type II."""
    places = (np.arange(SIDE) + 0.5) * math.pi / SIDE
    return np.cos(np.arange(KEPT + 1)[:, None] * places)


_COSINES = _cosines()
