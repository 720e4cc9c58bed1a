"""Drift: do the frames of the last while still look like what the running model was trained for?

Three monitors, each one number a frame, compared with what the bundle's manifest says was usual
on pictures held back from training:

* `novelty`: how far the picture is from everything known; drift of the input
* `entropy`: how unsure the model is; drift of the prediction
* `classes`: how far the frame's shares of classes are from the usual ones; drift of the prediction

The measure is the population stability index over bins cut at the reference's own quantiles,

    PSI = Σ (p - r) ln(p / r);   p, r = shares of the window and of the reference in a bin,

0 when nothing moved; 0.25 is the usual alarm. By chance alone PSI reaches about
(1/n + 1/m) x² for n frames and m reference pictures, x² of bins - 1 degrees of freedom
(Yurdakul & Naranjo 2020, "Statistical properties of the population stability index"), so that a
small window or a small reference would cry wolf: an alarm needs more than that, too.

Every frame counts, whatever the node kept of them: hard examples alone would look like drift.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lifelong.hard_examples import Verdict
from lifelong.model_bundle import BundleManifest
from lifelong.novelty import HALF_WAY, novelty_of
from lifelong.records.pixels import Prediction

FEWEST_FRAMES = 30  # before anything is said

# One window in a million of unchanged frames may raise an alarm: a node looks at thousands.
_Z_OF_CHANCE = 4.753424

# Frames that follow each other are no independent looks. A scene that stands still for longer
# than so many frames, and is unusual, does count as drift.
_LONGEST_MEMORY = 25

# A bin of which the reference saw fewer pictures than this is joined with its neighbour.
_FEWEST_IN_BIN = 2.0
# Held back at the least by bundles that do not say how many pictures their quantiles are of.
_UNTOLD_PICTURES = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """What was usual for one monitor; bins lie between the edges and beyond both ends."""

    edges: tuple[float, ...]  # rising
    shares: tuple[float, ...]  # one more than edges, sum to 1
    pictures: int


@dataclass(slots=True)
class _Monitor:
    """The last values of one monitor, and what they are compared with."""

    reference: Reference
    values: deque[float] = field(default_factory=deque)


def class_shift(shares: Mapping[int, float], usual: Mapping[int, float]) -> float:
    """Hellinger's distance between two sets of class shares, 0 (equal) .. 1 (nothing in common).

    >>> class_shift({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}), class_shift({0: 1.0}, {1: 1.0})
    (0.0, 1.0)
    """
    overlap = sum(
        math.sqrt(max(share, 0.0) * max(usual.get(class_id, 0.0), 0.0))
        for class_id, share in shares.items()
    )
    return math.sqrt(min(max(1.0 - overlap, 0.0), 1.0))


def reference_from(quantiles: Mapping[str, float], pictures: int) -> Reference | None:
    """Bins between quantiles by name ("0.50" …); None when they do not make two bins.

    Bins that few reference pictures fell into are joined: their shares are guesses.
    """
    told = sorted((float(name), value) for name, value in quantiles.items())
    fewest = _FEWEST_IN_BIN / max(pictures, 1)
    edges: list[float] = []
    shares: list[float] = []
    below = 0.0
    for share, value in told:
        if not math.isfinite(value) or share - below < fewest or 1.0 - share < fewest:
            continue
        if edges and value <= edges[-1]:  # the same value again: it belongs to the bin below
            shares[-1] += share - below
        else:
            edges.append(value)
            shares.append(share - below)
        below = share
    if not edges:
        return None
    return Reference(tuple(edges), (*shares, 1.0 - below), max(pictures, 1))


def stability_index(values: Iterable[float], reference: Reference) -> float:
    """PSI of values against a reference, 0 .. about 10; half a value is added to each bin.

    >>> round(stability_index([0.9] * 100, Reference((0.5,), (0.5, 0.5), 100)), 2)
    2.62
    """
    places = np.searchsorted(reference.edges, np.fromiter(values, np.float64), side="left")
    bins = len(reference.shares)
    counts = np.bincount(places, minlength=bins) + 0.5
    now, then = counts / counts.sum(), np.asarray(reference.shares)
    return float(((now - then) * np.log(now / then)).sum())


def index_by_chance(values: Iterable[float], reference: Reference) -> float:
    """The PSI that one window in a million of unchanged frames reaches.

    Values in a row are alike: n of them count as n (1 - r) / (1 + r) with r the correlation of
    neighbours, as of a first-order autoregressive process.
    """
    frames = _independent(np.fromiter(values, np.float64))
    freedom = len(reference.shares) - 1
    spread = 2.0 / (9.0 * freedom)
    # Wilson & Hilferty's approximation of the quantile of x².
    chance = freedom * (1.0 - spread + _Z_OF_CHANCE * math.sqrt(spread)) ** 3
    return (1.0 / frames + 1.0 / reference.pictures) * chance


class DriftMonitor:
    """What has drifted on one device since the running model was trained.

    Args of the constructor: `window` is in frames; `alarm` is the PSI from which drift is told.
    """

    def __init__(self, window: int, alarm: float) -> None:
        self._window = max(window, 1)
        self._alarm = alarm
        self._shares: Mapping[int, float] = {}
        self._monitors: dict[str, _Monitor] = {}
        self._frames = 0

    def use(self, manifest: BundleManifest) -> None:
        """Another model runs: start over with what was usual for it."""
        known = manifest.familiarity
        pictures = known.pictures or _UNTOLD_PICTURES
        half_way = known.distance_quantiles.get(HALF_WAY, math.nan)
        quantiles: dict[str, Mapping[str, float]] = {
            "novelty": {q: novelty_of(d, half_way) for q, d in known.distance_quantiles.items()},
            "entropy": manifest.score_quantiles.get("entropy", {}),
            "classes": known.class_shift_quantiles,
        }
        references = {name: reference_from(cut, pictures) for name, cut in quantiles.items()}
        self._shares = known.class_shares
        self._monitors = {
            name: _Monitor(reference, deque(maxlen=self._window))
            for name, reference in references.items()
            if reference is not None
        }
        self._frames = 0

    def see(self, prediction: Prediction, verdict: Verdict | None) -> None:
        """Count one frame; the verdict spares a second look at its pixels."""
        self._frames = min(self._frames + 1, self._window)
        for name, monitor in self._monitors.items():
            value = self._value(name, prediction, verdict)
            if value is not None:
                # What is no number is as far off as can be.
                monitor.values.append(value if math.isfinite(value) else math.inf)

    def statistics(self) -> dict[str, float]:
        """`frames` in the window, and the PSI of each monitor that has seen enough."""
        indices = {
            f"{name}_psi": round(stability_index(monitor.values, monitor.reference), 4)
            for name, monitor in self._monitors.items()
            if len(monitor.values) >= min(FEWEST_FRAMES, self._window)
        }
        return {"frames": float(self._frames), **indices}

    def alarms(self) -> dict[str, str]:
        """Which monitors say that something changed, in words, by name; empty on a usual day."""
        told = {}
        for name, monitor in self._monitors.items():
            values, reference = monitor.values, monitor.reference
            if len(values) < FEWEST_FRAMES:
                continue
            index = stability_index(values, reference)
            if index >= max(self._alarm, index_by_chance(values, reference)):
                told[name] = (
                    f"{_WORDS[name]}: stability index {index:.2f} over {len(values)} frames, "
                    f"alarm at {self._alarm:g}"
                )
        return told

    def _value(self, name: str, prediction: Prediction, verdict: Verdict | None) -> float | None:
        if name == "novelty":
            return prediction.novelty
        if name == "entropy":
            if verdict is not None and "entropy" in verdict.scores:
                return verdict.scores["entropy"]
            return float(prediction.entropy.mean()) if prediction.entropy.size else 0.0
        return class_shift(_class_shares(prediction, verdict), self._shares)


_WORDS = {
    "novelty": "pictures are not what the model was trained for",
    "entropy": "the model is not as sure as it used to be",
    "classes": "classes have other shares of the picture than usual",
}


def _class_shares(prediction: Prediction, verdict: Verdict | None) -> dict[int, float]:
    if verdict is not None and verdict.regions:
        areas = {region.class_id: region.area for region in verdict.regions}
    else:
        counts = np.bincount(prediction.mask.ravel())
        areas = {int(class_id): int(counts[class_id]) for class_id in np.flatnonzero(counts)}
    pixels = max(sum(areas.values()), 1)
    return {class_id: area / pixels for class_id, area in areas.items()}


def _independent(values: NDArray[np.float64]) -> float:
    """How many independent looks a row of values is worth, 1 .. their number."""
    finite = np.where(np.isfinite(values), values, np.finfo(np.float32).max)
    before, after = finite[:-1], finite[1:]
    memory = float(_LONGEST_MEMORY)
    spread = float(before.std() * after.std())
    if spread > 0.0:
        together = float(((before - before.mean()) * (after - after.mean())).mean()) / spread
        memory = (1.0 + together) / max(1.0 - together, 1e-9)
    return max(len(values) / min(max(memory, 1.0), _LONGEST_MEMORY), 1.0)
