"""The regions of <BitmaskLabels>: a PNG in a data URL, whose alpha says what is painted."""

import base64
import binascii
import io

import numpy as np
from PIL import Image

from annotation.assist.segmenter import Mask
from lifelong.errors import CorruptRecordError, ShapeError

_HEAD = "data:image/png;base64,"


def data_url_from_mask(mask: Mask) -> str:
    """(H, W) bool as a PNG of opaque black on nothing, as the editor's own strokes are."""
    alpha = mask.astype(np.uint8) * 255
    pixels = np.stack([np.zeros_like(alpha), alpha], axis=2)
    encoded = io.BytesIO()
    Image.fromarray(pixels, "LA").convert("RGBA").save(encoded, "PNG", compress_level=1)
    return _HEAD + base64.b64encode(encoded.getvalue()).decode("ascii")


def mask_from_data_url(url: object, size: tuple[int, int], where: str) -> Mask:
    """(height, width) bool; a pixel counts as painted when its alpha is above 127.

    Raises:
        CorruptRecordError: not such a PNG; names `where`.
        ShapeError: it has another size.
    """
    if not isinstance(url, str) or not url.startswith(_HEAD):
        raise CorruptRecordError(f"{where}: a bitmask is a PNG in a data URL")
    try:
        data = base64.b64decode(url[len(_HEAD) :], validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (size[1], size[0]):  # known before a pixel is unpacked
                raise ShapeError(
                    f"{where}: a bitmask of {image.size[0]}x{image.size[1]} pixels, the picture "
                    f"has {size[1]}x{size[0]}"
                )
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
    except (
        binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError
    ) as error:  # fmt: skip
        raise CorruptRecordError(f"{where}: a bitmask that cannot be read ({error})") from error
    return np.asarray(alpha > 127)
