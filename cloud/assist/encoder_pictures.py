"""A picture as segment-anything's encoders take it, without torch, and the same to the last bit."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.errors import ShapeError

Triple = tuple[float, float, float]


def input_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width after the longer side became `side`; a line stays at least a pixel."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def encoder_input(
    image: NDArray[np.uint8], *, side: int, mean: Triple, std: Triple
) -> NDArray[np.float32]:
    """(H, W, 3) uint8 RGB to (1, 3, side, side): scaled bilinearly, normalised, padded with 0.

    Args:
        image: of any size.
        side: of the encoder's square.
        mean, std: of pixels in 0 .. 255; red, green, blue.

    Raises:
        ShapeError: not (H, W, 3) uint8, or without a pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"picture of shape {image.shape}, {image.dtype}; expected (H, W, 3) uint8")
    height, width = input_size(image.shape[0], image.shape[1], side)
    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture).astype(np.float32)
    pixels -= np.asarray(mean, np.float32)
    pixels /= np.asarray(std, np.float32)
    square = np.zeros((1, 3, side, side), np.float32)
    square[0, :, :height, :width] = pixels.transpose(2, 0, 1)
    return square
