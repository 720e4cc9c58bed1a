"""Rings along pixel edges: exact there and back, and never farther off than was allowed."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from annotation.bridges import bridged, joined, thinned
from annotation.outlines import Outline, area_of, filled, outlines_of, simplified
from annotation.polygons import Patch, patch_of
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps

RING_WITH_TWO_HOLES = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 0, 1, 1, 0, 0, 1],
        [1, 1, 1, 1, 0, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ],
    dtype=np.bool_,
)


def painted_again(patch: Patch, height: int, width: int) -> NDArray[np.bool_]:
    frame = np.zeros((height, width), dtype=np.uint8)
    patch.paint(frame, 1)
    return frame.astype(np.bool_)


def every_ring(outline: Outline) -> list[NDArray[np.int64]]:
    return [outline.outer, *outline.holes]


def dense(ring: NDArray[np.int64], step: float = 0.02) -> NDArray[np.float64]:
    """Points all along a ring, at most `step` pixels apart."""
    points = []
    for start, stop in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        count = max(2, int(np.hypot(*(stop - start)) / step) + 1)
        points.append(start + np.linspace(0, 1, count)[:, None] * (stop - start))
    return np.concatenate(points)


def hausdorff(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    a, b = dense(one), dense(other)
    return float(max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max()))


def test_a_single_pixel_is_its_four_corners() -> None:
    painted = np.zeros((5, 9), dtype=np.bool_)
    painted[2, 7] = True
    (outline,) = outlines_of(patch_of(painted))
    assert {tuple(corner) for corner in outline.outer.tolist()} == {(7, 2), (8, 2), (8, 3), (7, 3)}
    assert outline.holes == () and area_of(outline.outer) == 1.0


def test_int_07_holes_are_rings_of_their_own_and_run_the_other_way() -> None:
    (outline,) = outlines_of(patch_of(RING_WITH_TWO_HOLES))
    assert area_of(outline.outer) == 28.0
    assert sorted(area_of(hole) for hole in outline.holes) == [-3.0, -1.0]


@pytest.mark.parametrize(("connectivity", "pieces", "holes"), [(4, 4, 0), (8, 1, 1)])
def test_pixels_that_touch_at_a_corner_are_as_many_pieces_as_was_asked(
    connectivity: int, pieces: int, holes: int
) -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.bool_)
    found = outlines_of(patch_of(diamond), connectivity=connectivity)  # type: ignore[arg-type]
    assert len(found) == pieces
    assert sum(len(outline.holes) for outline in found) == holes
    assert sum(area_of(ring) for outline in found for ring in every_ring(outline)) == 4.0


@pytest.mark.parametrize("connectivity", [4, 8])
@settings(deadline=None, max_examples=150)
@given(mask=label_maps(2))
def test_int_07_rings_fill_to_exactly_the_pixels_they_came_from(
    connectivity: int, mask: NDArray[np.uint8]
) -> None:
    painted = mask == 1
    found = outlines_of(patch_of(painted), connectivity=connectivity)  # type: ignore[arg-type]
    rings = [ring for outline in found for ring in every_ring(outline)]
    assert np.array_equal(painted_again(filled(rings, *mask.shape), *mask.shape), painted)
    assert sum(area_of(ring) for ring in rings) == np.count_nonzero(painted)
    pieces, _ = cv2.connectedComponents(painted.astype(np.uint8), connectivity=connectivity)
    assert len(found) == pieces - 1
    assert all(area_of(outline.outer) > 0 for outline in found)
    assert all(area_of(hole) < 0 for outline in found for hole in outline.holes)


@pytest.mark.parametrize("connectivity", [4, 8])
@settings(deadline=None, max_examples=150)
@given(mask=label_maps(2))
def test_int_07_a_bridged_ring_fills_to_the_same_pixels_as_ring_and_holes(
    connectivity: int, mask: NDArray[np.uint8]
) -> None:
    painted = mask == 1
    found = outlines_of(patch_of(painted), connectivity=connectivity)  # type: ignore[arg-type]
    keyholes = [bridged(outline) for outline in found]
    for outline, ring in zip(found, keyholes, strict=True):
        assert area_of(ring) == sum(area_of(one) for one in every_ring(outline))
        along = np.roll(ring, -1, axis=0) - ring
        assert (np.count_nonzero(along, axis=1) <= 1).all()  # bridges are level too
    assert np.array_equal(painted_again(filled(keyholes, *mask.shape), *mask.shape), painted)
    if keyholes:
        one = filled([joined(keyholes)], *mask.shape)
        assert np.array_equal(painted_again(one, *mask.shape), painted)


@settings(deadline=None, max_examples=60)
@given(mask=label_maps(2), tolerance=st.sampled_from([0.3, 0.75, 1.0, 1.5, 4.0]))
def test_int_24_a_simplified_ring_is_never_farther_off_than_the_tolerance(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    """INT-24: the symmetric Hausdorff distance, measured densely along both rings."""
    for outline in outlines_of(patch_of(mask == 1))[:3]:
        for ring in every_ring(outline)[:3]:
            fewer = simplified(ring, tolerance)
            assert len(fewer) >= 3
            assert {tuple(c) for c in fewer.tolist()} <= {tuple(c) for c in ring.tolist()}
            assert hausdorff(ring, fewer) <= tolerance + 0.02  # the step of the measurement


def test_int_24_flaw_b1_the_tolerance_is_pixels_along_both_sides_of_a_wide_picture() -> None:
    """B1: the peer thins in percent, so that x and y are treated differently."""
    y, x = np.mgrid[:60, :60]
    disc = (x - 30) ** 2 + (y - 30) ** 2 <= 25**2
    wide = np.zeros((64, 1024), dtype=np.bool_)
    high = np.zeros((1024, 64), dtype=np.bool_)
    wide[2:62, 900:960] = disc
    high[900:960, 2:62] = disc
    (in_wide,), (in_high,) = outlines_of(patch_of(wide)), outlines_of(patch_of(high))
    shifted = simplified(in_wide.outer, 1.5) - (900, 2)
    assert np.array_equal(shifted, simplified(in_high.outer, 1.5) - (2, 900))
    assert len(shifted) < len(in_wide.outer) / 3


@pytest.mark.parametrize("tolerance", [2.0, 100.0])
def test_int_24_a_ring_smaller_than_the_tolerance_keeps_three_corners(tolerance: float) -> None:
    painted = np.ones((1, 40), dtype=np.bool_)
    (outline,) = outlines_of(patch_of(painted))
    thin = simplified(outline.outer, tolerance)
    assert len(thin) == 3 and area_of(thin) > 0


def test_int_24_no_tolerance_changes_nothing() -> None:
    (outline,) = outlines_of(patch_of(RING_WITH_TWO_HOLES))
    assert simplified(outline.outer, 0.0) is outline.outer


def test_a_thinned_outline_keeps_its_holes() -> None:
    y, x = np.mgrid[:80, :120]
    ring = np.hypot(x - 60, y - 40)
    painted = (ring < 35) & (ring > 15)
    (outline,) = outlines_of(patch_of(painted))
    again = painted_again(filled([thinned(outline, 1.0)], 80, 120), 80, 120)
    assert not again[40, 60]
    both, either = np.count_nonzero(again & painted), np.count_nonzero(again | painted)
    assert both / either > 0.94


def test_filling_cuts_off_what_lies_outside_the_picture() -> None:
    ring = np.array([[-5.0, -5.0], [3.0, -5.0], [3.0, 20.0], [-5.0, 20.0]])
    assert painted_again(filled([ring], 4, 6), 4, 6).tolist() == [[True] * 3 + [False] * 3] * 4
    assert filled([ring + 100], 4, 6).area == 0
    assert filled([], 4, 6).area == 0 and outlines_of(filled([], 4, 6)) == []


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no ring"):
        joined([])


def test_int_07_real_masks_come_back_from_their_rings() -> None:
    for _, mask in camvid_masks()[:6]:
        for class_id in np.unique(mask[mask != 255]).tolist():
            painted = mask == class_id
            found = outlines_of(patch_of(painted))
            keyholes = [bridged(outline) for outline in found]
            again = painted_again(filled([joined(keyholes)], *mask.shape), *mask.shape)
            assert np.array_equal(again, painted)
