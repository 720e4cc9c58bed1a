"""Masks as polygons and back (CNV-02, CNV-03), and the flaws of seed 003's converters (B3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from annotation.polygons import (
    Polygon,
    _corrections,
    mask_from_polygons,
    patch_from_points,
    polygons_from_mask,
)
from lifelong.errors import CorruptRecordError, ShapeError
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps


def repainted(polygons: list[Polygon], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return mask_from_polygons(polygons, mask.shape[0], mask.shape[1])


@settings(max_examples=250, deadline=None)
@given(label_maps())
def test_cnv_02_polygons_paint_back_exactly(mask: NDArray[np.uint8]) -> None:
    polygons = polygons_from_mask(mask)
    assert np.array_equal(repainted(polygons, mask), mask)
    assert all(len(polygon.points) >= 3 for polygon in polygons)


def test_cnv_02_every_camvid_map_comes_back_exactly() -> None:
    for name, mask in camvid_masks():
        polygons = polygons_from_mask(mask)
        assert np.array_equal(repainted(polygons, mask), mask), name


def test_cnv_03_all_components_are_kept_not_only_the_first() -> None:
    mask = np.full((40, 40), 255, dtype=np.uint8)
    for x in range(2, 40, 6):
        mask[3:30, x : x + 2] = 7
    polygons = polygons_from_mask(mask)
    assert len(polygons) == 7
    assert np.array_equal(mask_from_polygons(polygons, 40, 40), mask)


def test_cnv_03_holes_and_nested_regions_are_kept() -> None:
    mask = np.full((30, 30), 255, dtype=np.uint8)
    mask[2:28, 2:28] = 0
    mask[5:25, 5:25] = 1
    mask[8:22, 8:22] = 0
    mask[11:19, 11:19] = 255  # a hole that nothing can be painted over
    mask[14:16, 14:16] = 2
    assert np.array_equal(mask_from_polygons(polygons_from_mask(mask), 30, 30), mask)


def test_cnv_03_order_in_the_file_does_not_matter() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[4:16, 4:16] = 1
    mask[8:12, 8:12] = 2
    polygons = polygons_from_mask(mask)
    assert np.array_equal(mask_from_polygons(polygons[::-1], 20, 20), mask)


def test_percent_are_rounded_not_truncated() -> None:
    """Seed 003 writes x / width and truncates: 7.3 % of the vertices move by a pixel."""
    for width in (480, 640, 1000, 1333, 1920, 2048):
        for x in range(0, width - 1, 7):
            corner = round(x / width * 100, 3)  # as the seed writes it
            centre = round((x + 0.5) / width * 100, 3)  # as we do
            for percent in (corner, centre):
                patch = patch_from_points([[percent, 0]] * 3, 1, width, "test")
                assert patch.x0 == x


def test_corrections_mend_what_a_rasteriser_painted_wrong() -> None:
    mask = np.array([[0, 1, 255], [2, 0, 0]], dtype=np.uint8)
    painted = np.array([[0, 0, 255], [2, 2, 0]], dtype=np.uint8)
    outlines = _corrections(painted, mask)
    for outline in outlines:
        outline.patch.paint(painted, outline.class_id)
    assert np.array_equal(painted, mask)
    assert len(outlines) == 2


def test_points_outside_the_picture_are_clipped() -> None:
    polygon = Polygon(3, ((-10.0, -5.0), (120.0, -5.0), (120.0, 150.0), (-10.0, 150.0)))
    assert (mask_from_polygons([polygon], 6, 9) == 3).all()


@pytest.mark.parametrize(
    "points", [[[1, 2, 3]], [["a", 1]], [[float("nan"), 1]], [[[1, 2]], [[3, 4]]], [[1], [2, 3]]]
)
def test_points_that_are_no_pairs_are_refused(points: list[list[float]]) -> None:
    with pytest.raises(CorruptRecordError, match="task 7"):
        patch_from_points(points, 10, 10, "task 7")


def test_a_mask_of_another_kind_is_refused() -> None:
    with pytest.raises(ShapeError):
        polygons_from_mask(np.zeros((4, 4), dtype=np.int64))  # type: ignore[arg-type]
