"""PRE-09: small holes and islands go exactly as segment-anything lets them go, but faster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from segment_anything.utils.amg import remove_small_regions

from cloud.preannotation.mask_cleaning import cleaned
from cloud.preannotation.region_masks import mask_from_rle, rle_from_mask, rle_from_part


def as_segment_anything(mask, min_area_px):
    mask, holes = remove_small_regions(mask, min_area_px, mode="holes")
    mask, islands = remove_small_regions(mask, min_area_px, mode="islands")
    return mask, holes or islands


def assert_cleaned_alike(mask, min_area_px):
    given_rle = rle_from_mask(mask)
    expected, expected_changed = as_segment_anything(mask, min_area_px)

    rle, changed = cleaned(given_rle, min_area_px)

    assert changed == expected_changed
    assert rle == rle_from_mask(expected)
    if not changed:
        assert rle is given_rle


@st.composite
def masks(draw):
    """Noise of any density, or blocks of it: pieces of one pixel, and of many."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    block = draw(st.sampled_from([1, 1, 2, 3]))
    shape = (-(-height // block), -(-width // block))
    values = draw(arrays(np.uint8, shape, elements=st.integers(0, 9)))
    dense = values < draw(st.integers(0, 10))
    mask = np.kron(dense, np.ones((block, block), dtype=bool))[:height, :width].astype(bool)
    # A mask in a corner of a larger picture: the background goes on beyond its box.
    margins = draw(st.tuples(*[st.sampled_from([0, 0, 1, 2, 9])] * 4))
    return np.pad(mask, (margins[:2], margins[2:]))


@given(mask=masks(), min_area_px=st.integers(1, 40))
@settings(max_examples=400, deadline=None)
def test_pre_09_cleaning_equals_segment_anything_on_any_mask(mask, min_area_px):
    assert_cleaned_alike(mask, min_area_px)


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("min_area_px", [1, 2, 6, 7])
def test_an_empty_and_a_full_picture_are_pieces_too(filled, min_area_px):
    assert_cleaned_alike(np.full((2, 3), filled), min_area_px)


def test_background_beyond_the_box_is_no_small_hole():
    mask = np.zeros((40, 40), dtype=bool)
    mask[18:22, 18:22] = True

    rle, changed = cleaned(rle_from_mask(mask), 10)

    assert not changed
    assert (mask_from_rle(rle) == mask).all()


def test_a_bar_across_the_picture_parts_the_background_in_two():
    mask = np.zeros((30, 30), dtype=bool)
    mask[:, 1:28] = True  # 30 pixels of background to the left, 60 to the right

    rle, changed = cleaned(rle_from_mask(mask), 31)

    assert changed
    assert mask_from_rle(rle)[:, :28].all()
    assert not mask_from_rle(rle)[:, 28:].any()


def test_of_several_largest_islands_the_same_one_stays():
    mask = np.zeros((21, 33), dtype=bool)
    for y, x in [(5, 20), (6, 3), (15, 9)]:
        mask[y : y + 2, x : x + 2] = True

    assert_cleaned_alike(mask, 5)


@given(mask=masks(), x0=st.integers(0, 4), y0=st.integers(0, 4), more=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_runs_of_a_part_are_those_of_the_whole_picture(mask, x0, y0, more):
    picture = np.pad(mask, ((y0, more), (x0, more)))

    rle = rle_from_part(mask, x0=x0, y0=y0, height=picture.shape[0], width=picture.shape[1])

    assert rle == rle_from_mask(picture)
