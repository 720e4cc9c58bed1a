"""What a picture looks like in 176 numbers, and which classes an edge saw in it; kept in storage.

Neither torch nor a model is needed. What was computed once lies under `features/{sample}.json`, so
that ten thousand waiting pictures are read once, not once a round.
"""

import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lifelong.errors import CorruptRecordError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.wire import dumps, json_object

logger = logging.getLogger(__name__)

FEATURES = "features"
LENGTH = 176  # numbers of a descriptor
_SCHEMA = 1
_CELLS = 4  # cells a side
_ANGLES = 8  # of unsigned gradients, 22.5 degrees each


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the queue knows of a picture."""

    descriptor: NDArray[np.float32] | None  # (176,); None: the picture cannot be read
    class_pixels: Mapping[int, int] | None  # class id -> pixels of the edge's mask; None: no mask
    reasons: tuple[str, ...] = ()  # why something is None


def descriptor(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour layout and gradient histograms of a picture, on 4 x 4 cells.

    The first 48 numbers are the mean CIE Lab colours of the cells (0 .. 1 each), divided by 4, so
    that the distance of two layouts is the root mean square over the cells. The other 128 are the
    square roots of a histogram of gradient directions by cell, weighted by magnitude, that sums to
    1/4: their distance is half the Hellinger distance times the square root of two.

    Args:
        image: (H, W, 3), uint8, RGB, any size.

    Returns:
        (176,), float32; Euclidean distances mean something.
    """
    small = cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255.0
    layout = cv2.resize(lab, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).ravel() / _CELLS
    across = cv2.Sobel(lab[..., 0], cv2.CV_32F, 1, 0)
    down = cv2.Sobel(lab[..., 0], cv2.CV_32F, 0, 1)
    magnitude, angle = cv2.cartToPolar(across, down)
    bins = np.floor(angle % np.pi / np.pi * _ANGLES).astype(np.int64) % _ANGLES
    rows, columns = np.indices(bins.shape)
    height, width = bins.shape
    cells = rows * _CELLS // height * _CELLS + columns * _CELLS // width
    histogram = np.bincount(
        (cells * _ANGLES + bins).ravel(),
        weights=magnitude.ravel(),
        minlength=_CELLS * _CELLS * _ANGLES,
    )
    total = float(histogram.sum())
    edges = np.sqrt(histogram / total) / 2.0 if total > 0 else np.zeros_like(histogram)
    numbers: NDArray[np.float32] = np.concatenate([layout, edges]).astype(np.float32)
    return numbers


def class_pixels_of(mask: NDArray[np.uint8]) -> dict[int, int]:
    """Class id to pixels of a (H, W) uint8 mask; ignored pixels are no class."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts) if i != IGNORE_INDEX}


class KeptFeatures:
    """Features by sample id: from memory, else from storage, else from the picture itself."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[SampleId, Features] = {}

    def knows(self, sample_id: SampleId) -> bool:
        """Need the picture not be read again?"""
        if sample_id not in self._known:
            kept = self._kept(sample_id)
            if kept is None:
                return False
            self._known[sample_id] = kept
        return True

    def of(self, sample_id: SampleId, image_key: str, mask_key: str | None = None) -> Features:
        """The features of a picture; what cannot be read is None and says why, and is tried again
        by the next process.

        Args:
            mask_key: the edge's own mask; None: its classes are not asked for.
        """
        if self.knows(sample_id):
            known = self._known[sample_id]
            if mask_key is None or known.class_pixels is not None or known.reasons:
                return known
        made = self._made(image_key, mask_key)
        if not made.reasons:
            self._storage.put(_key(sample_id), _packed(made))
        self._known[sample_id] = made
        return made

    def _made(self, image_key: str, mask_key: str | None) -> Features:
        reasons: list[str] = []
        numbers: NDArray[np.float32] | None = None
        pixels: dict[int, int] | None = None
        try:
            numbers = descriptor(image_from_bytes(self._storage.get(image_key), image_key))
        except (ObjectNotFoundError, RecordError) as error:
            reasons.append(str(error))
        if mask_key is not None:
            try:
                pixels = class_pixels_of(mask_from_png(self._storage.get(mask_key), mask_key))
            except (ObjectNotFoundError, RecordError) as error:
                reasons.append(str(error))
        return Features(descriptor=numbers, class_pixels=pixels, reasons=tuple(reasons))

    def _kept(self, sample_id: SampleId) -> Features | None:
        key = _key(sample_id)
        try:
            return _unpacked(self._storage.get(key), key)
        except ObjectNotFoundError:
            return None
        except CorruptRecordError as error:
            logger.warning("%s; the picture is read again", error)
            return None


def _key(sample_id: SampleId) -> str:
    return f"{FEATURES}/{sample_id}.json"


def _packed(features: Features) -> bytes:
    assert features.descriptor is not None
    pixels = features.class_pixels
    return dumps(
        {
            "schema": _SCHEMA,
            "descriptor": base64.b64encode(features.descriptor.astype("<f4").tobytes()).decode(),
            "class_pixels": None if pixels is None else {str(i): n for i, n in pixels.items()},
        }
    )


def _unpacked(data: bytes, key: str) -> Features:
    """
    Raises:
        CorruptRecordError: of another schema, or not what `_packed` writes.
    """
    body = json_object(data, key)
    try:
        numbers = np.frombuffer(base64.b64decode(body["descriptor"], validate=True), dtype="<f4")
        pixels = body["class_pixels"]
        kept = None if pixels is None else {int(i): int(n) for i, n in pixels.items()}
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise CorruptRecordError(f"{key}: not the features of a picture ({error!r})") from error
    if (
        body.get("schema") != _SCHEMA
        or numbers.shape != (LENGTH,)
        or not np.isfinite(numbers).all()
    ):
        raise CorruptRecordError(f"{key}: features of another version")
    return Features(descriptor=numbers.astype(np.float32), class_pixels=kept)
