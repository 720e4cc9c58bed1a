"""Counts by picture as a report keeps them: small enough for a record, read back as an array."""

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import CorruptRecordError
from lifelong.judging.confidence_intervals import TRUTH, Counts
from lifelong.records.model_versions import PictureCounts

_FIELDS = 3  # hits, truth, answered
_BYTES = 4  # of each number


def packed_counts(matrices: NDArray[np.int64], names: Sequence[str]) -> PictureCounts:
    """Counts of the pictures of one hold-out.

    Args:
        matrices: (N, C, C), confusion matrices of the pictures, row = truth.
        names: C class names.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([hits, matrices.sum(axis=2), matrices.sum(axis=1)], axis=-1)
    occurs = [place for place in range(len(names)) if counts[:, place].any()]
    data = counts[:, occurs].astype("<u4").tobytes()
    return PictureCounts(
        pictures=len(counts),
        classes=tuple(names[place] for place in occurs),
        packed=base64.b64encode(zlib.compress(data, 9)).decode(),
    )


def unpacked_counts(kept: PictureCounts) -> Counts:
    """(N, C, 3), int64: hits, truth and answered pixels by picture and class.

    Raises:
        CorruptRecordError: not what `packed_counts` makes.
    """
    size = kept.pictures * len(kept.classes) * _FIELDS * _BYTES
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(kept.packed, validate=True), size + 1)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise CorruptRecordError(f"counts by picture cannot be unpacked ({error})") from error
    if len(data) != size:
        raise CorruptRecordError(
            f"counts by picture: expected {kept.pictures} x {len(kept.classes)} x {_FIELDS} "
            "numbers; the report was damaged"
        )
    shape = (kept.pictures, len(kept.classes), _FIELDS)
    return np.frombuffer(data, dtype="<u4").astype(np.int64).reshape(shape)


def paired_counts(
    before: PictureCounts, after: PictureCounts
) -> tuple[tuple[str, ...], Counts, Counts] | None:
    """Counts of two models on the same pictures, of the classes that either report names.

    A class that one report does not name was neither there nor answered: all its counts are 0.

    Returns:
        Class names, and both counts, (N, C, 3); None when the two are not of the same pictures.

    Raises:
        CorruptRecordError: not what `packed_counts` makes.
    """
    names = tuple(dict.fromkeys((*after.classes, *before.classes)))
    if before.pictures != after.pictures or not names or not after.pictures:
        return None
    one, other = _spread(before, names), _spread(after, names)
    if (one[..., TRUTH] != other[..., TRUTH]).any():
        return None
    return names, one, other


def _spread(kept: PictureCounts, names: Sequence[str]) -> Counts:
    counts = np.zeros((kept.pictures, len(names), _FIELDS), dtype=np.int64)
    places = [names.index(name) for name in kept.classes]
    counts[:, places] = unpacked_counts(kept)
    return counts
