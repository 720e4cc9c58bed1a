"""A mask as runs of one class, row by row: what browsers and we send each other.

    4 bytes    how many runs, little-endian
    n bytes    the class id of each
    the rest   the length of each as LEB128: seven bits a byte, the low ones first, the top bit set
               in all but the last

A browser need not have a PNG decoder that leaves grey values alone, and a body is checked against
the number of the picture's pixels before anything is unpacked.
"""

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ImageError, ShapeError

_HEAD = 4  # bytes
_LENGTH_BYTES = 5  # 35 bits, more than any picture has pixels


def runs_from_mask(mask: NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 class ids as runs."""
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)).astype(np.uint64)
    columns, used = [], []
    for place in range(_LENGTH_BYTES):
        left = lengths >> np.uint64(7 * place)
        goes_on = (left >= 128).astype(np.uint64) << np.uint64(7)
        columns.append(((left & np.uint64(127)) | goes_on).astype(np.uint8))
        used.append(left > 0)
    coded = np.stack(columns, axis=1)[np.stack(used, axis=1)]
    head = int(starts.size).to_bytes(_HEAD, "little")
    return head + bytes(flat[starts]) + bytes(coded)


def mask_from_runs(data: bytes, height: int, width: int, where: str) -> NDArray[np.uint8]:
    """(height, width) uint8 class ids from runs.

    Raises:
        ImageError: cut off, too long, or no runs at all.
        ShapeError: they are of another number of pixels.
    """
    count = int.from_bytes(data[:_HEAD], "little")
    if not 0 < count <= height * width or len(data) < _HEAD + 2 * count:
        raise ImageError(f"{where}: the mask that was sent is empty, cut off or no mask")
    classes = np.frombuffer(data, dtype=np.uint8, count=count, offset=_HEAD)
    coded = np.frombuffer(data, dtype=np.uint8, offset=_HEAD + count)
    ends = np.flatnonzero(coded < 128)
    if ends.size != count or ends[-1] != coded.size - 1:
        raise ImageError(f"{where}: the mask that was sent is cut off, or no mask")
    starts = np.concatenate([[0], ends[:-1] + 1])
    if int((ends - starts).max()) >= _LENGTH_BYTES:
        raise ImageError(f"{where}: a run of the mask is longer than any picture")
    lengths = np.zeros(count, dtype=np.uint64)
    for place in range(_LENGTH_BYTES):
        at = starts + place
        inside = at <= ends
        piece = coded[at[inside]].astype(np.uint64) & np.uint64(127)
        lengths[inside] |= piece << np.uint64(7 * place)
    total = int(lengths.sum())  # 35 bits each and at most 10^8 of them: it fits into 64
    if total != height * width:
        raise ShapeError(f"{where}: {total} pixels were sent, the picture has {width}x{height}")
    return np.repeat(classes, lengths.astype(np.int64)).reshape(height, width)
