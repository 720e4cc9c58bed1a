"""ANN-07: how well outlines lie on each other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.review.agreement import between, boundary_agreement, boundary_tolerance
from lifelong.errors import ShapeError
from tests.builders import a_mask


def by_hand(
    one: NDArray[np.uint8], other: NDArray[np.uint8], class_id: int, tolerance: float
) -> float:
    """The definition, pair by pair."""

    def outline(mask: NDArray[np.uint8]) -> list[tuple[int, int]]:
        height, width = mask.shape
        return [
            (y, x)
            for y in range(height)
            for x in range(width)
            if mask[y, x] == class_id
            and any(
                0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx] != class_id
                for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
            )
        ]

    a, b = outline(one), outline(other)
    if not a and not b:
        return float(np.array_equal(one == class_id, other == class_id))

    def near(points: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        if not points or not others:
            return 0.0
        hits = sum(
            min((y - v) ** 2 + (x - u) ** 2 for v, u in others) <= tolerance**2 for y, x in points
        )
        return hits / len(points)

    precision, recall = near(a, b), near(b, a)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_ann_07_boundary_f_is_the_definition_pair_by_pair(seed: int, tolerance: float) -> None:
    one = a_mask(seed, 20, 24)
    other = np.roll(one, seed, axis=1)
    other[:3] = 255
    found = boundary_agreement(one, other, tolerance_px=tolerance)
    assert found.f.keys() == {0, 1, 2}
    for class_id, f in found.f.items():
        assert f == pytest.approx(by_hand(one, other, class_id, tolerance)), class_id
    assert found.mean_f == pytest.approx(sum(found.f.values()) / 3)
    assert boundary_agreement(other, one, tolerance_px=tolerance).mean_f == pytest.approx(
        found.mean_f
    )


def test_ann_07_a_whole_picture_of_one_class_has_no_boundary_to_miss() -> None:
    full, other = np.zeros((6, 6), np.uint8), np.ones((6, 6), np.uint8)
    assert boundary_agreement(full, full).mean_f == 1.0
    assert boundary_agreement(full, other).f == {0: 0.0, 1: 0.0}
    nothing = np.full((6, 6), 255, np.uint8)
    assert boundary_agreement(nothing, nothing).mean_f == 1.0
    assert boundary_agreement(full, nothing).f == {0: 0.0}


def test_ann_07_the_usual_tolerance_grows_with_the_picture() -> None:
    assert boundary_tolerance(720, 960) == 9.0
    one = np.zeros((72, 96), np.uint8)
    one[20:50, 20:50] = 1
    # One pixel is forgiven in the smallest picture.
    assert boundary_agreement(one, np.roll(one, 1, axis=1)).mean_f == 1.0
    assert boundary_agreement(one, np.roll(one, 8, axis=1)).mean_f < 0.6


def test_ann_07_three_annotators_are_compared_in_pairs() -> None:
    masks = [a_mask(0), a_mask(0), a_mask(1)]
    found, pair = between(masks), between(masks[1:])
    assert found is not None
    assert pair is not None
    assert found[0] == pytest.approx((1.0 + 2 * pair[0]) / 3)
    assert found[1] == pytest.approx((1.0 + 2 * pair[1]) / 3)
    assert between(masks[:1]) is None


def test_boundaries_of_different_sizes_are_refused() -> None:
    with pytest.raises(ShapeError):
        boundary_agreement(np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8))
