"""The worth of a picture without labels, and the greedy order by it: rules of every selection.

The cloud's queue and the choice among a folder of pictures share them. Every factor lies between
a quarter and one: none can silence the others, and a picture that cannot be read keeps a place.
Pure functions: same input, same order.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.25  # the least that a factor can be
_RAREST = 1e-4  # a class with a smaller share of the labelled pixels counts as never labelled
_CHUNK = 1024  # rows of a distance matrix in memory at a time


def places_among(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each score's place among all of them, 0 .. 1: (smaller + equal/2) / n, itself an equal one.

    >>> places_among(np.array([0.2, 0.6, 0.6])).round(3).tolist()
    [0.167, 0.667, 0.667]
    """
    ranked = np.sort(scores)
    smaller = np.searchsorted(ranked, scores, side="left")
    up_to = np.searchsorted(ranked, scores, side="right")
    places: NDArray[np.float64] = (smaller + up_to) / 2.0 / max(scores.size, 1)
    return places


def class_weights(labelled: Mapping[int, int]) -> dict[int, float]:
    """How rare each class is among the labelled pixels, 0 (there is nothing else) .. 1 (no pixel).

    w = ln(1 / share) / ln(10000), at most 1: the information of meeting the class, in units of a
    class with one pixel in ten thousand. Classes that are not named weigh 1.

    >>> {i: round(w, 3) for i, w in class_weights({0: 9900, 1: 100}).items()}
    {0: 0.001, 1: 0.5}
    """
    total = sum(labelled.values())
    return {
        class_id: min(1.0, float(np.log(total / pixels) / np.log(1.0 / _RAREST)))
        for class_id, pixels in labelled.items()
        if pixels > 0
    }


def rarity(class_pixels: Mapping[int, int] | None, weights: Mapping[int, float]) -> float:
    """How rare the classes are that the edge saw in a picture, 1/4 .. 1.

    r = 1/4 + 3/4 · Σ √p w / Σ √p over the classes, p their pixels. The root lets a pedestrian of a
    hundredth of the picture count a tenth of the road. A mask without a class, or none: 1/4.

    >>> rarity({0: 9900, 1: 100}, {0: 0.001, 1: 0.5}), rarity({}, {})  # doctest: +ELLIPSIS
    (0.284..., 0.25)
    """
    roots = {i: float(np.sqrt(n)) for i, n in (class_pixels or {}).items() if n > 0}
    total = sum(roots.values())
    if total == 0.0:
        return FLOOR
    mean = sum(root * weights.get(i, 1.0) for i, root in roots.items()) / total
    return FLOOR + (1.0 - FLOOR) * mean


def distances_to_nearest(
    points: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Euclidean distance of each point to its nearest centre; infinite when there is none.

    Args:
        points: (N, D), float64.
        centres: (M, D), float64.

    Returns:
        (N,), float64, in steps of 1e-6 so that equal pictures stay equal.
    """
    nearest = np.full(len(points), np.inf)
    squares = (points**2).sum(axis=1)
    for start in range(0, len(centres), _CHUNK):
        some = centres[start : start + _CHUNK]
        squared = squares[:, None] - 2.0 * points @ some.T + (some**2).sum(axis=1)
        np.minimum(nearest, np.sqrt(np.maximum(squared, 0.0)).min(axis=1), out=nearest)
    return np.round(nearest, 6)


def best_first(
    worth: NDArray[np.float64],
    points: NDArray[np.float64],
    centres: NDArray[np.float64],
    *,
    count: int,
    oldest_every: int = 0,
) -> list[int]:
    """The order by worth x novelty, where each choice makes what resembles it less novel.

    Greedy k-centre selection (Sener & Savarese 2018, algorithm 1) takes again and again the point
    farthest from everything labelled and chosen: argmax_x min_{c ∈ centres ∪ chosen} |x - c|. Here
    that distance is one factor of the value:

        value(x) = worth(x) · (1/4 + 3/4 · min_c |x - c| / scale)

    with scale the largest such distance at the beginning, so that novelty is 1/4 .. 1. With equal
    worth this is k-centre greedy itself. While there is no centre at all, novelty is 1 for all.
    Ties go to the point named first: hand the points in by age.

    Args:
        worth: (N,), float64, the factors that do not change: uncertainty x rarity.
        points: (N, D), float64; a row with NaN is a picture nobody could read: novelty 1/4.
        centres: (M, D), float64, what is labelled already.
        count: how many are wanted.
        oldest_every: every so-manyth place goes to the first point left (0: none); a shorter
            order of two or more gives its last place.

    Returns:
        Row numbers, best first; `count` of them, or N.

    >>> on_a_line = np.array([[1.0], [4.0], [4.1]])
    >>> best_first(np.ones(3), on_a_line, np.array([[0.0]]), count=3)  # 4.0 is no news after 4.1
    [2, 0, 1]
    """
    wanted = min(count, len(points))
    if wanted <= 0:
        return []
    readable = np.asarray(np.isfinite(points).all(axis=1), dtype=np.bool_)
    filled = np.where(readable[:, None], points, 0.0)
    nearest = distances_to_nearest(filled, centres)
    scale = float(nearest[readable].max(initial=0.0)) if len(centres) else 0.0
    every = max(2, min(oldest_every, wanted)) if oldest_every else wanted + 1
    taken = np.zeros(len(points), dtype=np.bool_)
    order: list[int] = []
    while len(order) < wanted:
        if (len(order) + 1) % every == 0:
            pick = int(np.argmin(taken))
        else:
            value = worth * _novelty(nearest, scale, readable)
            pick = int(np.argmax(np.where(taken, -1.0, value)))
        order.append(pick)
        taken[pick] = True
        if readable[pick]:
            away = np.round(np.sqrt(((filled - filled[pick]) ** 2).sum(axis=1)), 6)
            nearest = np.minimum(nearest, away)
            if scale == 0.0:
                scale = float(nearest[readable].max())
    return order


def _novelty(
    nearest: NDArray[np.float64], scale: float, readable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if scale == 0.0:  # nothing labelled yet, or nothing differs from it
        share = np.where(np.isinf(nearest), 1.0, 0.0)
    else:
        share = np.minimum(nearest / scale, 1.0)
    return FLOOR + (1.0 - FLOOR) * np.where(readable, share, 0.0)
