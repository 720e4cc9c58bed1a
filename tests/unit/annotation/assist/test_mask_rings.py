"""Polygons of a mask: exact for every reader, holes kept, corners dropped within a bound
(INT-07, INT-22, INT-24)."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from annotation.assist.mask_rings import TENTHS, exact_ring, polygons_from_mask, thinned_ring
from annotation.outlines import area_of, filled, outlines_of
from annotation.polygons import patch_from_points, patch_of
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps

Mask = NDArray[np.bool_]


def by_regions(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    for points in polygons:
        patch_from_points(points.tolist(), shape[0], shape[1], "test").paint(mask, 1)
    return mask.astype(np.bool_)


def by_opencv(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    for points in polygons:
        at = np.floor(points / 100 * (shape[1], shape[0])).astype(np.int32)
        cv2.fillPoly(mask, [at], 1)
    return mask.astype(np.bool_)


def by_even_odd(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    for points in polygons:
        filled([points / 100 * (shape[1], shape[0])], shape[0], shape[1]).paint(mask, 1)
    return mask.astype(np.bool_)


def by_pillow(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> Mask:
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for points in polygons:
        at = np.floor(points / 100 * (shape[1], shape[0])).astype(int)
        draw.polygon([(int(x), int(y)) for x, y in at], fill=1, outline=1)
    return np.asarray(image, dtype=np.bool_)


READERS = [by_regions, by_opencv, by_even_odd, by_pillow]


@settings(max_examples=200, deadline=None)
@given(label_maps(classes=2))
def test_int_07_every_reader_finds_the_same_pixels(mask: NDArray[np.uint8]) -> None:
    painted = mask == 0
    polygons = polygons_from_mask(painted, tolerance_px=0)
    for read in (by_regions, by_opencv, by_even_odd):
        assert np.array_equal(read(polygons, painted.shape), painted), read.__name__


def test_int_07_camvid_comes_back_to_the_pixel() -> None:
    for name, classes in camvid_masks()[:4]:
        for class_id in np.unique(classes)[:-1].tolist():
            painted = classes == class_id
            polygons = polygons_from_mask(painted, tolerance_px=0)
            for read in READERS:
                found = read(polygons, painted.shape)
                assert np.array_equal(found, painted), (name, class_id, read.__name__)


def test_int_07_a_hole_runs_the_other_way_and_pieces_are_polygons_of_their_own() -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[5:35, 5:35] = True
    mask[12:20, 12:20] = False
    mask[10:15, 45:50] = True
    ring, piece = polygons_from_mask(mask, tolerance_px=0)
    pixels = ring / 100 * (60, 40)
    assert len(piece) == 4
    # What is wound the other way is taken off; a side lies 0.1 and 0.3 pixels inside its pixels.
    assert area_of(pixels) == pytest.approx(29.6**2 - 8.4**2, abs=0.5)
    repeated = [tuple(point) for point in ring.tolist()]
    assert len(repeated) - len(set(repeated)) == 2  # both ends of the bridge, passed twice


@settings(max_examples=150, deadline=None)
@given(label_maps(classes=2), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_int_22_polygons_of_what_touches_the_border_reach_it(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    painted = mask == 0
    polygons = polygons_from_mask(painted, tolerance_px=tolerance)
    if not polygons:
        assert not painted.any()
        return
    every = np.concatenate(polygons)
    assert every.min() >= 0 and every.max() <= 100
    assert painted[:, 0].any() == bool((every[:, 0] == 0).any())
    assert painted[:, -1].any() == bool((every[:, 0] == 100).any())
    assert painted[0].any() == bool((every[:, 1] == 0).any())
    assert painted[-1].any() == bool((every[:, 1] == 100).any())


def dense(ring: NDArray[np.int64]) -> NDArray[np.float64]:
    """Points all along a ring, a twentieth of a pixel apart."""
    points = []
    for start, stop in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        count = max(2, int(np.hypot(*(stop - start))) * 2)
        points.append(start + np.linspace(0, 1, count)[:, None] * (stop - start))
    return np.concatenate(points)


@settings(max_examples=100, deadline=None)
@given(label_maps(classes=2), st.floats(0.1, 6.0))
def test_int_24_thinned_rings_stay_within_the_tolerance_both_ways(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    height, width = mask.shape
    for outline in outlines_of(patch_of(mask == 0)):
        for ring in (outline.outer, *outline.holes):
            exact = exact_ring(ring, height, width)
            assert np.abs(exact / TENTHS - ring).max() <= 0.3 + 1e-9
            thin = thinned_ring(exact, tolerance * TENTHS, height, width)
            assert 3 <= len(thin) <= len(exact)
            a, b = dense(exact), dense(thin)
            apart = max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max())
            assert apart <= tolerance * TENTHS + 0.5  # the step between two points


def test_int_24_a_smooth_outline_needs_few_corners() -> None:
    yy, xx = np.mgrid[:300, :400]
    disc = (xx - 200) ** 2 + (yy - 150) ** 2 < 100**2
    (exact,) = polygons_from_mask(disc, tolerance_px=0)
    (thin,) = polygons_from_mask(disc, tolerance_px=1)
    assert len(thin) * 5 < len(exact)
    found = by_regions([thin], disc.shape)
    assert (found & disc).sum() / (found | disc).sum() > 0.98


def test_an_empty_mask_is_no_polygon() -> None:
    assert polygons_from_mask(np.zeros((5, 5), dtype=np.bool_), tolerance_px=1) == []


def test_int_07_large_pictures_are_written_finely_enough() -> None:
    mask = np.zeros((3, 15_000), dtype=np.bool_)
    mask[1, 1::2] = True
    polygons = polygons_from_mask(mask, tolerance_px=0)
    assert np.array_equal(by_opencv(polygons, mask.shape), mask)
