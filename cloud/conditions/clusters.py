"""Which unseen pictures are alike, and whether two groups of pictures can be told apart at all.

Both look at embeddings of one model version; `lifelong/allocation.py` says in what units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from lifelong.allocation import REACH, usual_distance, within_plane

FEWEST_COMPARED = 12  # pictures of each group; with fewer, nothing can be told apart from chance
CHANCE = 0.05  # a difference that chance makes as often as this is none
_SHUFFLES = 199

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How far two groups of pictures can be told apart by their embeddings."""

    energy: float  # 0: the same distribution .. 1: nothing in common
    p_value: float  # how often chance makes such a difference of pictures of one condition
    right: float  # share of the pictures that lie nearer to the mean of the others of their group
    pictures: tuple[int, int]

    @property
    def cannot_be_told_apart(self) -> bool:
        """Are there enough pictures, and no difference that chance would not make?"""
        return min(self.pictures) >= FEWEST_COMPARED and self.p_value > CHANCE

    def __str__(self) -> str:
        return (
            f"energy {self.energy:.3f}, p = {self.p_value:.3f}, {100 * self.right:.0f} % of "
            f"{sum(self.pictures)} pictures nearer to their own"
        )


def groups_of(embeddings: NDArray[np.floating], fewest: int) -> list[list[int]]:
    """Groups of pictures that are alike, the largest first.

    Average linkage (Sokal & Michener 1958) within the model's plane, cut where the mean distance
    of two groups exceeds 1.5 times what two pictures of one condition usually differ by. The
    number of groups need not be known, and one group stays one.

    Args:
        embeddings: (N, K + 1), by one model version.
        fewest: pictures that make a group; what is left over is in none.

    Returns:
        Row numbers of each group, the most typical first.
    """
    points = within_plane(embeddings)
    if len(points) < max(fewest, 2):
        return []
    tree = linkage(points, method="average")
    labels = fcluster(tree, REACH * usual_distance(points.shape[1]), criterion="distance")
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    kept = [_typical_first(points, group) for group in groups if len(group) >= fewest]
    return sorted(kept, key=lambda group: (-len(group), group))


def centre_of(embeddings: NDArray[np.floating]) -> Floats:
    """(N, K + 1) to (K,): the middle of a condition, of which a few odd pictures are no part."""
    middle: Floats = np.median(within_plane(embeddings), axis=0)
    return middle


def likeness(
    first: NDArray[np.floating], second: NDArray[np.floating], random: np.random.Generator
) -> Likeness:
    """Compare two groups of embeddings (N, D) and (M, D), one picture at least in each.

    The energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| over 2 E|X - Y| (Székely & Rizzo 2013)
    is 0 for equal distributions only; its p-value counts shuffles of the pictures among the groups
    that give as much.
    """
    points = np.concatenate([first, second]).astype(np.float64)
    distances = cdist(points, points)
    mine = np.arange(len(points)) < len(first)
    found = energy(distances, mine)
    shuffled = [energy(distances, random.permutation(mine)) for _ in range(_SHUFFLES)]
    as_large = sum(value >= found for value in shuffled)
    return Likeness(
        energy=round(found, 4),
        p_value=round((1 + as_large) / (1 + _SHUFFLES), 4),
        right=round(_right(points, mine), 4),
        pictures=(len(first), len(second)),
    )


def energy(distances: Floats, mine: NDArray[np.bool_]) -> float:
    """The energy coefficient of two groups, 0 .. 1.

    Two pictures at 0 and two at 1: 2 E|X - Y| = 2 and nothing within, so 1; the same at 0 and 1
    in both groups: 2 · 1/2 - 1/2 - 1/2 = 0.

    Args:
        distances: (N, N), between all pictures.
        mine: (N,), which of them are of the first group.
    """
    between = 2.0 * float(distances[np.ix_(mine, ~mine)].mean())
    within = float(distances[np.ix_(mine, mine)].mean() + distances[np.ix_(~mine, ~mine)].mean())
    return (between - within) / between if between > 0.0 else 0.0


def _right(points: Floats, mine: NDArray[np.bool_]) -> float:
    """Nearest mean, each picture left out of its own group's mean."""
    right = 0
    for place, is_mine in enumerate(mine):
        others = (mine == is_mine) & (np.arange(len(points)) != place)
        if not others.any():
            continue
        own = np.linalg.norm(points[place] - points[others].mean(axis=0))
        other = np.linalg.norm(points[place] - points[mine != is_mine].mean(axis=0))
        right += int(own < other)
    return right / len(points)


def _typical_first(points: Floats, group: Sequence[int] | NDArray[np.int64]) -> list[int]:
    rows = np.asarray(group)
    away = np.linalg.norm(points[rows] - np.median(points[rows], axis=0), axis=1)
    return [int(row) for row in rows[np.lexsort((rows, np.round(away, 6)))]]
