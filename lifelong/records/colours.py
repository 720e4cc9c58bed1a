"""Colours for classes that stay apart for every eye, for up to 255 classes.

Each next colour is the one furthest from all before it, where "far" is the smallest distance over
four kinds of vision: normal, and without long, middle or short wavelength cones (protanopia,
deuteranopia, tritanopia; matrices of Machado, Oliveira and Fernandes 2009, full severity, applied
to linear RGB). Distances are Euclidean in OKLab (Ottosson 2020). The list for n classes is the
beginning of the list for more, so a class keeps its colour when others are added.

255 colours cannot all be easy to tell apart: the smallest distance is 0.23 among 5 colours, 0.13
among 10, 0.08 among 19, and 0.017 among 255. The colours of Cityscapes have 0.017 among 19.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import LabelMapError

Colour = tuple[int, int, int]  # red, green, blue, each 0 .. 255

_MOST = 255
_FIRST = (0, 102, 170)
_STEPS = 16  # of each channel among which colours are chosen
_LIGHTNESS = (0.3, 0.95)  # darker or lighter ones vanish on pictures

_VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ]
)
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """`count` colours in order, all different.

    Raises:
        LabelMapError: fewer than none or more than 255.
    """
    if not 0 <= count <= _MOST:
        raise LabelMapError(f"0 to {_MOST} colours can be had, not {count}")
    return _all_colours()[:count]


def distances(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far colours are apart for the kind of vision that tells them apart worst.

    Args:
        colours: (N, 3), 0 .. 255.

    Returns:
        (N, N), OKLab.
    """
    seen = _seen(colours)
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1)
    return np.asarray(apart.min(axis=0), dtype=np.float64)


def css_colour(colour: Colour) -> str:
    """As style sheets and Label Studio's settings write it.

    >>> css_colour((0, 102, 170))
    '#0066aa'
    """
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


@cache
def _all_colours() -> tuple[Colour, ...]:
    steps = np.linspace(0, 255, _STEPS)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = _seen(grid)
    darkest, lightest = _LIGHTNESS
    fits = (seen[0, :, 0] > darkest) & (seen[0, :, 0] < lightest)
    chosen_from = grid[fits]
    seen = seen[:, fits]
    chosen = [int(np.abs(chosen_from - np.array(_FIRST)).sum(axis=1).argmin())]
    nearest = np.full(len(chosen_from), np.inf)
    while len(chosen) < _MOST:
        apart = np.linalg.norm(seen - seen[:, chosen[-1:]], axis=-1).min(axis=0)
        nearest = np.minimum(nearest, apart)
        chosen.append(int(nearest.argmax()))
    return tuple((int(r), int(g), int(b)) for r, g, b in chosen_from[chosen].tolist())


def _seen(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, N, 3) OKLab of (N, 3) colours 0 .. 255, as each kind of vision sees them."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    as_seen = np.clip(linear @ _VISIONS.transpose(0, 2, 1), 0, 1)
    return np.asarray(np.cbrt(as_seen @ _TO_CONES.T) @ _TO_LAB.T, dtype=np.float64)
