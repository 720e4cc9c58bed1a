"""Masks as PNG files of train ids, as training code reads them: 16-bit by default, or 8-bit."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.errors import ImageError
from lifelong.records.pixels import mask_from_png, png_from_mask


def train_ids_png(mask: NDArray[np.uint8], *, bits: Literal[8, 16] = 16) -> bytes:
    """Encode (H, W) uint8 class ids, 255 = ignore, as a grey PNG.

    16 bits is what seed 003's tools write and read; 8 bits is half as large and enough.

    Raises:
        ShapeError: not uint8 (H, W).
    """
    small = png_from_mask(mask)
    if bits == 8:
        return small
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_train_ids(path: Path, mask: NDArray[np.uint8], *, bits: Literal[8, 16] = 16) -> None:
    """Write a mask as `path`; folders are made.

    Raises:
        ImageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(train_ids_png(mask, bits=bits))
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error


def read_train_ids(path: Path) -> NDArray[np.uint8]:
    """Read such a file, 8 or 16 bits, as (H, W) uint8.

    Raises:
        ImageError: it cannot be read, or holds ids above 255.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return mask_from_png(data, str(path))
