"""PNG bitmasks of <BitmaskLabels>, there and back (INT-06)."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from annotation.assist.bitmasks import data_url_from_mask, mask_from_data_url
from lifelong.errors import CorruptRecordError, ShapeError
from tests.unit.annotation.maps import label_maps


@settings(max_examples=50, deadline=None)
@given(label_maps(classes=2))
def test_int_06_a_bitmask_comes_back_to_the_pixel(mask: NDArray[np.uint8]) -> None:
    painted = mask == 0
    height, width = mask.shape
    url = data_url_from_mask(painted)
    assert np.array_equal(mask_from_data_url(url, (height, width), "test"), painted)
    with pytest.raises(ShapeError, match="the picture has"):
        mask_from_data_url(url, (height + 1, width), "test")


@pytest.mark.parametrize(
    "url", [None, 7, "", "data:image/jpeg;base64,", *(f"data:image/png;base64,{x}" for x in "!A")]
)
def test_what_is_no_bitmask_is_named(url: object) -> None:
    with pytest.raises(CorruptRecordError, match="region 3: a bitmask"):
        mask_from_data_url(url, (2, 2), "region 3")
