"""What a few looks say for certain about a share: bounds of a mean, and an alarm when it rises.

The share of wrong pixels of a picture lies within 0 .. 1, its distribution is nobody's guess, and
the pixels of one picture err together: a rule for coins (Clopper & Pearson 1934) would count half a
million pixels as half a million looks. Here a picture is one look. The bounds are those of betting
(Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting"): whoever
bets against a mean that is true hardly ever multiplies his money by 20, however many looks there
are and whenever one stops looking. So they may be asked again after each picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError

Floats = NDArray[np.float64]

_STEPS = 40  # of the bisection: far below what anyone prints
# What share of the money is set on each look. A small share wins slowly and survives outliers.
_ON_LESS = (0.5, 1.0)
_ON_MORE = (0.05, 0.15, 0.5)


def upper_bound(values: Sequence[float], confidence: float = 0.95) -> float:
    """The mean that lies behind the values is at most this, with that confidence; 1 for none.

    For each m the capital of a bet on "the mean is below m" is the mean over g of
    Π_i (1 + g · (m - x_i) / (1 - m)); the bound is the smallest m at which it passes
    1 / (1 - confidence).

    Raises:
        ShapeError: a value outside 0 .. 1.

    >>> round(upper_bound([0.0] * 100), 4), round(upper_bound([0.0] * 400), 4)
    (0.0347, 0.0088)
    """
    x = _checked(values)
    if not x.size:
        return 1.0

    def money(mean: float) -> float:
        bets = [np.log(np.maximum(1.0 + g * (mean - x) / (1.0 - mean), 0.0)) for g in _ON_LESS]
        return _together(bets)

    enough, low, high = -float(np.log(1.0 - confidence)), 0.0, 1.0
    with np.errstate(divide="ignore"):
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            low, high = (low, middle) if money(middle) >= enough else (middle, high)
    return high


def lower_bound(values: Sequence[float], confidence: float = 0.95) -> float:
    """The mean that lies behind the values is at least this, with that confidence; 0 for none.

    As `upper_bound`, with bets on "the mean is above m": Π_i (1 + g · (x_i / m - 1)).

    Raises:
        ShapeError: a value outside 0 .. 1.

    >>> round(lower_bound([0.1] * 10), 3), lower_bound([0.0] * 10)
    (0.05, 0.0)
    """
    x = _checked(values)
    enough, low, high = -float(np.log(1.0 - confidence)), 0.0, 1.0
    if not x.any():
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        bets = [np.log(1.0 + g * (x / middle - 1.0)) for g in _ON_MORE]
        low, high = (middle, high) if _together(bets) >= enough else (low, middle)
    return low


def alarm_level(values: Sequence[float], limit: float) -> float:
    """How strongly the newest values say that their mean has risen above `limit`.

    A bet on "the mean is above the limit" begins anew with every look, and all of them go on; the
    level is their money together (the Shiryaev-Roberts e-detector of Shin, Ramdas & Rinaldo 2023):
    M_n = (M_{n-1} + 1) · (1 + g · (x_n / limit - 1)), mean over g. While the mean stays within the
    limit, it takes at least L looks on average until M passes L, and after a change a long good
    past does not hide it.

    Args:
        values: oldest first, 0 .. 1.
        limit: above 0.

    Raises:
        ShapeError: a value outside 0 .. 1.

    >>> good, bad = [0.005] * 50, [0.1] * 8
    >>> alarm_level(good, 0.02) < 20 < 200 < alarm_level(good + bad, 0.02)
    True
    """
    money = np.zeros(len(_ON_MORE))
    shares = np.array(_ON_MORE)
    for value in _checked(values):
        money = (money + 1.0) * (1.0 + shares * (value / limit - 1.0))
    return float(money.mean())


def _together(bets: Sequence[Floats]) -> float:
    """Logarithm of the mean money of several bettors, each given by the logs of his looks."""
    sums = np.array([bet.sum() for bet in bets])
    best = sums.max()
    if not np.isfinite(best):
        return float(best)
    return float(best + np.log(np.mean(np.exp(sums - best))))


def _checked(values: Sequence[float]) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not ((x >= 0.0) & (x <= 1.0)).all():
        raise ShapeError("bounds of a mean need numbers from 0 to 1")
    return x
