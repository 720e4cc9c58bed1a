"""How sure a draft is of a region, as a share of right pixels that can be believed.

A raw score is a product of four numbers, each in 0 .. 1: the vote's margin, the mask's predicted
IoU and stability, and the semantic model's probability of the class. It orders regions well and
means nothing by itself; a calibration, fitted on pictures with known labels, turns it into the
share of pixels that such regions get right.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from lifelong.errors import ConfigError

Floats = NDArray[np.float64]
BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A rising curve from raw scores to shares of right pixels."""

    raw: tuple[float, ...]  # rising, 0 .. 1
    right: tuple[float, ...]  # never falling, 0 .. 1
    fitted_on: str = ""  # what, in words

    def applied(self, raw: NDArray[np.floating]) -> NDArray[np.float32]:
        """Raw scores of any shape to calibrated ones of that shape."""
        calibrated: NDArray[np.float32] = np.interp(raw, self.raw, self.right).astype(np.float32)
        return calibrated


IDENTITY = Calibration(raw=(0.0, 1.0), right=(0.0, 1.0), fitted_on="nothing: raw scores")


def fitted(raw: Floats, right: Floats, weights: Floats, *, fitted_on: str) -> Calibration:
    """The rising curve nearest to what was seen (isotonic regression, least squares).

    Args:
        raw: (N,) raw scores of regions.
        right: (N,) share of each region's pixels that had the right class.
        weights: (N,) e.g. pixels.

    Raises:
        ValueError: no region at all.
    """
    if not raw.size:
        raise ValueError("a calibration needs regions with known labels")
    order = np.argsort(raw, kind="stable")
    curve = isotonic_regression(right[order], weights=weights[order]).x
    # As few points as tell the curve: the middle of each of at most BINS equally heavy pieces.
    mass = np.cumsum(weights[order])
    cuts = np.searchsorted(mass, np.linspace(0, mass[-1], BINS + 1)[1:-1])
    points = [
        (float(np.average(raw[order][piece], weights=weights[order][piece])),
         float(np.average(curve[piece], weights=weights[order][piece])))
        for piece in np.split(np.arange(raw.size), cuts)
        if piece.size and weights[order][piece].sum() > 0
    ]  # fmt: skip
    xs = [0.0, *(x for x, _ in points), 1.0]
    ys = [points[0][1], *(y for _, y in points), points[-1][1]]
    return Calibration(
        raw=tuple(round(x, 5) for x in np.maximum.accumulate(xs).tolist()),
        right=tuple(round(y, 5) for y in np.maximum.accumulate(ys).tolist()),
        fitted_on=fitted_on,
    )


def expected_calibration_error(scores: Floats, right: Floats, weights: Floats) -> float:
    """Mean distance of what was said from what was seen, over ten equal bins (Guo et al. 2017).

    ECE = sum over bins of weight(bin) / weight * |mean score(bin) - mean right(bin)|
    """
    bins = np.minimum((scores * 10).astype(np.int64), 9)
    weight = np.bincount(bins, weights, 10)
    said = np.bincount(bins, weights * scores, 10)
    seen = np.bincount(bins, weights * right, 10)
    return float(np.abs(said - seen).sum() / max(weight.sum(), 1e-12))


def read_calibration(path: Path) -> Calibration:
    """A calibration that `written` wrote.

    Raises:
        ConfigError: no such file, or not a rising curve of scores.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        raw = tuple(float(x) for x in told["raw"])
        right = tuple(float(y) for y in told["right"])
        rising = all(a <= b for curve in (raw, right) for a, b in pairwise(curve))
        if (
            len(raw) != len(right)
            or len(raw) < 2
            or not rising
            or not 0 <= right[0] <= right[-1] <= 1
        ):
            raise ValueError("raw and right must be equally long and rise within 0 .. 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a calibration of drafts ({error}); write one with "
            "`python -m tools.calibrate_drafts`"
        ) from error
    return Calibration(raw=raw, right=right, fitted_on=str(told.get("fitted_on", "")))


def written(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON."""
    body = {
        "raw": calibration.raw, "right": calibration.right, "fitted_on": calibration.fitted_on
    }  # fmt: skip
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
