"""Brush RLE against Label Studio's own codec, bit for bit (CNV-02)."""

import tracemalloc

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


def test_more_values_than_the_picture_has_are_not_unpacked() -> None:
    """Thirty kilobytes of such tokens say 650 million values."""
    rle = rle_from_mask(np.ones((128, 128), dtype=np.bool_))  # one token of 65,536 values
    header, token = rle[:6], "".join(f"{octet:08b}" for octet in rle)[53 : 53 + 27]
    bits = f"{rle[6]:08b}"[:5] + token * 10_000
    octets = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    tracemalloc.start()
    try:
        assert mask_from_rle([*header, *octets], 128, 128, "test").all()
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_an_empty_or_coloured_mask_is_refused() -> None:
    with pytest.raises(ShapeError):
        rle_from_mask(np.zeros((0, 4), dtype=np.bool_))
    with pytest.raises(ShapeError):
        rle_from_mask(np.zeros((4, 4), dtype=np.uint8))  # type: ignore[arg-type]


def test_cnv_12_a_ragged_full_hd_mask_equals_the_sdk_both_ways() -> None:
    """`python -m bench.rle --json` has the seconds; here only that it is the same."""
    painted = np.random.default_rng(0).random((1080, 1920)) < 0.03
    packed = rle_from_mask(painted)
    assert packed == mask2rle(painted.astype(np.uint8) * 255)
    assert np.array_equal(mask_from_rle(packed, 1080, 1920, "test"), painted)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_cnv_12_tokens_of_every_kind_and_size_are_read(data: st.DataObject) -> None:
    """Values that differ (as a browser's soft strokes give) between repeated ones, any sizes."""
    sizes = data.draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    alphas: list[int] = []
    bits = ""
    pixels = data.draw(st.integers(1, 60))
    while len(alphas) < pixels * 4:
        index = data.draw(st.integers(0, 3))
        run = data.draw(st.integers(1, min(1 << sizes[index], 40)))
        is_repeated = data.draw(st.booleans())
        values = data.draw(
            st.lists(st.integers(0, 255), min_size=1 if is_repeated else run, max_size=run)
        )
        kept = values[:1] if is_repeated else values
        bits += f"{int(is_repeated)}{index:02b}{run - 1:0{sizes[index]}b}"
        bits += "".join(f"{value:08b}" for value in kept)
        alphas += kept * (run if is_repeated else 1)
    header = f"{pixels * 4:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    text = header + bits
    text += "0" * (8 - len(text) % 8)
    packed = [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]
    painted = mask_from_rle(packed, 1, pixels, "here")
    expected = np.array(alphas[: pixels * 4]).reshape(1, pixels, 4)[..., 3] > 127
    assert np.array_equal(painted, expected)


@settings(max_examples=300, deadline=None)
@given(tail=st.binary(max_size=60), height=st.integers(1, 6), width=st.integers(1, 6))
def test_cnv_04_no_bytes_break_the_reader(tail: bytes, height: int, width: int) -> None:
    """Whatever follows a right header is either pixels or a named error."""
    header = int(f"{4 * height * width:032b}{7:05b}{'0010001101111111'}000", 2).to_bytes(7, "big")
    try:
        painted = mask_from_rle(list(header + tail), height, width, "here")
    except CorruptRecordError as error:
        assert "here" in str(error)
    else:
        assert painted.shape == (height, width)


def _packed_rgba(pixels: np.ndarray) -> list[int]:
    """(H, W, 4) uint8 as a browser writes it: values that differ, eight at a time."""
    values = [int(value) for value in pixels.ravel()]
    bits = f"{len(values):032b}{7:05b}0010001101111111"
    for start in range(0, len(values), 8):
        some = values[start : start + 8]
        bits += f"000{len(some) - 1:03b}" + "".join(f"{value:08b}" for value in some)
    bits += "0" * (8 - len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_flaw_b1_a_black_stroke_is_read_by_its_alpha_not_by_its_red() -> None:
    stroke = np.zeros((2, 3, 4), dtype=np.uint8)
    stroke[0, :2, 3] = 255
    painted = mask_from_rle(_packed_rgba(stroke), 2, 3, "here")
    assert painted.tolist() == [[True, True, False], [False, False, False]]


def test_flaw_b2_the_soft_rim_of_a_stroke_is_not_painted() -> None:
    """The SDK's COCO conversion takes every alpha above 0: 3.5 % more pixels than were drawn."""
    stroke = np.zeros((1, 4, 4), dtype=np.uint8)
    stroke[0, :, 3] = (1, 127, 128, 255)
    assert mask_from_rle(_packed_rgba(stroke), 1, 4, "here").tolist() == [
        [False, False, True, True]
    ]
