"""Label maps of pixels for property tests: noise, blocks and holes, with and without 255."""

import cv2
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


@st.composite
def label_maps(draw: st.DrawFn, classes: int = 4) -> NDArray[np.uint8]:
    """(H, W) uint8 up to 40 x 40; ids below `classes`, 255 where nothing is labelled."""
    seed = draw(st.integers(0, 2**32 - 1))
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    random = np.random.default_rng(seed)
    mask = random.integers(0, draw(st.integers(1, classes)), (height, width), dtype=np.uint8)
    grain = draw(st.integers(1, 2))
    mask = np.repeat(np.repeat(mask, grain, axis=0), grain, axis=1)
    unlabelled = draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    mask[random.random(mask.shape) < unlabelled] = 255
    return mask


@st.composite
def ragged_maps(draw: st.DrawFn) -> NDArray[np.uint8]:
    """(H, W) uint8 up to 48 x 48: pieces of all sizes with ragged borders, stuff and things of
    Cityscapes (road, pole, person, car) and 255."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(1, 48)), draw(st.integers(1, 48))
    smooth = draw(st.sampled_from([0.0, 0.8, 2.0, 5.0]))
    noise = random.random((5, height, width)).astype(np.float32)
    if smooth:
        noise = np.stack([cv2.GaussianBlur(plane, (0, 0), smooth) for plane in noise])
    noise += np.array([0.02, 0, 0, 0, -0.02], dtype=np.float32)[:, None, None]
    ids = np.array([0, 5, 11, 13, 255], dtype=np.uint8)
    return np.asarray(ids[noise.argmax(axis=0)], dtype=np.uint8)
