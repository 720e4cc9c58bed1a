"""Brush RLE against Label Studio's own codec, bit for bit (CNV-02)."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.brush import decode_rle, mask2rle
from numpy.typing import NDArray

from annotation.brush_rle import mask_from_rle, rle_from_mask
from lifelong.errors import CorruptRecordError, ShapeError
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps


@settings(max_examples=250, deadline=None)
@given(label_maps(classes=2), st.integers(1, 40))
def test_cnv_02_encoding_equals_the_sdk_and_decodes_back(
    mask: NDArray[np.uint8], wide: int
) -> None:
    painted = np.repeat(mask == 0, wide, axis=1)
    rle = rle_from_mask(painted)
    assert rle == mask2rle(painted.astype(np.uint8) * 255)
    assert np.array_equal(mask_from_rle(rle, painted.shape[0], painted.shape[1], "test"), painted)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_cnv_02_soft_strokes_decode_as_the_sdk_does(seed: int, height: int, width: int) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    rle = mask2rle(alpha)
    theirs = decode_rle(rle).reshape(height, width, 4)[..., 3] > 127
    assert np.array_equal(mask_from_rle(rle, height, width, "test"), theirs)


def test_runs_longer_than_a_token_can_say_equal_the_sdk() -> None:
    for pixels in (16384, 16385, 70000, 200_001):
        painted = np.ones((1, pixels), dtype=np.bool_)
        rle = rle_from_mask(painted)
        assert rle == mask2rle(painted.astype(np.uint8) * 255)
        assert mask_from_rle(rle, 1, pixels, "test").all()


def test_different_values_in_one_token_are_read_as_browsers_write_them() -> None:
    # One token "as many different values follow": 8 values, sizes 3, 4, 8, 16.
    values = [0, 0, 0, 200, 0, 0, 0, 100]
    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "0" + "00" + f"{7:03b}"
    bits += "".join(f"{value:08b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_rle(rle).tolist() == values
    assert mask_from_rle(rle, 1, 2, "test").tolist() == [[True, False]]


def test_every_class_of_camvid_equals_the_sdk() -> None:
    for _, mask in camvid_masks()[:3]:
        for class_id in np.unique(mask):
            assert rle_from_mask(mask == class_id) == mask2rle(
                (mask == class_id).astype(np.uint8) * 255
            )


def test_a_picture_of_another_size_is_refused() -> None:
    rle = rle_from_mask(np.ones((4, 5), dtype=np.bool_))
    with pytest.raises(ShapeError, match="task 7"):
        mask_from_rle(rle, 5, 5, "task 7")


@pytest.mark.parametrize("broken", [[], [1, 2, 3], ["a"], [300], None])
def test_bytes_that_are_no_rle_are_refused(broken: list[int]) -> None:
    with pytest.raises(CorruptRecordError, match="task 7"):
        mask_from_rle(broken, 2, 2, "task 7")


def test_cut_off_bytes_are_refused_at_every_length() -> None:
    rle = rle_from_mask(np.eye(9, dtype=np.bool_))
    for length in range(len(rle) - 2):
        with pytest.raises(CorruptRecordError):
            mask_from_rle(rle[:length], 9, 9, "task 7")


def test_an_empty_or_coloured_mask_is_refused() -> None:
    with pytest.raises(ShapeError):
        rle_from_mask(np.zeros((0, 4), dtype=np.bool_))
    with pytest.raises(ShapeError):
        rle_from_mask(np.zeros((4, 4), dtype=np.uint8))  # type: ignore[arg-type]


def test_a_busy_full_hd_mask_takes_well_under_a_second() -> None:
    painted = np.random.default_rng(0).random((1080, 1920)) < 0.03
    started = time.perf_counter()
    assert np.array_equal(mask_from_rle(rle_from_mask(painted), 1080, 1920, "test"), painted)
    assert time.perf_counter() - started < 2.0  # the SDK needs 0.9 s where this needs 0.12 s
