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
_CHUNK = 1 << 15  # runs packed at a time


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
    longest = 3 + max(_SIZES) + 8
    tokens = len(lengths) + int(lengths.sum()) // _LONGEST_RUN
    words = np.zeros((_HEADER_BITS + tokens * longest) // 64 + 2, dtype=np.uint64)
    words[0] = np.uint64(_header(count) << (64 - _HEADER_BITS))
    at = _HEADER_BITS
    for start in range(0, len(lengths), _CHUNK):  # arrays that stay in the processor's cache
        some = slice(start, start + _CHUNK)
        numbers, widths = _tokens(lengths[some], values[some])
        at = _append(words, at, numbers, widths)
    # The SDK adds eight zero bits even when the last byte is full already.
    return list(words[: at // 64 + 2].astype(">u8").tobytes()[: at // 8 + 1])


def _tokens(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Each run as a number and how many bits it has: flag, size index, count - 1, value."""
    kinds = (lengths > 8).astype(np.int64)
    kinds += lengths > 16
    kinds += lengths > 256
    flags = (lengths > 1).astype(np.int64)  # single values clear the flag
    if lengths.max() > _LONGEST_RUN:
        pieces = (lengths - 1) // _LONGEST_RUN + 1  # a token holds at most 65,536
        rest = lengths - (pieces - 1) * _LONGEST_RUN
        kinds, flags, values = (np.repeat(each, pieces) for each in (kinds, flags, values))
        lengths = np.full(int(pieces.sum()), _LONGEST_RUN, dtype=np.int64)
        lengths[np.cumsum(pieces) - 1] = rest
    size_bits = np.array(_SIZES, dtype=np.int64)[kinds]
    numbers = (((flags << 2 | kinds) << size_bits) | (lengths - 1)) << 8 | values
    return numbers.astype(np.uint64), size_bits + 11


def _append(
    words: NDArray[np.uint64], at: int, numbers: NDArray[np.uint64], widths: NDArray[np.int64]
) -> int:
    """Write numbers of `widths` bits into big-endian words from bit `at` on; the bit after them."""
    ends = np.cumsum(widths) + at
    starts = ends - widths
    place = starts >> 6
    over = (starts & 63) + widths - 64  # bits that belong to the next word, if positive
    left = np.maximum(-over, 0).astype(np.uint64)
    right = np.maximum(over, 0).astype(np.uint64)
    firsts = np.flatnonzero(np.diff(place, prepend=-1))
    words[place[firsts]] |= np.bitwise_or.reduceat(numbers << left >> right, firsts)
    across = np.flatnonzero(over > 0)
    words[place[across] + 1] |= numbers[across] << (64 - over[across]).astype(np.uint64)
    return int(ends[-1])


def _header(count: int) -> int:
    number = count << 5 | 7
    for size in _SIZES:
        number = number << 4 | (size - 1)
    return number


def _unpacked(data: bytes, count: int, where: str) -> NDArray[np.uint8]:
    """(count,) uint8; tokens are found one by one, everything else is done by numpy."""
    header = int.from_bytes(data[:7], "big") >> 3
    if (header >> 16) & 31 != 7:
        raise CorruptRecordError(
            f"{where}: brush RLE with values of {((header >> 16) & 31) + 1} bits, expected 8"
        )
    sizes = [((header >> shift) & 15) + 1 for shift in (12, 8, 4, 0)]
    padded = data + bytes(8)
    starts = np.array(_token_starts(padded, len(data) * 8, sizes), dtype=np.int64)
    head = _bits_at(padded, starts, 19)  # flag, size index, and up to 16 bits of the count
    repeated = (head >> 18).astype(np.bool_)
    size = np.array(sizes, dtype=np.int64)[(head >> 16) & 3]
    counts = ((head & 0xFFFF) >> (16 - size)) + 1
    reached = np.cumsum(counts)
    if not reached.size or reached[-1] < count:
        filled = int(counts.sum())
        raise CorruptRecordError(f"{where}: brush RLE ends after {filled} of {count} values")
    # What comes after the last pixel is not unpacked: a few bytes may say billions of them.
    enough = int(np.searchsorted(reached, count)) + 1
    starts, repeated = starts[:enough], repeated[:enough]
    size, counts = size[:enough], counts[:enough]
    # A repeated value is one entry, values that differ are one each.
    entries = np.where(repeated, 1, counts)
    first = np.cumsum(entries) - entries
    number = np.arange(int(entries.sum())) - np.repeat(first, entries)
    values = _bits_at(padded, np.repeat(starts + 3 + size, entries) + 8 * number, 8)
    lengths = np.where(np.repeat(repeated, entries), np.repeat(counts, entries), 1)
    # A last run may be written longer than the picture; what is over is cut off.
    return np.repeat(values.astype(np.uint8), lengths)[:count]


def _token_starts(padded: bytes, end: int, sizes: Sequence[int]) -> list[int]:
    """At which bit each token begins; the last ones may be nothing but the padding.

    A token's length follows from its first bits, so where all of them begin can only be found by
    going from one to the next. How far to go is looked up: for repeated values it depends on
    three bits, so it is worked out for every bit of the data at once.
    """
    octets = np.frombuffer(padded, dtype=np.uint8)
    pairs = octets[:-1].astype(np.uint16) << 8 | octets[1:]
    by_bits = np.array([0] * 4 + [3 + size + 8 for size in sizes], dtype=np.uint8)
    table = np.empty((len(pairs), 8), dtype=np.uint8)
    for bit in range(8):
        table[:, bit] = by_bits[(pairs << bit & 0xFFFF) >> 13]
    steps = table.tobytes()
    starts: list[int] = []
    at = _HEADER_BITS
    last = end - (3 + min(sizes) + 8)  # no token is shorter
    while at <= last:
        step = steps[at]
        if not step:  # values that differ: their number says how far
            size = sizes[
                int.from_bytes(padded[at >> 3 : (at >> 3) + 2], "big") >> 13 - (at & 7) & 3
            ]
            window = int.from_bytes(padded[at >> 3 : (at >> 3) + 4], "big")
            run = (window >> (29 - (at & 7) - size) & ((1 << size) - 1)) + 1
            step = 3 + size + 8 * run
        if at + step > end:
            break
        starts.append(at)
        at += step
    return starts


def _bits_at(padded: bytes, starts: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The numbers of `width` (at most 25) bits that begin at these bits."""
    octets = np.frombuffer(padded, dtype=np.uint8)
    byte = starts >> 3
    window = octets[byte].astype(np.int64)
    for next_byte in (1, 2, 3):
        window = window << 8 | octets[byte + next_byte]
    numbers = window >> (32 - width - (starts & 7)) & ((1 << width) - 1)
    return np.asarray(numbers, dtype=np.int64)
