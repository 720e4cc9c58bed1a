"""Choice under a budget, ANN-04 and LLL's dear labels: each strategy beside a plain reading."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.errors import ConfigError, ShapeError
from lifelong.labels.selection import STRATEGIES, Unlabelled, choose_for_labels, medoids


def a_picture(
    *features: float, entropy: float = 0.5, shares: dict[int, float] | None = None
) -> Unlabelled:
    return Unlabelled(
        entropy=entropy,
        class_shares={0: 1.0} if shares is None else shares,
        features=np.array(features, dtype=np.float32),
    )


def some_pictures(count: int, seed: int = 0) -> list[Unlabelled]:
    random = np.random.default_rng(seed)
    return [
        a_picture(
            *random.normal(size=4),
            entropy=float(random.random()),
            shares={0: 0.9, int(random.integers(1, 5)): 0.1},
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [0, 1, 7, 12, 30])
def test_ann_04_every_strategy_names_so_many_different_pictures_and_the_same_again(
    strategy: str, count: int
) -> None:
    pictures = some_pictures(12)
    chosen = choose_for_labels(pictures, count, strategy=strategy, seed=3)
    assert len(chosen) == len(set(chosen)) == min(count, 12)
    assert set(chosen) <= set(range(12))
    assert choose_for_labels(pictures, count, strategy=strategy, seed=3) == chosen


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ann_04_equal_pictures_are_chosen_once_each(strategy: str) -> None:
    """A standing camera: not one number differs."""
    chosen = choose_for_labels([a_picture(1.0, 2.0)] * 6, 4, strategy=strategy, seed=0)
    assert len(set(chosen)) == 4
    assert choose_for_labels([], 4, strategy=strategy, seed=0) == ()


def test_ann_04_entropy_even_and_random_by_hand() -> None:
    pictures = [a_picture(float(n), entropy=value) for n, value in enumerate([0.1, 0.9, 0.9, 0.4])]
    assert choose_for_labels(pictures, 3, strategy="entropy", seed=0) == (1, 2, 3)
    assert choose_for_labels(pictures * 2, 4, strategy="even", seed=0) == (1, 3, 5, 7)
    draws = {choose_for_labels(pictures, 2, strategy="random", seed=seed) for seed in range(20)}
    assert len(draws) > 5


def test_ann_04_k_centre_is_farthest_first() -> None:
    """Sener & Savarese 2018, by loops, from the picture nearest to the mean."""
    pictures = some_pictures(25, seed=1)
    points = np.stack([p.features for p in pictures]).astype(np.float64)
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    plain = [int(np.argmin((points**2).sum(axis=1)))]
    while len(plain) < 8:
        nearest = [min(np.linalg.norm(p - points[c]) for c in plain) for p in points]
        plain.append(int(np.argmax(nearest)))
    assert choose_for_labels(pictures, 8, strategy="k_centre", seed=0) == tuple(plain)


@settings(max_examples=60, deadline=None)
@given(
    line=st.lists(st.integers(0, 30), min_size=3, max_size=7, unique=True),
    heavy=st.integers(0, 6),
)
def test_ann_04_no_exchange_of_one_medoid_would_cover_better(line: list[int], heavy: int) -> None:
    """Exchange ends at a local best, which is all that it promises."""
    points = np.array(line, dtype=np.float64)[:, None]
    weights = np.ones(len(line))
    weights[heavy % len(line)] = 4.0

    def cost(chosen: tuple[int, ...]) -> float:
        squares = (points - points[list(chosen)].T) ** 2
        return float((weights * squares.min(axis=1)).sum())

    found = tuple(medoids(points, weights, 2))
    assert len(set(found)) == 2
    for kept, other in itertools.product(found, range(len(line))):
        if other not in found:
            assert cost(found) <= cost((kept, other)) + 1e-9


def test_ann_04_ours_covers_groups_and_prefers_doubt_and_rare_classes_within_them() -> None:
    """Three scenes of a film; in each, near-duplicates of which one is more doubtful or rare."""
    calm = {0: 1.0}
    rare = {0: 0.97, 7: 0.03}
    scenes = [(0.0, 0.0), (50.0, 90.0), (90.0, 10.0)]
    film = [
        a_picture(x, y + 0.1 * n, entropy=0.2, shares=calm) for x, y in scenes for n in range(5)
    ]
    film[4] = a_picture(0.0, 9.0, entropy=0.9, shares=calm)
    film[9] = a_picture(50.0, 99.0, entropy=0.2, shares=rare)
    chosen = choose_for_labels(film, 3, strategy="ours", seed=0)
    assert sorted(place // 5 for place in chosen) == [0, 1, 2]
    five = choose_for_labels(film, 5, strategy="ours", seed=0)
    assert {4, 9} <= set(five), "what is left badly covered costs most where doubt or rarity is"


def test_ann_04_a_label_is_nowhere_in_the_question() -> None:
    assert set(Unlabelled.__slots__) == {"entropy", "class_shares", "features"}


def test_ann_04_bad_questions_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no 'best'"):
        choose_for_labels(some_pictures(3), 1, strategy="best", seed=0)
    with pytest.raises(ShapeError, match="features"):
        choose_for_labels([a_picture(1.0), a_picture(1.0, 2.0)], 1, strategy="ours", seed=0)
    with pytest.raises(ShapeError, match="picture 1"):
        odd = a_picture(1.0, entropy=float("nan"))
        choose_for_labels([a_picture(1.0), odd], 1, strategy="ours", seed=0)
