"""Crops around masks: SSA's rule bit for bit, and masks inside them without whole frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.preannotation.naming.crops import HUGE, LARGE, SMALL, cut, grown_box, mask_inside
from cloud.preannotation.region_masks import mask_from_rle, rle_from_mask


def ssa_box(box, factor, height, width):
    """The rule in whole arrays, as the original's library computes it: grow, truncate, clip."""
    sides = np.array(box)
    w, h = sides[2] - sides[0] + 1, sides[3] - sides[1] + 1
    dw, dh = (w * (factor - 1)) * 0.5, (h * (factor - 1)) * 0.5
    scaled = (sides + np.stack((-dw, -dh, dw, dh))).astype(np.int32)
    last = np.array([width - 1, height - 1, width - 1, height - 1])
    return tuple(np.maximum(np.minimum(scaled, last), 0).tolist())


@given(st.integers(0, 10**6), st.sampled_from([SMALL, LARGE, HUGE]))
@settings(max_examples=300, deadline=None)
def test_pre_05_crops_have_exactly_the_originals_coordinates(seed, factor):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 3000, 2))
    x0, y0 = int(rng.integers(width)), int(rng.integers(height))
    x1, y1 = int(rng.integers(x0, width)), int(rng.integers(y0, height))
    found = grown_box((x0, y0, x1, y1), factor, height=height, width=width)
    assert found == ssa_box((x0, y0, x1, y1), factor, height, width)


def test_a_crop_has_its_end_pixels_and_shares_the_pictures_memory():
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    crop = cut(picture, (1, 2, 3, 4))
    assert crop.shape == (3, 3, 3)
    assert np.array_equal(crop[-1, -1], picture[4, 3])
    assert np.shares_memory(crop, picture)


@pytest.mark.parametrize("seed", range(30))
def test_a_mask_inside_a_box_is_the_whole_mask_cut(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 40, 2))
    mask = rng.random((height, width)) < rng.random()
    x0, y0 = int(rng.integers(width)), int(rng.integers(height))
    box = (x0, y0, int(rng.integers(x0, width)), int(rng.integers(y0, height)))
    rle = rle_from_mask(mask)
    assert np.array_equal(mask_inside(rle, box), cut(mask_from_rle(rle), box))
