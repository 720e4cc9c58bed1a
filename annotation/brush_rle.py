"""Label Studio's brush strokes: run lengths over RGBA pixels, packed in bits, and back.

The format is rle-pack of thi.ng/umbrella: a header of 53 bits (32: number of values, 5: bits of a
value - 1, 4 x 4: bits of each run-length size - 1), then tokens of

    1 bit   0: as many different values follow, 1: one value is repeated
    2 bits  which of the four sizes the count uses
    n bits  count - 1
    8 bits  a value, or `count` values

Values are the bytes of an (H, W, 4) picture; only alpha (the fourth) says what is painted.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import CorruptRecordError, ShapeError

_SIZES = (3, 4, 8, 16)  # bits of a run length that we write, as Label Studio's SDK does
_HEADER_BITS = 53
_LONGEST_RUN = 1 << 16


def rle_from_mask(painted: NDArray[np.bool_]) -> list[int]:
    """Pack a mask as Label Studio's SDK would, bit for bit.

    Args:
        painted: (H, W), bool.

    Returns:
        Bytes as a list of 0 .. 255.

    Raises:
        ShapeError: not a bool (H, W), or empty.
    """
    if painted.dtype != np.bool_ or painted.ndim != 2 or painted.size == 0:
        raise ShapeError(f"a brush mask is bool (H, W), got {painted.dtype} {painted.shape}")
    flat = painted.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    lengths = np.diff(ends, prepend=-1) * 4  # four channels a pixel
    return _packed(lengths, flat[ends].astype(np.int64) * 255, flat.size * 4)


def mask_from_rle(rle: Sequence[int], height: int, width: int, where: str) -> NDArray[np.bool_]:
    """Unpack a brush region; a pixel counts as painted when its alpha is above 127.

    Strokes from the browser are anti-aliased: any alpha above 0 would give 3.5 % more pixels.

    Returns:
        (height, width), bool.

    Raises:
        CorruptRecordError: not such a list of bytes, or it ends early; names `where`.
        ShapeError: it holds another number of pixels; names `where`.
    """
    try:
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: brush RLE is a list of bytes ({error})") from error
    if len(data) * 8 < _HEADER_BITS:
        raise CorruptRecordError(f"{where}: brush RLE of {len(data)} bytes is too short")
    count = int.from_bytes(data[:4], "big")
    if count != height * width * 4:
        raise ShapeError(
            f"{where}: brush RLE holds {count} values, expected 4 x {height} x {width} "
            f"= {4 * height * width}; the image has another size"
        )
    values = _unpacked(data, count, where)
    alpha = values.reshape(height, width, 4)[..., 3]
    return np.asarray(alpha > 127, dtype=np.bool_)


def _packed(lengths: NDArray[np.int64], values: NDArray[np.int64], count: int) -> list[int]:
    """Runs (lengths, values 0 .. 255) of `count` values to bytes."""
    pieces = (lengths - 1) // _LONGEST_RUN + 1  # a token holds at most 65,536
    kinds = np.repeat(np.searchsorted([8, 16, 256], lengths), pieces)
    last = np.cumsum(pieces) - 1
    counts = np.full(int(pieces.sum()), _LONGEST_RUN, dtype=np.int64)
    counts[last] = lengths - (pieces - 1) * _LONGEST_RUN
    values = np.repeat(values, pieces)
    size_bits = np.array(_SIZES, dtype=np.int64)[kinds]
    # A token is one number: flag, size index, count - 1, value; single values clear the flag.
    flags = (np.repeat(lengths, pieces) > 1).astype(np.int64)
    tokens = (((flags << 2 | kinds) << size_bits) | (counts - 1)) << 8 | values
    widths = size_bits + 11
    starts = np.cumsum(widths) - widths + _HEADER_BITS
    total = int(starts[-1] + widths[-1])
    # The SDK adds eight zero bits even when the last byte is full already.
    bits = np.zeros(total + 8 - total % 8, dtype=np.uint8)
    bits[:_HEADER_BITS] = _header_bits(count)
    for size in _SIZES:
        chosen = size_bits == size
        shifts = np.arange(size + 10, -1, -1)
        places = starts[chosen, None] + np.arange(size + 11)
        bits[places] = (tokens[chosen, None] >> shifts) & 1
    return [int(byte) for byte in np.packbits(bits).tolist()]


def _header_bits(count: int) -> NDArray[np.uint8]:
    text = f"{count:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    return np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")


def _unpacked(data: bytes, count: int, where: str) -> NDArray[np.uint8]:
    """(count,) uint8; tokens are walked one by one, pixels are filled by numpy."""
    header = int.from_bytes(data[:7], "big") >> 3
    if (header >> 16) & 31 != 7:
        raise CorruptRecordError(
            f"{where}: brush RLE with values of {((header >> 16) & 31) + 1} bits, expected 8"
        )
    sizes = [((header >> shift) & 15) + 1 for shift in (12, 8, 4, 0)]
    end = len(data) * 8
    padded = data + bytes(8)
    lengths: list[int] = []
    values: list[int] = []
    at, filled = _HEADER_BITS, 0
    while filled < count:
        # At most 7 + 3 + 16 + 8 bits are needed: five bytes hold every token.
        byte = at >> 3
        window = int.from_bytes(padded[byte : byte + 5], "big") & ((1 << (40 - (at & 7))) - 1)
        left = 40 - (at & 7)
        size = sizes[(window >> (left - 3)) & 3]
        run = ((window >> (left - 3 - size)) & ((1 << size) - 1)) + 1
        at += 3 + size
        if window >> (left - 1):
            lengths.append(run)
            values.append((window >> (left - 11 - size)) & 255)
            at += 8
        else:
            if at + 8 * run <= end:
                values.extend(_bytes_at(padded, at, run))
                lengths.extend([1] * run)
            at += 8 * run
        if at > end:
            raise CorruptRecordError(f"{where}: brush RLE ends after {filled} of {count} values")
        filled += run
    # A last run may be written longer than the picture; what is over is cut off.
    runs = np.array(lengths, dtype=np.int64)
    return np.repeat(np.array(values, dtype=np.uint8), runs)[:count]


def _bytes_at(padded: bytes, bit: int, count: int) -> bytes:
    """`count` bytes that begin at any bit."""
    first, shift = bit >> 3, bit & 7
    number = int.from_bytes(padded[first : first + count + 1], "big") >> (8 - shift)
    return (number & ((1 << (8 * count)) - 1)).to_bytes(count, "big")
