"""Which pictures of a sequence are worth their labels, when only so many can be paid for.

Nothing here has seen a label: a picture is known by what the present model says of it. The
queue of the service (`cloud/selecting/selection.py`) asks the same question of pictures that wait
one by one, this module asks it of a whole sequence at once; both use `lifelong/picture_values.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError, ShapeError
from lifelong.picture_values import (
    FLOOR,
    best_first,
    class_weights,
    places_among,
    rarity,
)

Floats = NDArray[np.float64]

_PASSES = 20  # of exchange over all medoids; it stands still after a handful
_PIXELS = 1_000_000  # shares as whole numbers for the rules that count pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """What the present model says of a picture that nobody has labelled."""

    entropy: float  # mean normalised entropy, 0 (sure) .. 1 (no idea)
    class_shares: Mapping[int, float]  # class id -> share of the pixels that the model gives it
    features: NDArray[np.float32]  # (D,), what the model saw; Euclid's distance means something


def choose_for_labels(
    pictures: Sequence[Unlabelled], count: int, *, strategy: str, seed: int
) -> tuple[int, ...]:
    """The pictures to label, the first choice first.

    Args:
        pictures: in the order they were taken.
        count: how many may be labelled.
        strategy: a name of `STRATEGIES`.
        seed: of the strategies that draw; the others do not heed it.

    Returns:
        `count` different places in `pictures`, or all of them when there are fewer. Equal input,
        equal answer.

    Raises:
        ConfigError: no strategy of that name.
        ShapeError: features of different lengths, or something that is no number.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"label selection: no {strategy!r}; there are {', '.join(STRATEGIES)}")
    _check(pictures)
    wanted = min(count, len(pictures))
    if wanted <= 0:
        return ()
    return tuple(STRATEGIES[strategy](pictures, wanted, seed))


def standardised(features: Floats) -> Floats:
    """(N, D) with mean 0 and deviation 1 in every column; a constant column is all 0."""
    spread = features.std(axis=0)
    scaled: Floats = (features - features.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    return scaled


def medoids(points: Floats, weights: Floats, count: int) -> list[int]:
    """The `count` points from which all points are nearest, weighted: k-medoids.

    They minimise Σ_i w_i · min_{m ∈ medoids} |x_i - x_m|². Unlike k-centre (the largest such
    distance), a sum does not run after outliers, which suits few labels best (Hacohen et al.
    2022, "Active learning on a budget"). Greedy building, then exchange of a medoid for another
    point while that helps (PAM, Kaufman & Rousseeuw 1987). Ties go to the earlier point.

    Args:
        points: (N, D).
        weights: (N,), above 0: what it costs to leave a point badly covered.

    Returns:
        Row numbers, in the order in which the greedy building took their places.

    >>> line = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> medoids(line, np.ones(5), 2)
    [1, 3]
    """
    squares = _squares(points)
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        chosen.append(_best_beside(chosen, squares, weights)[0])
    best = _cost(chosen, squares, weights)
    for _ in range(_PASSES):
        before = best
        for place in range(len(chosen)):
            others = [*chosen[:place], *chosen[place + 1 :]]
            other, cost = _best_beside(others, squares, weights)
            if cost < best:
                chosen[place], best = other, cost
        if best == before:
            break
    return chosen


# -- strategies -----------------------------------------------------------------------------------


def _by_value(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    """Coverage of what the model sees, where doubtful pictures and rare classes ask for more."""
    worth = _uncertainty(pictures) * _rarity(pictures)
    return medoids(standardised(_features(pictures)), worth, count)


def _by_queue_value(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    """As the service's queue: uncertainty x novelty x rarity, each choice by itself."""
    worth = _uncertainty(pictures) * _rarity(pictures)
    points = standardised(_features(pictures))
    return best_first(worth, points, points[:0], count=count)


def _by_coverage(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    return medoids(standardised(_features(pictures)), np.ones(len(pictures)), count)


def _by_k_centre(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    """Farthest first (Sener & Savarese 2018), from the picture nearest to the mean."""
    points = standardised(_features(pictures))
    first = int(np.argmin(np.round((points**2).sum(axis=1), 9)))
    worth = np.ones(len(points))
    worth[first] = 0.0  # taken already
    return [first, *best_first(worth, points, points[[first]], count=count - 1)]


def _by_entropy(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    """Most unsure first; ties to the earlier one."""
    return sorted(range(len(pictures)), key=lambda n: (-pictures[n].entropy, n))[:count]


def _at_random(pictures: Sequence[Unlabelled], count: int, seed: int) -> list[int]:
    drawn = np.random.default_rng(seed).permutation(len(pictures))[:count]
    return [int(place) for place in drawn]


def _evenly(pictures: Sequence[Unlabelled], count: int, _seed: int) -> list[int]:
    """The middle one of each of `count` equal stretches of time."""
    return [(2 * place + 1) * len(pictures) // (2 * count) for place in range(count)]


STRATEGIES: Mapping[str, Callable[[Sequence[Unlabelled], int, int], list[int]]] = {
    "ours": _by_value,
    "queue": _by_queue_value,
    "coverage": _by_coverage,
    "k_centre": _by_k_centre,
    "entropy": _by_entropy,
    "even": _evenly,
    "random": _at_random,
}


def _uncertainty(pictures: Sequence[Unlabelled]) -> Floats:
    """Place among the entropies, 1/4 .. 1."""
    scores = np.array([picture.entropy for picture in pictures], dtype=np.float64)
    return FLOOR + (1.0 - FLOOR) * places_among(scores)


def _rarity(pictures: Sequence[Unlabelled]) -> Floats:
    """How rare the classes are, among those of all these pictures as predicted, 1/4 .. 1."""
    pixels = [{i: round(_PIXELS * s) for i, s in p.class_shares.items()} for p in pictures]
    together: dict[int, int] = {}
    for one in pixels:
        for class_id, count in one.items():
            together[class_id] = together.get(class_id, 0) + count
    weights = class_weights(together)
    return np.array([rarity(one, weights) for one in pixels], dtype=np.float64)


def _features(pictures: Sequence[Unlabelled]) -> Floats:
    return np.stack([picture.features for picture in pictures]).astype(np.float64)


def _squares(points: Floats) -> Floats:
    """(N, N) squared distances, in steps of 1e-9 so that equal pictures stay equal."""
    lengths = (points**2).sum(axis=1)
    squares = lengths[:, None] - 2.0 * points @ points.T + lengths[None]
    rounded: Floats = np.round(np.maximum(squares, 0.0), 9)
    return rounded


def _best_beside(chosen: Sequence[int], squares: Floats, weights: Floats) -> tuple[int, float]:
    """The point that lowers the cost most beside those chosen, and the cost with it."""
    nearest = squares[:, chosen].min(axis=1, initial=np.inf)
    costs = weights @ np.minimum(nearest[:, None], squares)
    costs[list(chosen)] = np.inf
    best = int(np.argmin(np.round(costs, 9)))
    return best, round(float(costs[best]), 9)


def _cost(chosen: Sequence[int], squares: Floats, weights: Floats) -> float:
    return round(float(weights @ squares[:, chosen].min(axis=1, initial=np.inf)), 9)


def _check(pictures: Sequence[Unlabelled]) -> None:
    lengths = {picture.features.shape for picture in pictures}
    if len(lengths) > 1 or any(len(shape) != 1 for shape in lengths):
        raise ShapeError(f"label selection: features must be (D,) throughout, got {lengths}")
    for place, picture in enumerate(pictures):
        numbers = [picture.entropy, *picture.class_shares.values()]
        if not np.isfinite(numbers).all() or not np.isfinite(picture.features).all():
            raise ShapeError(f"label selection: picture {place} has something that is no number")
