"""An embedding as a map of features over its picture, whichever model made it.

Nothing is assumed of how a model scales, pads or squeezes pictures: where a cell lies, and which
cells the picture covers, is read off what the model itself makes of masks and of coordinates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud.assist.interactive_model import Embedded, InteractiveModel
from lifelong.errors import ModelOutputError
from lifelong.records.prompts import Box, Point

Floats = NDArray[np.float32]

_STRIDE = 4  # decoders answer with masks of four times the sides of the features


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A picture's features in cells, four of which are a side of a decoder's low resolution."""

    features: Floats  # (C, h, w), less their mean over the picture
    valid: NDArray[np.bool_]  # (h, w), cells that the picture covers; the others are padding
    fine_valid: NDArray[np.bool_]  # (4h, 4w)
    nothing: Floats  # (4h, 4w), the hint of an empty mask
    everything: Floats  # (4h, 4w), the hint of a mask of the whole picture
    xs: Floats  # (W,), for each column of the picture its low-resolution x, pixels
    ys: Floats  # (H,)

    def fine_coverage(self, hint: Floats) -> Floats:
        """(4h, 4w) shares, 0 .. 1, of each low-resolution pixel that a mask covers, by its hint."""
        span = self.everything - self.nothing
        share = (hint - self.nothing) / np.where(self.fine_valid, span, 1.0)
        return np.where(self.fine_valid, np.clip(share, 0.0, 1.0), 0.0).astype(np.float32)

    def pooled(self, fine: Floats) -> Floats:
        """(4h, 4w) to (h, w) means."""
        height, width = self.valid.shape
        parts = fine.reshape(height, _STRIDE, width, _STRIDE)
        means: Floats = parts.mean(axis=(1, 3), dtype=np.float32)
        return means

    def looks(self, cells: Floats) -> Floats:
        """(C,), the mean feature under a mask that covers these shares (h, w) of the cells."""
        total = max(float(cells.sum()), 1e-6)
        mean: Floats = np.tensordot(self.features, cells, axes=([1, 2], [0, 1])) / np.float32(total)
        return mean

    def similarity(self, looks: Floats) -> Floats:
        """(h, w) cosines, -1 .. 1, of every cell with a feature; -1 in the padding."""
        lengths = np.linalg.norm(self.features, axis=0) * np.linalg.norm(looks)
        products = np.tensordot(looks, self.features, axes=(0, 0))
        similar = products / np.maximum(lengths, 1e-12)
        return np.where(self.valid, similar, -1.0).astype(np.float32)

    def place_of(self, row: int, column: int) -> Point:
        """The middle of a cell, in pixels of the picture."""
        middle = (_STRIDE - 1) / 2
        x = np.interp(column * _STRIDE + middle, self.xs, np.arange(len(self.xs)))
        y = np.interp(row * _STRIDE + middle, self.ys, np.arange(len(self.ys)))
        return Point(float(x) + 0.5, float(y) + 0.5)

    def cells_in(self, box: Box) -> tuple[slice, slice]:
        """Rows and columns of the cells that a box in pixels of the picture touches; one or more.

        Args:
            box: touches the picture.
        """
        rows, columns = (
            slice(
                int(low[_inside(begin, low)]) // _STRIDE, int(low[_inside(end, low)]) // _STRIDE + 1
            )
            for begin, end, low in ((box.y0, box.y1, self.ys), (box.x0, box.x1, self.xs))
        )
        return rows, columns


def _inside(place: float, along: Floats) -> int:
    return min(max(int(place), 0), len(along) - 1)


def view_of(model: InteractiveModel, embedded: Embedded) -> View:
    """A view of what `model` made of a picture.

    Raises:
        ModelOutputError: none of the arrays is of features in cells.
    """
    size = (embedded.height, embedded.width)
    everything = model.hint(np.ones(size, np.bool_), embedded)
    nothing = model.hint(np.zeros(size, np.bool_), embedded)
    features = _features_of(embedded, (everything.shape[0], everything.shape[1]), model.name)
    fine_valid = everything > nothing
    height, width = features.shape[1:]
    covered = fine_valid.reshape(height, _STRIDE, width, _STRIDE).mean(axis=(1, 3))
    valid = covered >= min(0.5, covered.max())
    centred = features - features[:, valid].mean(axis=1)[:, None, None]
    y, x = np.mgrid[: everything.shape[0], : everything.shape[1]].astype(np.float32)
    ramps = model.enlarge(np.stack([x, y]), embedded)
    return View(
        features=centred,
        valid=valid,
        fine_valid=fine_valid,
        nothing=nothing,
        everything=everything,
        xs=ramps[0, 0],
        ys=ramps[1, :, 0],
    )


def _features_of(embedded: Embedded, fine: tuple[int, int], name: str) -> Floats:
    """(C, h, w), of the one array whose cells are four low-resolution pixels a side."""
    cells = (fine[0] // _STRIDE, fine[1] // _STRIDE)
    for array in embedded.arrays.values():
        if array.ndim == 4 and array.shape[0] == 1 and array.shape[2:] == cells:
            features: Floats = array[0].astype(np.float32)
            return features
    shapes = {key: array.shape for key, array in embedded.arrays.items()}
    raise ModelOutputError(f"{name}: no features of {cells} cells in its embedding, only {shapes}")
