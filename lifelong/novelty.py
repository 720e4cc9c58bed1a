"""How new is a picture to this model? Distances to what it was trained for, as shares 0 .. 1.

A bundle that can say so has two more outputs beside `logits`; `lifelong/training/descriptions.py`
makes them, `docs/novelty.md` says what they are worth:

* `embedding` (1, D): the whole picture. The manifest brings one prototype for each learning task;
  the distance is Euclid's, because the embedding is whitened.
* `strangeness` (1, h, w): of each cell of a coarse grid, the distance to the nearest class
  prototype, which lie in the model itself.

A distance d counts as d / (d + d95), where d95 is the 0.95 quantile of that distance on pictures
that were held back from training: 0 is a prototype, 0.5 what one familiar picture in twenty
reaches, and more only what is far from everything.
"""

import math

import numpy as np
from numpy.typing import NDArray

from lifelong.records.novelty import Familiarity

HALF_WAY = "0.95"  # the quantile that counts as 0.5

# What a picture reaches that no number describes. Below 1, where only infinity is.
_MOST_NOVEL = 1.0 - 2.0**-24


def novelty_of(distance: float, usual: float) -> float:
    """A distance as a share, 0 .. below 1; what is no number is as novel as can be.

    Args:
        distance: 0 .. infinity.
        usual: the distance that counts as 0.5.

    >>> [round(novelty_of(d, 2.0), 2) for d in (0.0, 1.0, 2.0, 6.0, math.nan)]
    [0.0, 0.33, 0.5, 0.75, 1.0]
    """
    if not math.isfinite(distance) or distance < 0.0:
        return _MOST_NOVEL
    if not math.isfinite(usual) or usual < 0.0:
        return _MOST_NOVEL
    if distance == 0.0:
        return 0.0
    return min(distance / (distance + usual), _MOST_NOVEL)


class Acquaintance:
    """What a model knows, ready to be compared with; made once for each bundle."""

    def __init__(self, familiarity: Familiarity) -> None:
        """Prototypes of another length than the embedding are found out by `distance`."""
        self._familiarity = familiarity
        rows = list(familiarity.prototypes.values())
        self._are_known = bool(rows)
        # Rows of different length fit no embedding.
        is_even = len({len(row) for row in rows}) == 1
        self._prototypes = np.array(rows, dtype=np.float64) if is_even else np.zeros((0, 0))

    def distance(self, embedding: NDArray[np.floating]) -> float | None:
        """To the nearest prototype; None when there is none, NaN when it cannot be said."""
        if not self._are_known:
            return None
        if embedding.shape != self._prototypes.shape[1:]:
            return math.nan
        away = self._prototypes - embedding
        nearest = math.sqrt(float((away * away).sum(axis=1).min()))
        return nearest if math.isfinite(nearest) else math.nan

    def novelty(self, embedding: NDArray[np.float32] | None) -> float | None:
        """Of a whole picture, 0 .. 1; None when the bundle cannot say."""
        distance = None if embedding is None else self.distance(embedding)
        usual = self._familiarity.distance_quantiles.get(HALF_WAY)
        if distance is None or usual is None:
            return None
        return novelty_of(distance, usual)

    def class_novelty(
        self, strangeness: NDArray[np.float32] | None, logits: NDArray[np.float32]
    ) -> dict[int, float]:
        """Of each class in the picture, 0 .. 1; nothing for classes that were hardly ever seen.

        Args:
            strangeness: (h, w), float32, as the bundle's output says.
            logits: (C, H', W'), float32; a cell's class is that of the logit at its middle.
        """
        usual = self._familiarity.class_distances
        if strangeness is None or not usual:
            return {}
        return {
            class_id: novelty_of(distance, usual[class_id])
            for class_id, distance in class_distances(strangeness, logits).items()
            if class_id in usual
        }


def class_distances(
    strangeness: NDArray[np.float32], logits: NDArray[np.float32]
) -> dict[int, float]:
    """How far each class's strangest cell is from every prototype; NaN where one is no number.

    The strangest and not the mean: a new thing is small, and most of what is taken for a car is
    one. Measured for docs/novelty.md, it told held-out classes better than means and quantiles.

    Args:
        strangeness: (h, w), float32.
        logits: (C, H', W'), float32.

    Returns:
        By class id, for the classes that have a cell.
    """
    if strangeness.size == 0 or logits.size == 0:
        return {}
    classes = cell_classes(logits, (strangeness.shape[0], strangeness.shape[1]))
    strangest = np.full(len(logits), -np.inf, dtype=np.float32)
    with np.errstate(invalid="ignore"):  # NaN is passed on, and means as strange as can be
        np.maximum.at(strangest, classes.ravel(), strangeness.ravel())
    present = np.flatnonzero(strangest != -np.inf)
    return dict(zip(present.tolist(), strangest[present].tolist(), strict=True))


def cell_classes(logits: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.int64]:
    """(C, H', W') float32 to (h, w): the class of the logit at the middle of each cell."""
    rows, columns = (
        (np.arange(cells) * 2 + 1) * size // (2 * cells)
        for cells, size in zip(grid, logits.shape[1:], strict=True)
    )
    classes: NDArray[np.int64] = logits[:, rows[:, None], columns].argmax(axis=0)
    return classes
