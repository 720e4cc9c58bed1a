"""INT-13: logits enlarged by numpy decide every pixel as torch does, at any size and aspect."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from cloud.assist.encoder_pictures import input_size
from cloud.assist.enlarging import Step, enlarged, padded_steps

SIZES = [
    (1, 1), (1, 700), (700, 1), (2, 333), (37, 501), (501, 37), (37, 50), (60, 68), (60, 69),
    (64, 64), (256, 256), (255, 257), (480, 360), (333, 777), (600, 800), (1024, 400),
]  # fmt: skip


def logits(side, count=3, seed=0):
    """(count, side, side): hills as masks have them, many of them near 0."""
    noise = np.random.default_rng(seed).normal(0, 60, (count, side, side))
    return gaussian_filter(noise, (0, 3, 3)).astype(np.float32)


def of_torch(low_res, steps):
    """Mask by mask: three at once are rounded otherwise where torch has one thread."""
    found = torch.from_numpy(low_res)[:, None]
    for step in steps:
        scaled = interpolate(found, step.size, mode="bilinear", align_corners=False)
        found = scaled[..., : step.kept[0], : step.kept[1]]
    return found[:, 0].numpy()


@pytest.mark.parametrize("low", [16, 64, 256])
@pytest.mark.parametrize("size", SIZES)
def test_int_13_no_pixel_differs_from_torch(low, size):
    steps = padded_steps(4 * low, input_size(size[0], size[1], 4 * low), size)
    low_res = logits(low)

    ours, theirs = enlarged(low_res, steps), of_torch(low_res, steps)

    assert ours.shape == (3, *size)
    assert ours.dtype == np.float32
    assert np.count_nonzero((ours > 0) != (theirs > 0)) == 0
    # A tenth of what counts as near 0, so nothing that could turn is overlooked.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2.0**-20 * np.abs(low_res).max())


@pytest.mark.parametrize("size", [(37, 50), (300, 200)])
def test_int_13_one_step_that_squeezes_is_torchs_too(size):
    low_res = logits(64)
    steps = (Step(size, size),)

    assert np.array_equal(enlarged(low_res, steps) > 0, of_torch(low_res, steps) > 0)


def test_int_13_values_near_zero_are_torchs_to_the_last_bit():
    """Half of the low logits are -0.0 to 1e-6: whole regions that rounding would decide."""
    low_res = logits(64)
    low_res[:, :, 20:40] *= np.float32(1e-7)
    steps = padded_steps(256, (192, 256), (360, 480))

    ours, theirs = enlarged(low_res, steps), of_torch(low_res, steps)

    near = np.abs(theirs) < 1e-6 * np.abs(low_res).max()
    assert near.mean() > 0.1
    assert np.array_equal(ours[near], theirs[near])


def test_int_13_nothing_and_flat_logits():
    steps = padded_steps(256, (192, 256), (300, 400))

    assert enlarged(np.zeros((0, 64, 64), np.float32), steps).shape == (0, 300, 400)
    for value in (0.0, -3.25, 1e-30):
        flat = np.full((1, 64, 64), value, np.float32)
        assert np.array_equal(enlarged(flat, steps) > 0, of_torch(flat, steps) > 0)
