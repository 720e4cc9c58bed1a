"""Bounds of a mean share, PRE-20: they hold as often as they say, and the alarm hears a change."""

import numpy as np
import pytest

from lifelong.errors import ShapeError
from lifelong.judging.error_bounds import alarm_level, lower_bound, upper_bound


def shares_of(mean: float, count: int, seed: int) -> list[float]:
    """Wrong shares as pictures have them: mostly small, now and then a large one."""
    random = np.random.default_rng(seed)
    large = random.random(count) < mean / 2
    return [float(one) for one in np.where(large, 1.0, random.uniform(0.0, mean, count))]


def test_pre_20_bounds_hold_at_least_as_often_as_they_say() -> None:
    mean, tries = 0.05, 300
    drawn = [shares_of(mean, 60, seed) for seed in range(tries)]
    assert sum(upper_bound(values) < mean for values in drawn) <= 0.05 * tries
    assert sum(lower_bound(values) > mean for values in drawn) <= 0.05 * tries


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.3])
def test_pre_20_bounds_lie_around_the_mean_and_close_in(mean: float) -> None:
    few, many = [mean] * 50, [mean] * 500
    assert lower_bound(few) <= lower_bound(many) <= mean <= upper_bound(many) < upper_bound(few)


def test_pre_20_bounds_of_nothing_promise_nothing() -> None:
    assert (lower_bound([]), upper_bound([])) == (0.0, 1.0)
    assert upper_bound([1.0]) == pytest.approx(1.0)


def test_pre_20_the_alarm_hears_a_source_go_bad_after_a_long_good_time() -> None:
    good = [0.004] * 300
    assert alarm_level(good, 0.02) < 30
    bad_until = next(n for n in range(1, 50) if alarm_level(good + [0.12] * n, 0.02) >= 200)
    assert bad_until <= 5


def test_pre_20_the_alarm_is_rarely_false_when_the_limit_is_kept() -> None:
    """At the limit itself it sounds, on average, after 200 looks at the earliest."""
    waits = []
    for seed in range(40):
        values = shares_of(0.02, 1500, seed)
        mean = float(np.mean(values))
        values = [min(1.0, value * 0.02 / mean) for value in values]
        waits.append(
            next((n for n in range(25, 1500, 25) if alarm_level(values[:n], 0.02) >= 200), 1500)
        )
    assert np.mean(waits) > 200


@pytest.mark.parametrize("values", [[-0.1], [1.1], [float("nan")]])
def test_pre_20_what_is_no_share_is_refused(values: list[float]) -> None:
    for bound in (upper_bound, lower_bound):
        with pytest.raises(ShapeError):
            bound(values)
