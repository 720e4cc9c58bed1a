"""Several annotators, one mask: most votes win, a tie is nobody's (CNV-07)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.review.consensus import consensus
from lifelong.errors import ShapeError


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_cnv_07_every_pixel_is_what_counting_by_hand_says(people: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 254, 255], dtype=np.uint8)
    masks = [random.choice(values, (5, 7)) for _ in range(people)]
    agreed = consensus(masks)
    for y, x in np.ndindex(5, 7):
        votes = np.bincount([mask[y, x] for mask in masks], minlength=256)
        best = np.flatnonzero(votes == votes.max())
        assert agreed[y, x] == (best[0] if best.size == 1 else 255)


def test_a_mask_alone_is_itself_and_order_does_not_matter() -> None:
    random = np.random.default_rng(1)
    masks = [random.integers(0, 4, (6, 6), dtype=np.uint8) for _ in range(3)]
    assert np.array_equal(consensus(masks[:1]), masks[0])
    assert np.array_equal(consensus(masks), consensus(masks[::-1]))


@pytest.mark.parametrize(
    "masks",
    [
        [],
        [np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)],
        [np.zeros((2, 2), np.int64)],
        [np.zeros((2, 2, 3), np.uint8)],
    ],
)
def test_masks_that_cannot_be_compared_are_refused(masks: list[np.ndarray]) -> None:
    with pytest.raises(ShapeError):
        consensus(masks)
