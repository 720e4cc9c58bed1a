"""Where an annotation is probably wrong: regions that a model confidently takes for something else.

Confident learning (Northcutt, Jiang & Chuang 2021) pixel by pixel, and regions from the pixels. The
model must not have learned from the annotation that it doubts: the incumbent of a round, or the
one fold that was kept from it. Seams of one or two pixels are nobody's error and are passed over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.regions import Pieces, connected_pieces

Floats = NDArray[np.float64]
Mask = NDArray[np.uint8]
Shares = NDArray[np.float32]

SEAM = 2  # pixels: what is nowhere wider than twice this is a seam
SMALLEST = 16  # pixels; less is not worth a person's look
CONFIDENT = 0.25  # of a region's pixels; fewer are a doubt, not a contradiction
_UNSEEN = 0.9  # the threshold of a class that no annotation holds


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectRegion:
    """A connected piece of an annotation that the model takes for another class."""

    class_id: int  # as annotated
    taken_for: int  # by the model
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels
    score: float  # 0 .. 1, mean of p(taken for) - p(annotated) over its pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What is suspected in one picture."""

    regions: tuple[SuspectRegion, ...]  # the most suspicious first
    places: NDArray[np.uint16]  # (H, W): 0 = unsuspected, n = regions[n - 1]


class ClassThresholds:
    """How sure the model usually is of each class where people say that it is that class.

    t_c = mean of p_c over the pixels annotated c. A model that is shy about a class need be no
    surer than usual to contradict with it, one that is bold must be as bold as usual.
    """

    def __init__(self, classes: int) -> None:
        self._sums = np.zeros(classes)
        self._pixels = np.zeros(classes)

    def add(self, shares: Shares, mask: Mask) -> None:
        """One picture.

        Args:
            shares: (C, H, W), float32, sums to 1 over C.
            mask: (H, W), uint8, the annotation.

        Raises:
            ShapeError: sizes or numbers of classes differ.
        """
        _check(shares, mask, len(self._sums))
        known = mask < len(self._sums)
        own = np.take_along_axis(shares, np.where(known, mask, 0)[None].astype(np.intp), axis=0)[0]
        ids = mask[known]
        self._sums += np.bincount(ids, weights=own[known], minlength=len(self._sums))
        self._pixels += np.bincount(ids, minlength=len(self._sums))

    @property
    def values(self) -> Floats:
        """(C,), 0 .. 1; a class that no annotation holds must be nearly certain."""
        means = self._sums / np.maximum(self._pixels, 1.0)
        return np.where(self._pixels > 0, means, _UNSEEN)


def suspects(shares: Shares, mask: Mask, thresholds: Floats) -> Suspects:
    """Regions of an annotation that are probably wrong.

    A pixel annotated y for which the model says j = argmax p ≠ y contradicts; it does so
    confidently when p_j ≥ t_j (Northcutt et al. 2021, the confident joint). Contradicting pixels
    with equal y and j that touch are one region, suspected when at least CONFIDENT of them do so
    confidently: an object is seen whole, also where its rim is less sure. Its score is the mean of
    p_j - p_y.

    Args:
        shares: (C, H, W), float32, sums to 1 over C, by a model that did not learn from `mask`.
        mask: (H, W), uint8, the annotation; 255 is never suspected.
        thresholds: (C,), of `ClassThresholds`.

    Raises:
        ShapeError: sizes or numbers of classes differ.
    """
    _check(shares, mask, len(thresholds))
    classes = len(thresholds)
    other = shares.argmax(axis=0)
    their = np.take_along_axis(shares, other[None], axis=0)[0]
    known = mask < classes
    own = np.take_along_axis(shares, np.where(known, mask, 0)[None].astype(np.intp), axis=0)[0]
    wrong = known & (other != mask)
    # A region has one annotated and one other class: number the pairs, and their pieces.
    pairs = np.where(wrong, 1 + mask.astype(np.int64) * classes + other, 0)
    pieces = connected_pieces(_numbered(pairs))
    lead = np.where(wrong, their - own, 0.0)
    return _suspected(pieces, mask, other, lead, their >= thresholds[other])


def most_suspicious(found: Sequence[Suspects], budget: int) -> list[tuple[int, SuspectRegion]]:
    """Of all pictures, the `budget` regions to look at first, each with its picture's place.

    By score times the root of the area: a large region outranks a speck of which the model is a
    little surer, but not a hundredfold.
    """
    listed = [(place, region) for place, one in enumerate(found) for region in one.regions]
    return sorted(listed, key=lambda entry: (-weight(entry[1]), entry[0]))[:budget]


def weight(region: SuspectRegion) -> float:
    """What a region counts when regions are ranked: score · √area."""
    return region.score * float(np.sqrt(region.area))


def suspicion(regions: Iterable[SuspectRegion]) -> float:
    """What a picture counts when pictures are ranked: that of its worst region, 0 without one."""
    return max((weight(region) for region in regions), default=0.0)


def without_suspects(mask: Mask, found: Suspects) -> Mask:
    """The annotation with nobody knowing (255) where it is suspected; (H, W), uint8."""
    unknown: Mask = np.where(found.places > 0, np.uint8(IGNORE_INDEX), mask)
    return unknown


def _numbered(pairs: NDArray[np.int64]) -> Mask:
    """The 255 commonest of the numbers above 0 as 1 to 255, the others as 0."""
    values, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    ranked = np.argsort(-np.where(values > 0, counts, 0), kind="stable")[:255]
    names = np.zeros(values.size, dtype=np.uint8)
    names[ranked] = np.arange(1, ranked.size + 1)
    names[values == 0] = 0
    numbered: Mask = names[inverse].reshape(pairs.shape)
    return numbered


def _suspected(
    pieces: Pieces,
    mask: Mask,
    other: NDArray[np.int64],
    lead: NDArray[np.float64],
    confident: NDArray[np.bool_],
) -> Suspects:
    """The contradicting pieces (class id above 0), but for seams, specks and mere doubts."""
    if not len(pieces):
        return Suspects(regions=(), places=np.zeros(mask.shape, dtype=np.uint16))
    labels = pieces.labels.ravel()
    areas = np.bincount(labels, minlength=len(pieces))
    scores = np.bincount(labels, weights=lead.ravel(), minlength=len(pieces)) / areas
    sure = np.bincount(labels, weights=confident.ravel(), minlength=len(pieces)) / areas
    first = np.unique(labels, return_index=True)[1]
    thick = np.zeros(len(pieces), dtype=bool)
    thick[np.unique(pieces.labels[_inside(pieces.labels)])] = True
    is_one = (pieces.class_ids > 0) & (areas >= SMALLEST) & thick & (sure >= CONFIDENT)
    good = np.flatnonzero(is_one)
    rank = good[np.argsort(-scores[good] * np.sqrt(areas[good]), kind="stable")]
    boxes = pieces.boxes[rank].tolist()
    regions = tuple(
        SuspectRegion(
            class_id=int(mask.ravel()[first[piece]]),
            taken_for=int(other.ravel()[first[piece]]),
            area=int(areas[piece]),
            box=(box[0], box[1], box[2], box[3]),
            score=float(np.clip(scores[piece], 0.0, 1.0)),
        )
        for piece, box in zip(rank.tolist(), boxes, strict=True)
    )
    place_of = np.zeros(len(pieces), dtype=np.uint16)
    place_of[rank] = np.arange(1, len(rank) + 1)
    return Suspects(regions=regions, places=place_of[pieces.labels])


def _inside(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels whose whole neighbourhood of SEAM steps along rows and columns is the same piece."""
    inside = np.ones(labels.shape, dtype=bool)
    for axis in (0, 1):
        along, found = np.moveaxis(labels, axis, 0), np.moveaxis(inside, axis, 0)
        for step in range(1, SEAM + 1):
            same = along[step:] == along[:-step]
            found[step:] &= same
            found[:-step] &= same
    return inside


def _check(shares: Shares, mask: Mask, classes: int) -> None:
    if shares.ndim != 3 or shares.shape != (classes, *mask.shape):
        raise ShapeError(
            f"label errors: expected probabilities ({classes}, *{mask.shape}), got {shares.shape}"
        )
