"""Image to network input and its answers back to image size; class ids: `logit_masks.py`."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.errors import ShapeError
from lifelong.records.pixels import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a network wants its pictures."""

    height: int  # network input, pixels
    width: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # RGB, of values in 0 .. 1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not (8 <= self.height <= 8192 and 8 <= self.width <= 8192):
            raise ShapeError(f"network input {self.height}x{self.width}: 8 to 8192 pixels a side")


def network_input(image: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.float32]:
    """Scale and normalise one picture.

    Args:
        image: (H, W, 3), uint8, RGB.

    Returns:
        (1, 3, how.height, how.width), float32.
    """
    scaled = np.asarray(
        Image.fromarray(image).resize((how.width, how.height), Image.Resampling.BILINEAR)
    )
    batch = np.empty((1, 3, how.height, how.width), dtype=np.float32)
    # A byte has 256 values: looking up what each becomes is cheaper than computing it a pixel.
    for channel, values in enumerate(_normalised_bytes(how.mean, how.std)):
        np.take(values, scaled[..., channel], out=batch[0, channel], mode="clip")
    return batch


@lru_cache(maxsize=8)
def _normalised_bytes(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """(3, 256), float32: what each byte of each channel becomes."""
    bytes_ = np.arange(256, dtype=np.float32)[None]
    middle = np.array(mean, dtype=np.float32)[:, None] * 255.0
    spread = np.array(std, dtype=np.float32)[:, None] * 255.0
    table: NDArray[np.float32] = ((bytes_ - middle) / spread).astype(np.float32)
    table.flags.writeable = False
    return table


def network_target(mask: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.uint8]:
    """Scale a mask of class ids to the network's input size, nearest neighbour.

    Args:
        mask: (H, W), uint8.

    Returns:
        (how.height, how.width), uint8.
    """
    scaled = Image.fromarray(mask).resize((how.width, how.height), Image.Resampling.NEAREST)
    return np.asarray(scaled, dtype=np.uint8)


def enlarged(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear resize of one (h, w) float32 plane to (height, width), pixel centres aligned."""
    plane = Image.fromarray(values)
    return np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def at_picture_size(prediction: Prediction) -> Prediction:
    """The prediction with its planes of doubt as large as its mask."""
    if prediction.confidence.shape == prediction.mask.shape:
        return prediction
    height, width = prediction.mask.shape
    return replace(
        prediction,
        confidence=enlarged(prediction.confidence, height, width),
        entropy=enlarged(prediction.entropy, height, width),
        margin=enlarged(prediction.margin, height, width),
    )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the first axis; (C, h, w) float32 in and out, sums to 1 over C."""
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    shares: NDArray[np.float32] = (shifted / shifted.sum(axis=0, keepdims=True)).astype(np.float32)
    return shares
