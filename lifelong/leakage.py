"""Leakage between splits: does a picture that examines also train, perhaps in other clothes?

Two pictures are the same when their pixels are, and nearly the same when one can be laid over the
other: mirrored or not, with edges cut off by a few percent, resized, encoded again, brighter or
darker. What decides is the correlation of their details after the best alignment; the general
layout is left out, since every street has sky above and road below.

A still camera takes nearly equal pictures, too. They leak as much as a copy does, and count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.records.ids import sha256_hex

# Correlation of details from which two pictures are nearly the same; docs/learning.md tells how
# it was measured.
NEAR = 0.75

_WIDTH, _HEIGHT = 128, 96  # pixels of the kept grey picture
_COARSE, _COARSE_REACH = (24, 18), 3  # where likely pairs are looked for: size, reach of a mean
_FINE, _FINE_REACH = (64, 48), 4  # where details are compared
_LIKELY = 0.55  # correlation of the coarse pictures from which a pair is looked at closely
_CLOSELY = 3  # pairs looked at closely for each training picture, the likeliest
_HOPELESS = 0.2  # correlation at the start from which no better alignment makes a pair
_MOST_CUT = 0.14  # of width or height, at each edge
_STEPS = (0.03, 0.015, 0.0075)  # of width or height, of the search for the best alignment
_FAINT = 4.0  # grey levels: weaker detail than this is not blown up to full strength

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of width and height
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_WINDOWS: tuple[Box, ...] = (
    _WHOLE,
    *(
        (x * cut, y * cut, 1 - cut + x * cut, 1 - cut + y * cut)
        for cut in (0.04, 0.08, 0.12)
        for x, y in ((0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    ),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of a picture to compare it with others."""

    pixels_sha256: str  # of the decoded pixels: equal however they are stored
    grey: NDArray[np.uint8]  # (96, 128)


@dataclass(frozen=True, slots=True)
class Leak:
    """A training picture that is, or nearly is, a picture of a hold-out."""

    train: str  # name of the training picture
    holdout: str  # name of the hold-out's picture
    likeness: float  # correlation of details, `NEAR` .. 1; 1 for equal ones

    def __str__(self) -> str:
        how = "is" if self.likeness >= 1.0 else f"is nearly ({self.likeness:.2f})"
        return f"{self.train} {how} {self.holdout}"


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of a picture, (H, W, 3) uint8 RGB of any size."""
    picture = Image.fromarray(image)
    factor = min(picture.width // (2 * _WIDTH), picture.height // (2 * _HEIGHT))
    small = picture.reduce(factor) if factor > 1 else picture
    grey = small.convert("L").resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
    shape = f"{image.shape}".encode()
    return Fingerprint(
        pixels_sha256=sha256_hex(shape + np.ascontiguousarray(image).tobytes()),
        grey=np.asarray(grey, dtype=np.uint8),
    )


def find_leaks(
    train: Mapping[str, Fingerprint],
    holdouts: Mapping[str, Fingerprint],
    *,
    near: float = NEAR,
) -> list[Leak]:
    """Training pictures that a hold-out holds as well, in the order of `train`, each once.

    Args:
        train, holdouts: pictures by name.
        near: correlation of details from which pictures are nearly the same.

    Returns:
        For each leaking training picture the hold-out's picture that it is most like.
    """
    if not train or not holdouts:
        return []
    twins: dict[str, str] = {}
    for name, held in holdouts.items():
        twins.setdefault(held.pixels_sha256, name)
    names = list(holdouts)
    views = _Views([held.grey for held in holdouts.values()])
    found = []
    for name, trained in train.items():
        if trained.pixels_sha256 in twins:
            found.append(Leak(name, twins[trained.pixels_sha256], 1.0))
            continue
        alike, place = views.closest(trained.grey)
        if alike >= near:
            found.append(Leak(name, names[place], min(alike, 0.9999)))
    return found


@dataclass(frozen=True, slots=True)
class _Pair:
    """How a training picture may lie over one of a hold-out."""

    likely: float  # correlation of the coarse pictures
    place: int  # of the hold-out's picture
    mirrored: bool
    cut_holdout: bool  # the hold-out's picture is the larger one; else the training picture
    window: Box  # of the larger one


class _Views:
    """Coarse pictures of a hold-out, whole and with edges cut off, to find likely pairs among."""

    def __init__(self, greys: Sequence[NDArray[np.uint8]]) -> None:
        self._greys = greys
        self._whole = np.stack([_coarse(grey, _WHOLE) for grey in greys])  # (E, 432)
        cut = [_coarse(grey, window) for grey in greys for window in _WINDOWS]
        self._cut = np.stack(cut).reshape(len(greys), len(_WINDOWS), -1)

    def closest(self, grey: NDArray[np.uint8]) -> tuple[float, int]:
        """Likeness and place of the hold-out's picture that a picture is most like; -1 when
        none is likely at all."""
        turned = {False: grey, True: np.ascontiguousarray(grey[:, ::-1])}
        best = (-1.0, 0)
        for pair in self._likely(turned):
            large, small = turned[pair.mirrored], self._greys[pair.place]
            if pair.cut_holdout:
                large, small = small, large
            best = max(best, (_aligned(large, small, pair.window), pair.place))
        return best

    def _likely(self, turned: Mapping[bool, NDArray[np.uint8]]) -> list[_Pair]:
        """The likeliest pairs, each hold-out picture once, the likeliest first."""
        best: dict[int, _Pair] = {}
        for mirrored, grey in turned.items():
            cut = np.stack([_coarse(grey, window) for window in _WINDOWS])  # (W, 432)
            for cut_holdout, scores in (
                (True, self._cut @ cut[0]),  # (E, W)
                (False, self._whole @ cut.T),
            ):
                for place, window in enumerate(scores.argmax(axis=1)):
                    score = float(scores[place, window])
                    if score >= _LIKELY and (place not in best or best[place].likely < score):
                        best[place] = _Pair(score, place, mirrored, cut_holdout, _WINDOWS[window])
        return sorted(best.values(), key=lambda pair: (-pair.likely, pair.place))[:_CLOSELY]


def _aligned(large: NDArray[np.uint8], small: NDArray[np.uint8], start: Box) -> float:
    """Correlation of the details of two grey pictures, at the best window of the larger one.

    Each edge of the window moves for itself, by ever smaller steps, while that helps.
    """
    picture = Image.fromarray(large)
    wanted = _details(_window(Image.fromarray(small), _WHOLE, _FINE), _FINE_REACH)

    def score(window: Box) -> float:
        return float(_details(_window(picture, window, _FINE), _FINE_REACH) @ wanted)

    best, window = max((score(box), box) for box in {start, _WHOLE})
    if best < _HOPELESS:
        return best
    for step in _STEPS:
        moved = True
        while moved:
            moved = False
            for tried in _neighbours(window, step):
                found = score(tried)
                if found > best:
                    best, window, moved = found, tried, True
    return best


def _neighbours(window: Box, step: float) -> Iterator[Box]:
    """Windows with one edge moved by a step, within the picture and not too small."""
    for edge in range(4):
        for by in (step, -step):
            moved = min(1.0, max(0.0, window[edge] + by))
            if (moved if edge < 2 else 1.0 - moved) <= _MOST_CUT:
                changed = list(window)
                changed[edge] = moved
                yield changed[0], changed[1], changed[2], changed[3]


def _coarse(grey: NDArray[np.uint8], window: Box) -> NDArray[np.float32]:
    return _details(_window(Image.fromarray(grey), window, _COARSE), _COARSE_REACH)


def _window(picture: Image.Image, window: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    left, top, right, bottom = window
    box = (left * _WIDTH, top * _HEIGHT, right * _WIDTH, bottom * _HEIGHT)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=box), dtype=np.float32)


def _details(grey: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """What a picture shows beside its layout: local mean taken off, local contrast made equal.

    Returns:
        (pixels,), float32, mean 0 and length 1, so that a product of two is their correlation;
        zeros for a picture without any detail.
    """
    detail = grey - _local_mean(grey, reach)
    detail = detail / (np.sqrt(_local_mean(detail * detail, reach)) + _FAINT)
    centred: NDArray[np.float32] = (detail - detail.mean()).ravel().astype(np.float32)
    length = np.float32(np.sqrt((centred * centred).sum()))
    return centred / length if length > 0 else centred


def _local_mean(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Mean over a square of 2 · reach + 1 pixels; beyond the edge the edge goes on."""
    for _ in range(2):
        padded = np.pad(values, ((reach + 1, reach), (0, 0)), mode="edge").astype(np.float64)
        sums = padded.cumsum(axis=0)
        values = ((sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)).T
    return values.astype(np.float32)
