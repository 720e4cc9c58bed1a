"""Large pictures in overlapping tiles whose answers fade into each other, so that no seam shows.

A tile's weight rises from its inner borders as a raised cosine over the whole overlap with its
neighbour. Tiles are blended one after the other into one array, each by its weight over the sum of
all weights so far: where tiles agree nothing changes, not even by rounding.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError

MIN_OVERLAP_PX = 32
MIN_TILE_PX = 2 * MIN_OVERLAP_PX
Label = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class TiledLabeler:
    """Labels a picture that is larger than a tile in tiles; a smaller one as it is.

    Needs 4·C·H·W bytes for the answer, 4·H·W for the weights, and what one tile needs: 0.73 GB
    and 38 MB for 12,000 x 800 pixels and 19 classes.

    Raises:
        ConfigError: tiles too small to overlap.
    """

    def __init__(self, label: Label, *, name: str, tile_px: int) -> None:
        """Args:
        label: (h, w, 3) uint8 to (C, h, w) float32 probabilities.
        tile_px: side of a tile, pixels; neighbours share at least a quarter of it.
        """
        if tile_px < MIN_TILE_PX:
            raise ConfigError(
                f"preannotation.semantic.tile_px: {tile_px} is too small, tiles overlap by at "
                f"least {MIN_OVERLAP_PX} pixels; expected 0 (no tiles) or {MIN_TILE_PX} and more"
            )
        self.name = f"{name}, tiles of {tile_px}"
        self._label, self._tile_px = label, tile_px

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        height, width = image.shape[:2]
        if max(height, width) <= self._tile_px:
            return self._label(image)
        rows, columns = (tile_places(side, self._tile_px) for side in (height, width))
        row_weights, column_weights = (faded(places) for places in (rows, columns))
        summed = np.zeros((height, width), dtype=np.float32)
        out: NDArray[np.float32] | None = None
        for (top, bottom), down in zip(rows, row_weights, strict=True):
            for (left, right), across in zip(columns, column_weights, strict=True):
                answer = self._label(np.ascontiguousarray(image[top:bottom, left:right]))
                if out is None:
                    out = np.zeros((len(answer), height, width), dtype=np.float32)
                weight = down[:, None] * across[None]
                total = summed[top:bottom, left:right]
                total += weight
                share = weight / total
                here = out[:, top:bottom, left:right]
                for so_far, new in zip(here, answer, strict=True):
                    so_far += share * (new - so_far)
        assert out is not None  # there is a tile
        return out


def tile_places(side: int, tile: int) -> list[tuple[int, int]]:
    """First and past-the-last pixel of the tiles that cover `side` pixels, evenly spread, sharing
    at least a quarter of a tile and `MIN_OVERLAP_PX` with the next."""
    if side <= tile:
        return [(0, side)]
    overlap = max(MIN_OVERLAP_PX, math.ceil(tile / 4))
    count = math.ceil((side - overlap) / (tile - overlap))
    starts = [round(i * (side - tile) / (count - 1)) for i in range(count)]
    return [(start, start + tile) for start in starts]


def faded(places: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
    """For every tile its weight at each of its pixels, in (0, 1]."""
    weights = [np.ones(end - start, dtype=np.float64) for start, end in places]
    for i in range(len(places) - 1):
        shared = places[i][1] - places[i + 1][0]
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(shared) + 0.5) / shared)
        weights[i][-shared:] *= rise[::-1]
        weights[i + 1][:shared] *= rise
    return [np.maximum(weight, 1e-6).astype(np.float32) for weight in weights]
