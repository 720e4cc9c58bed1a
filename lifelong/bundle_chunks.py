"""Where a bundle is cut, so that what two models share is the same chunk in both.

Cuts follow the ONNX initialisers: a weight that training left alone is then a chunk that every
node of the fleet already has. Small tensors lie together, large ones are cut again.
"""

from itertools import pairwise

from lifelong.errors import CorruptRecordError
from lifelong.model_bundle import ModelBundle
from lifelong.onnx_layout import initialiser_spans
from lifelong.records.chunk_list import Chunk, ChunkList
from lifelong.records.ids import sha256_hex

SMALLEST = 16 * 2**10  # bytes: below this a request costs more than what it saves
LARGEST = 2**20  # bytes: what a cut link loses at most


def chunk_list(bundle: ModelBundle, data: bytes) -> ChunkList:
    """The chunks of a bundle file (`data`), in order."""
    return ChunkList(
        version_id=bundle.version_id,
        chunks=tuple(
            Chunk(sha256=sha256_hex(piece), size=len(piece)) for piece in pieces(bundle, data)
        ),
    )


def pieces(bundle: ModelBundle, data: bytes) -> list[bytes]:
    """A bundle file cut into pieces that give it when joined.

    Args:
        bundle: what `data` holds.
        data: the file. Equal layouts (the same network, other weights) are cut at equal places.
    """
    edges = [0, *_wanted_cuts(bundle, data), len(data)]
    return [
        data[begin:end]
        for first, last in pairwise(edges)
        for begin, end in _not_too_large(first, last)
    ]


def bytes_to_fetch(bundle: ModelBundle, before: ModelBundle | None) -> int:
    """Bytes that a node with the bundle `before` has yet to fetch; None: it has none."""
    there = (
        {chunk.sha256 for chunk in chunk_list(before, before.to_bytes()).chunks}
        if before is not None
        else set()
    )
    wanted = {chunk.sha256: chunk.size for chunk in chunk_list(bundle, bundle.to_bytes()).chunks}
    return sum(size for sha256, size in wanted.items() if sha256 not in there)


def _wanted_cuts(bundle: ModelBundle, data: bytes) -> list[int]:
    """Byte positions before and after large tensors, and after enough small ones."""
    start = data.find(bundle.onnx)
    try:
        spans = initialiser_spans(bundle.onnx)
    except CorruptRecordError:
        return []  # the trial will refuse it; it can be sent all the same
    cuts = []
    last = 0
    for begin, end in ((start + first, start + end) for first, end in spans):
        is_large = end - begin >= SMALLEST
        if is_large and begin - last > 0:
            cuts.append(begin)
            last = begin
        if end - last >= SMALLEST and end < len(data):
            cuts.append(end)
            last = end
    return cuts


def _not_too_large(begin: int, end: int) -> list[tuple[int, int]]:
    return [(at, min(at + LARGEST, end)) for at in range(begin, end, LARGEST)]
