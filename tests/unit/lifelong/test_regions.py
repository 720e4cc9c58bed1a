"""Connected pieces: against a flood fill written out, on drawn masks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lifelong.regions import connected_pieces


def flood_filled(mask: np.ndarray) -> np.ndarray:
    """Numbers of the pieces in reading order, one pixel at a time."""
    labels = np.full(mask.shape, -1)
    count = 0
    for start in np.ndindex(*mask.shape):
        if labels[start] >= 0:
            continue
        front = [start]
        while front:
            y, x = front.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and labels[y, x] < 0 and mask[y, x] == mask[start]:
                labels[y, x] = count
                front += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        count += 1
    return labels


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(0, 9), st.integers(0, 9)),
        elements=st.integers(0, 2),
    )
)
def test_pieces_are_those_of_a_flood_fill(mask):
    pieces = connected_pieces(mask)
    expected = flood_filled(mask)
    assert np.array_equal(pieces.labels, expected)
    for number in range(len(pieces)):
        ys, xs = np.nonzero(expected == number)
        assert pieces.class_ids[number] == mask[ys[0], xs[0]]
        assert pieces.boxes[number].tolist() == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_a_spiral_is_one_piece():
    spiral = np.ones((9, 9), dtype=np.uint8)
    spiral[1, 1:] = spiral[1:8, 1] = spiral[7, 1:7] = spiral[3:7, 6] = spiral[3, 3:6] = 0
    assert np.array_equal(connected_pieces(spiral).labels, flood_filled(spiral))
