"""Drafts that people can edit and that come back exactly: CNV-02, CNV-03, INT-24."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.inner_polygons import inner_polygon
from annotation.regions import mask_from_regions
from lifelong.errors import LabelMapError
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP, a_mask
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import ragged_maps

CAR, PERSON, POLE, ROAD = 13, 11, 5, 0


def _street() -> NDArray[np.uint8]:
    """A road with a round car, a car with a hole, a thin person, and unlabelled pixels."""
    mask = np.full((80, 120), ROAD, dtype=np.uint8)
    y, x = np.mgrid[:80, :120]
    mask[(y - 40) ** 2 + (x - 30) ** 2 <= 400] = CAR
    mask[20:50, 70:100] = CAR
    mask[30:36, 80:86] = ROAD
    mask[10:70, 110] = PERSON
    mask[70:, :40] = 255
    return mask


@settings(max_examples=300, deadline=None)
@given(mask=ragged_maps(), tolerance=st.sampled_from([0.0, 0.5, 1.0, 2.5]))
def test_cnv_02_the_default_draft_paints_back_to_exactly_the_mask(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    shapes = DraftShapes(tolerance=tolerance)
    regions = regions_from_mask(mask, CITYSCAPES, shapes=shapes)
    if regions:
        painted = mask_from_regions(regions, CITYSCAPES, size=_size(mask), where="draft")
        assert np.array_equal(painted, mask)
    else:
        assert (mask == 255).all()


def test_cnv_02_the_default_draft_is_exact_on_camvid() -> None:
    for name, mask in camvid_masks():
        regions = regions_from_mask(mask, CITYSCAPES, shapes=DraftShapes())
        painted = mask_from_regions(regions, CITYSCAPES, size=_size(mask), where=name)
        assert np.array_equal(painted, mask), name


@pytest.mark.parametrize("order", [1, -1])
def test_cnv_03_the_order_of_a_drafts_regions_does_not_matter(order: int) -> None:
    mask = _street()
    regions = regions_from_mask(mask, CITYSCAPES, shapes=DraftShapes())[::order]
    painted = mask_from_regions(regions, CITYSCAPES, size=_size(mask), where="draft")
    assert np.array_equal(painted, mask)


def test_things_are_polygons_and_what_they_cannot_hold_is_brush() -> None:
    regions = regions_from_mask(_street(), CITYSCAPES, shapes=DraftShapes())
    kinds = Counter((r["value"][r["type"]][0], r["type"]) for r in regions)  # type: ignore[index]
    assert kinds == {
        ("road", "brushlabels"): 1,
        ("car", "polygonlabels"): 1,  # the round one; the other has a hole
        ("car", "brushlabels"): 1,  # that one, and the rim of the round one
        ("person", "brushlabels"): 1,  # one pixel wide
    }
    (polygon,) = [r for r in regions if r["type"] == "polygonlabels"]
    assert len(polygon["value"]["points"]) < 40  # type: ignore[arg-type]


def test_a_class_may_have_its_own_shape() -> None:
    shapes = DraftShapes(by_class={"road": "polygons", "car": "brush"})
    mask = np.full((40, 60), ROAD, dtype=np.uint8)
    mask[:20] = CAR
    regions = regions_from_mask(mask, CITYSCAPES, shapes=shapes)
    assert [(r["type"], r["id"]) for r in regions] == [
        ("polygonlabels", "draft-0-0"),
        ("brushlabels", "draft-13"),
    ]
    with pytest.raises(LabelMapError, match="unknown class 'bot'"):
        DraftShapes(by_class={"bot": "brush"}).checked(CITYSCAPES)


def test_every_region_has_an_id_of_its_own_and_its_score() -> None:
    regions = regions_from_mask(
        _street(),
        CITYSCAPES,
        shapes=DraftShapes(),
        score_of=lambda class_id, box: 0.25 if box is None else 0.75,
    )
    assert len({region["id"] for region in regions}) == len(regions)
    assert {(r["type"], r["score"]) for r in regions} == {
        ("brushlabels", 0.25),
        ("polygonlabels", 0.75),
    }


def test_a_mask_of_nothing_known_has_no_region() -> None:
    nothing = np.full((4, 4), 255, dtype=np.uint8)
    for mode in ("auto", "brush", "polygons"):
        shapes = DraftShapes(mode=mode)  # type: ignore[arg-type]
        assert regions_from_mask(nothing, SMALL_MAP, shapes=shapes) == []


@settings(max_examples=200, deadline=None)
@given(mask=ragged_maps(), tolerance=st.floats(0, 6))
def test_int_24_a_polygon_stays_within_the_tolerance_and_inside(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    """Hausdorff distance of outline and polygon, both ways, sampled every tenth of a pixel."""
    import cv2

    piece = mask == mask[0, 0]
    count, pieces = cv2.connectedComponents(piece.astype(np.uint8), connectivity=4)
    for number in range(1, min(count, 4)):
        one = pieces == number
        corners = inner_polygon(one, tolerance)
        if corners is None:
            continue
        canvas = np.zeros(one.shape, dtype=np.uint8)
        cv2.fillPoly(canvas, [corners], 1)
        assert not (canvas.astype(bool) & ~one).any()
        contours, _ = cv2.findContours(
            one.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        outline = _sampled(contours[0].reshape(-1, 2))
        polygon = _sampled(corners)
        apart = np.hypot(*(outline[:, None] - polygon[None]).transpose(2, 0, 1))
        slack = 0.1  # of the sampling
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) <= tolerance + slack


def test_int_24_a_piece_that_no_polygon_holds_is_told() -> None:
    ring = np.ones((9, 9), dtype=np.bool_)
    ring[4, 4] = False
    assert inner_polygon(ring, 1.0) is None
    assert inner_polygon(np.ones((1, 9), dtype=np.bool_), 1.0) is None
    assert inner_polygon(np.ones((1, 1), dtype=np.bool_), 1.0) is None
    square = inner_polygon(np.ones((5, 5), dtype=np.bool_), 0.0)
    assert square is not None
    assert {(0, 0), (4, 0), (4, 4), (0, 4)} <= {(x, y) for x, y in square.tolist()}


def test_fewer_corners_the_larger_the_tolerance() -> None:
    y, x = np.mgrid[:101, :101]
    disc = (y - 50) ** 2 + (x - 50) ** 2 <= 45**2
    counts = [len(inner_polygon(disc, t)) for t in (0.0, 0.5, 1.0, 2.0, 4.0)]  # type: ignore[arg-type]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 3 * counts[2]


def test_without_a_brush_the_draft_is_exact_polygons() -> None:
    from annotation.labeling_config import Tools

    tools = Tools(image="image", data_field="image", brush=None, polygon="labels")
    mask = a_mask(3)
    regions = regions_from_mask(mask, SMALL_MAP, shapes=DraftShapes(mode="brush"), tools=tools)
    assert {region["type"] for region in regions} == {"polygonlabels"}
    assert np.array_equal(mask_from_regions(regions, SMALL_MAP, size=None, where=""), mask)


def _size(mask: NDArray[np.uint8]) -> tuple[int, int]:
    return mask.shape[0], mask.shape[1]


def _sampled(ring: NDArray[np.int32]) -> NDArray[np.float64]:
    """Points every tenth of a pixel along a closed ring, (N, 2)."""
    points = []
    for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        steps = max(2, int(10 * np.hypot(*(end - start))) + 1)
        points.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    return np.concatenate(points)
