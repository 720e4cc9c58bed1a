"""The quick mask is the plain mask, bit by bit: for smooth logits, for ties, for odd sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lifelong.logit_masks import _AT_ONCE, _lines, mask_from_logits
from lifelong.preprocessing import Preprocessing, network_input
from tests.builders import an_image


def plain_mask(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.int64]:
    """Every class enlarged by Pillow, then argmax: what the quick way must equal."""
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        for plane in logits
    ]
    return np.argmax(np.stack(planes), axis=0)


def drawn(kind: str, shape: tuple[int, int, int], seed: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    if kind == "ties":
        return np.round(values)
    if kind == "all but ties":  # neighbours in float32: rounding decides
        return (np.round(values * 2) * np.float32(1e-7) + np.float32(1)).astype(np.float32)
    if kind == "large":
        return values * np.float32(1e30)
    return values


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["smooth", "ties", "all but ties", "large"]),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 24), st.integers(1, 24)),
    grown=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    seed=st.integers(0, 999),
)
def test_the_quick_mask_is_the_plain_one(kind, shape, grown, seed):
    logits = drawn(kind, shape, seed)
    assert np.array_equal(mask_from_logits(logits, *grown), plain_mask(logits, *grown))


@pytest.mark.parametrize(
    ("shape", "height", "width"),
    [
        ((15, 12, 2), 44, 18),  # row centres a rounding away from network rows
        ((11, 10, 12), 78, 2),
        ((19, 40, 60), 320, 480),
        ((19, 40, 60), 720, 1280),
        ((3, 5, 7), 5, 7),  # as it is
        ((3, 5, 7), 2, 3),  # smaller
    ],
)
@pytest.mark.parametrize("kind", ["smooth", "ties"])
def test_the_quick_mask_is_the_plain_one_at_sizes_that_once_were_hard(kind, shape, height, width):
    logits = drawn(kind, shape, 5)
    mask = mask_from_logits(logits, height, width)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, plain_mask(logits, height, width))


def test_some_rows_do_have_three_weights():
    """Or the parameter above would test nothing."""
    assert _lines(12, 44).odd or _lines(10, 78).odd


def test_more_doubtful_pieces_than_are_computed_at_once():
    logits = drawn("smooth", (4, 30, 4), 1)
    height, width = 60, 3000
    assert 30 * width > _AT_ONCE
    assert np.array_equal(
        mask_from_logits(logits, height, width), plain_mask(logits, height, width)
    )


def test_network_input_is_the_formula_itself():
    how = Preprocessing(height=20, width=30, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    image = an_image(2, height=33, width=47)
    scaled = np.asarray(
        Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR), dtype=np.float32
    )
    mean, std = (np.array(v, dtype=np.float32) * 255.0 for v in (how.mean, how.std))
    wanted = ((scaled - mean) / std).transpose(2, 0, 1)[None]
    assert np.array_equal(network_input(image, how), wanted)
