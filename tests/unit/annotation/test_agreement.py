"""How much a person changed."""

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray

import annotation.review.agreement
from annotation.review.agreement import agreement
from lifelong.errors import ShapeError


@pytest.mark.parametrize(
    ("draft", "correction", "miou", "changed"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0, 0),
        ([0, 0, 1, 1], [0, 1, 1, 1], (1 / 2 + 2 / 3) / 2, 1),
        ([0, 0, 1, 1], [0, 0, 255, 255], (1 + 0) / 2, 2),  # removing a region is a change
        ([255, 255, 1, 1], [0, 0, 1, 1], (0 + 1) / 2, 2),
        ([255, 255], [255, 255], 1.0, 0),
    ],
)
def test_agreement_worked_out_by_hand(
    draft: list[int], correction: list[int], miou: float, changed: int
) -> None:
    def mask(ids: list[int]) -> NDArray[np.uint8]:
        return np.array([ids], dtype=np.uint8)

    found = agreement(mask(draft), mask(correction))
    assert found.miou == pytest.approx(miou)
    assert found.changed_pixels == changed


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(annotation.review.agreement).failed == 0


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ShapeError):
        agreement(np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8))
