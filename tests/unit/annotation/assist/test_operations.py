"""Add, subtract, intersect with a region that is there already (INT-25)."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from annotation.assist.operations import changed
from annotation.assist.question import Operation
from lifelong.errors import PromptError
from tests.unit.annotation.maps import label_maps


@settings(max_examples=100, deadline=None)
@given(label_maps(classes=3))
def test_int_25_operations_are_those_of_sets(mask: NDArray[np.uint8]) -> None:
    old, new = mask != 0, mask != 1  # they share what is 2
    rules = {
        Operation.ADD: old | new,
        Operation.SUBTRACT: old & ~new,
        Operation.INTERSECT: old & new,
    }
    for operation, wanted in rules.items():
        if wanted.any() and not np.array_equal(wanted, old):
            assert np.array_equal(changed(operation, old, new), wanted)
        else:
            with pytest.raises(PromptError, match=operation.value):
                changed(operation, old, new)
    assert changed(Operation.NEW, old, new) is new


def test_int_25_masks_of_two_sizes_do_not_meet() -> None:
    small, large = np.ones((2, 2), dtype=np.bool_), np.ones((3, 3), dtype=np.bool_)
    with pytest.raises(PromptError, match="2x2 pixels, the picture 3x3"):
        changed(Operation.ADD, small, large)
