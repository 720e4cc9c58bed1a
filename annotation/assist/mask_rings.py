"""A mask as polygons: exact, holes kept, or with fewer corners and a bound on how far they run.

A corner of the mask's edge is drawn a little inside the painted pixel beside it: 0.1 pixels from
that pixel's left or upper side, 0.3 from its right or lower one, and on the picture's own border
exactly there. So whichever way a reader looks, it finds the same pixels: who samples the middle of
each pixel (pycocotools, a canvas) finds them inside, who rounds down to whole pixels and paints
the outline too (OpenCV, Pillow, `annotation/polygons.py`) stays on them, and no rounding of the
percent carries a corner across a pixel's side. A single pixel still is a polygon with an area.

Holes are tied in by bridges, and run the other way round: Label Studio has no holes, and a ring
wound the same way would be drawn filled.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Mask
from annotation.bridges import bridged, joined
from annotation.outlines import Outline, Ring, keep_corners, outlines_of, simplified
from annotation.polygons import patch_of

TENTHS = 10  # rings are counted in tenths of a pixel, which are whole numbers
_NEAR_SIDE = 1  # tenths of a pixel, from its left or upper side
_FAR_SIDE = 7

Points = NDArray[np.float64]  # (N, 2), x and y in percent of the picture


def polygons_from_mask(mask: Mask, *, tolerance_px: float) -> list[Points]:
    """One polygon a connected piece, large pieces first.

    Args:
        mask: (H, W), bool.
        tolerance_px: how far, in pixels, a polygon's rings may run from the exact ones, and these
            from it (symmetric Hausdorff distance of the lines); 0: paints to exactly this mask.

    Returns:
        (N, 2) each, percent; none of an empty mask.
    """
    height, width = mask.shape
    pieces = [
        Outline(
            exact_ring(outline.outer, height, width),
            tuple(exact_ring(hole, height, width) for hole in outline.holes),
        )
        for outline in outlines_of(patch_of(mask), connectivity=4)
    ]
    pieces.sort(key=lambda piece: -int(np.ptp(piece.outer, axis=0).prod()))
    rings = [_one_ring(piece, tolerance_px, height, width) for piece in pieces]
    # Three decimals are 0.04 pixels of a picture 8,000 wide: less than a corner's distance to a
    # pixel's side.
    decimals = 3 if max(height, width) <= 8000 else 5
    scale = 100 / (TENTHS * np.array([width, height], dtype=np.float64))
    return [np.round(ring * scale, decimals) for ring in rings]


def exact_ring(ring: Ring, height: int, width: int) -> Ring:
    """A ring of pixel corners (`annotation/outlines.py`) drawn inside the pixels it runs along.

    Returns:
        (N, 2), int64, x and y in tenths of a pixel; every edge still is level or upright.
    """
    arriving = np.sign(ring - np.roll(ring, 1, axis=0))
    leaving = np.roll(arriving, -1, axis=0)
    # What is painted lies at the right hand. Turning right, the ring goes around one pixel;
    # turning left, around an empty one: the pixel across the corner is the painted one then.
    turn = arriving[:, :1] * leaving[:, 1:] - arriving[:, 1:] * leaving[:, :1]
    towards = (leaving - arriving) * turn
    drawn = ring * TENTHS + np.where(towards > 0, _NEAR_SIDE, _FAR_SIDE - TENTHS)
    border = np.array([width, height])
    drawn = np.where(ring == 0, 0, drawn)
    return np.asarray(np.where(ring == border, border * TENTHS, drawn), dtype=np.int64)


def thinned_ring(ring: Ring, tolerance: float, height: int, width: int) -> Ring:
    """Fewer corners (`annotation/outlines.py`); what reaches the picture's border still does.

    Args:
        ring: tenths of a pixel, as `exact_ring` gives it.
        tolerance: tenths of a pixel.
    """
    border = np.array([width, height]) * TENTHS
    fixed = np.flatnonzero(((ring == 0) | (ring == border)).any(axis=1))
    if fixed.size < 2:
        return simplified(np.roll(ring, -int(fixed.sum()), axis=0), tolerance)  # the first stays
    turned = np.roll(ring, -int(fixed[0]), axis=0)
    stops = (fixed - fixed[0]).tolist()
    if len(stops) == 2:  # and what is farthest from the line between them, for three are needed
        along, away = turned[stops[1]] - turned[0], turned - turned[0]
        stops.append(int(np.argmax(np.abs(along[0] * away[:, 1] - along[1] * away[:, 0]))))
    stops = [*sorted(stops), len(ring)]
    keep = np.zeros(len(ring) + 1, dtype=np.bool_)
    keep[stops] = True
    closed = np.concatenate([turned, turned[:1]])
    keep_corners(closed, keep, list(itertools.pairwise(stops)), tolerance)
    return np.asarray(turned[keep[:-1]], dtype=np.int64)


def _one_ring(piece: Outline, tolerance_px: float, height: int, width: int) -> Ring:
    if tolerance_px <= 0:
        return bridged(piece)
    thin = [
        thinned_ring(ring, tolerance_px * TENTHS, height, width)
        for ring in (piece.outer, *piece.holes)
    ]
    return joined(thin) if len(thin) > 1 else thin[0]
