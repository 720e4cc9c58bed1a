"""`Frame` and `Prediction`, checked once at construction; JPEG and PNG to arrays and back."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lifelong.errors import ImageError, ShapeError
from lifelong.records.ids import EdgeId, VersionId

# A decompression bomb is a small file that unpacks to gigabytes; 100 megapixels is more than
# any camera of an edge node delivers.
MAX_PIXELS = 100_000_000

# Pillow knows forty more, some of which start programs, hang, or raise whatever they like.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture from a camera, in memory only.

    Raises:
        ShapeError: `image` is not (H, W, 3) uint8.
    """

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    edge_id: EdgeId
    captured_at: datetime  # UTC
    sequence: int = 0  # counts up on the device, also when its clock jumps
    attributes: Mapping[str, str] = field(default_factory=dict)  # site, camera, condition …
    encoded: bytes | None = None  # the camera's own JPEG or PNG, when there is one

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ShapeError(
                f"Frame.image: expected uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a segmenter answers for one frame, in memory only.

    The planes of doubt cover the picture on a grid of their own, (h, w): the network's, which
    knows no more on a finer one; `lifelong.preprocessing.at_picture_size` enlarges them.

    Raises:
        ShapeError: the arrays disagree with each other or with their types.
    """

    mask: NDArray[np.uint8]  # (H, W), class ids
    confidence: NDArray[np.float32]  # (h, w), probability of the chosen class, 0 .. 1
    entropy: NDArray[np.float32]  # (h, w), normalised, 0 = sure, 1 = uniform
    margin: NDArray[np.float32]  # (h, w), best minus second best probability, 0 .. 1
    version_id: VersionId
    # (D,), the model's whitened description of the picture; None when the bundle brings none
    embedding: NDArray[np.float32] | None = None
    # How far the picture is from everything the model was trained for, 0 .. 1; 0.5 = the model's
    # own 0.95 quantile; None when the bundle brings no prototypes.
    novelty: float | None = None
    # The same of each class's pixels from that class's prototype, by class id.
    class_novelty: Mapping[int, float] = field(default_factory=dict)
    # (h, w) probability of the classes that a node watches for privacy, by class id, at the
    # network's own resolution: where such a class is likely although another one won.
    watched: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mask.dtype != np.uint8 or self.mask.ndim != 2:
            raise ShapeError(
                f"Prediction.mask: expected uint8 (H, W), got {self.mask.dtype} {self.mask.shape}"
            )
        grid = self.confidence.shape
        if len(grid) != 2 or (0 in grid) != (0 in self.mask.shape):
            raise ShapeError(f"Prediction.confidence: {grid} cannot cover {self.mask.shape}")
        for name in ("confidence", "entropy", "margin"):
            values = getattr(self, name)
            if values.shape != grid or values.dtype != np.float32:
                raise ShapeError(
                    f"Prediction.{name}: expected float32 {grid}, got {values.dtype} {values.shape}"
                )


def image_from_bytes(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, BMP, TIFF, WebP or GIF image, turned upright by its EXIF orientation.

    Returns:
        (H, W, 3), uint8, RGB.

    Raises:
        ImageError: not an image, truncated, or larger than `MAX_PIXELS`; names `where`.
    """
    try:
        # Pillow warns of large pictures and damaged EXIF; our own limit decides, and whoever sets
        # a program up hides it (`lifelong/links/logs.py`): here, where many threads are, nobody
        # can, since what is done with warnings is done to the whole process.
        with _opened(data, FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ImageError(
                    f"{where}: {picture.width}x{picture.height} pixels is more than the "
                    f"{MAX_PIXELS} that are read; scale the image down"
                )
            picture.load()
            return _rgb(ImageOps.exif_transpose(picture), where)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises anything for damaged bytes
        why = _why(data, error, f"none of {', '.join(FORMATS)}; save it as one of them")
        raise ImageError(f"{where}: not a readable image ({why})") from error


def _why(data: bytes, error: Exception, strange: str) -> str:
    """What was wrong, without Pillow's words for a buffer; `strange`: it is of no known format."""
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return strange
    return str(error)


def _opened(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=formats)


def _rgb(picture: Image.Image, where: str) -> NDArray[np.uint8]:
    """Any kind of pixels as RGB; what is transparent keeps its colour."""
    if picture.mode.startswith("I"):
        # Pillow cuts 16 bits off at 255: a grey picture would be white. The high byte is the
        # picture; values that fit into one byte are taken as they are.
        values = np.asarray(picture).astype(np.int64)
        top = int(values.max(initial=0))
        if values.min(initial=0) < 0 or top > 0xFFFF:
            raise ImageError(
                f"{where}: grey values from {values.min()} to {top}; expected 8 or 16 bits"
            )
        grey = (values >> 8 if top > 0xFF else values).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode == "F":
        raise ImageError(f"{where}: pixels are fractions; save it with 8 or 16 bits")
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def jpeg_from_image(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def png_from_mask(mask: NDArray[np.uint8]) -> bytes:
    """Encode (H, W) uint8 class ids as an 8-bit grey PNG.

    Raises:
        ShapeError: not uint8 (H, W).
    """
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ShapeError(f"a mask is uint8 (H, W), got {mask.dtype} {mask.shape}")
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def mask_from_png(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode a PNG of class ids: 8-bit grey or palette, or 16-bit grey with values up to 255.

    Returns:
        (H, W), uint8.

    Raises:
        ImageError: not a PNG of class ids; names `where`.
    """
    try:
        with _opened(data, ("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ImageError(f"{where}: a mask is a PNG of at most {MAX_PIXELS} pixels")
            if picture.mode not in {"L", "P", "I", "I;16"}:
                raise ImageError(
                    f"{where}: a mask holds one number a pixel (grey or palette PNG), "
                    f"this one is {picture.mode}"
                )
            values = np.asarray(picture)
    except ImageError:
        raise
    except Exception as error:  # as above
        why = _why(data, error, "a mask is a PNG")
        raise ImageError(f"{where}: not a readable PNG of class ids ({why})") from error
    if values.size and int(values.max()) > 255:
        raise ImageError(f"{where}: class ids above 255 ({int(values.max())})")
    return values.astype(np.uint8)
