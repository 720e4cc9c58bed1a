"""A region's pixels as COCO's `segmentation`, and back: polygons, run lengths, boxes.

COCO's runs go column by column, zeros first; "compressed" is the same list in a text form. Runs
are read here by numpy and checked: pycocotools takes their word and reads beyond its memory.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from annotation.bridges import bridged, thinned
from annotation.outlines import Outline, filled
from annotation.polygons import Patch, patch_of
from lifelong.errors import CorruptRecordError, ShapeError

Segmentation = Literal["polygon", "rle", "auto"]

_MAX_COUNT = 1 << 40  # pixels; no picture has more, and sums stay far from 64 bits


def rle_of(patch: Patch, height: int, width: int) -> dict[str, object]:
    """A patch on a (height, width) picture as compressed runs: {"size": [h, w], "counts": str}."""
    runs = {"size": [height, width], "counts": runs_of(patch, height, width)}
    compressed = coco_mask.frPyObjects(runs, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def runs_of(patch: Patch, height: int, width: int) -> list[int]:
    """Uncompressed runs, zeros first, without empty ones in between."""
    if patch.area == 0:
        return [height * width]
    columns = np.pad(patch.painted, ((1, 1), (0, 0))).T.astype(np.int8)
    changes = np.diff(columns, axis=1)
    column, start = np.nonzero(changes == 1)
    _, stop = np.nonzero(changes == -1)
    base = (column + patch.x0) * height + patch.y0
    starts, stops = base + start, base + stop
    # A column painted down to the bottom goes on at the top of the next one.
    apart = starts[1:] != stops[:-1]
    starts = starts[np.concatenate([[True], apart])]
    stops = stops[np.concatenate([apart, [True]])]
    edges = np.stack([starts, stops], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    return [int(count) for count in (counts[:-1] if counts[-1] == 0 else counts)]


def polygons_of(outlines: Sequence[Outline], *, tolerance_px: float) -> list[list[float]]:
    """One polygon a piece, holes tied in by bridge lines; exact when the tolerance is 0."""
    found: list[list[float]] = []
    for outline in outlines:
        ring = bridged(outline) if tolerance_px <= 0 else thinned(outline, tolerance_px)
        found.append([float(value) for value in ring.ravel()])
    return found


def pixels_area(segmentation: Mapping[str, object]) -> int:
    """Painted pixels of compressed runs, as pycocotools counts them."""
    return int(coco_mask.area({**segmentation, "counts": str(segmentation["counts"]).encode()}))


def patch_from_segmentation(segmentation: object, height: int, width: int, where: str) -> Patch:
    """The pixels of a `segmentation` of any kind.

    Polygons are filled where a pixel's centre is inside; several polygons are painted together.

    Raises:
        CorruptRecordError: neither polygons nor runs, or runs that do not add up.
        ShapeError: runs for a picture of another size.
    """
    if isinstance(segmentation, Mapping):
        return _from_runs(segmentation, height, width, where)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not segmentation:
        raise CorruptRecordError(f"{where}: segmentation is neither polygons nor runs")
    painted = np.zeros((height, width), dtype=np.bool_)
    for polygon in segmentation:
        patch = filled([_ring(polygon, where)], height, width)
        rows = slice(patch.y0, patch.y0 + patch.painted.shape[0])
        painted[rows, patch.x0 : patch.x0 + patch.painted.shape[1]] |= patch.painted
    return patch_of(painted)


def patch_from_box(box: object, height: int, width: int, where: str) -> Patch:
    """The pixels whose centre lies in x, y, width, height.

    Raises:
        CorruptRecordError: not four finite numbers, or a negative size.
    """
    try:
        x, y, wide, high = np.array(box, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: bbox is x, y, width, height ({error})") from error
    if not np.isfinite([x, y, wide, high]).all() or wide < 0 or high < 0:
        raise CorruptRecordError(f"{where}: bbox {[x, y, wide, high]} has no size")
    ring = np.array([[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]])
    return filled([ring], height, width)


def _ring(polygon: object, where: str) -> NDArray[np.float64]:
    try:
        numbers = np.array(polygon, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: a polygon is x, y, x, y, … ({error})") from error
    if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2 or not np.isfinite(numbers).all():
        raise CorruptRecordError(
            f"{where}: a polygon is x, y, x, y, … of at least three corners, "
            f"got {numbers.size} numbers"
        )
    return numbers.reshape(-1, 2)


def _from_runs(runs: Mapping[object, object], height: int, width: int, where: str) -> Patch:
    size, counts = runs.get("size"), runs.get("counts")
    if size != [height, width]:
        raise ShapeError(f"{where}: runs for size {size}, its image has [{height}, {width}]")
    try:
        if isinstance(counts, str):
            found = _counts_of_text(counts)
        else:
            found = np.array(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordError(f"{where}: runs cannot be read ({error})") from error
    wrong = found.ndim != 1 or found.size == 0 or found.min() < 0 or found.max() > _MAX_COUNT
    if wrong or int(found.sum()) != height * width:
        raise CorruptRecordError(
            f"{where}: runs do not add up to {width} x {height} = {height * width} pixels"
        )
    values = np.arange(found.size) % 2 == 1
    return patch_of(np.repeat(values, found).reshape(width, height).T)


def _counts_of_text(text: str) -> NDArray[np.int64]:
    """COCO's compressed counts: five bits a sign, each count from the third on as a difference."""
    signs = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if signs.size == 0 or signs.min() < 0 or signs.max() > 63 or signs[-1] & 32:
        raise ValueError("not the signs of compressed runs")
    last = np.flatnonzero(signs & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if int((last - first).max()) > 8:
        raise ValueError("a run with more than 45 bits")
    place = np.arange(signs.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((signs & 31) << (5 * place), first)
    values -= np.where(signs[last] & 16, np.int64(1) << (5 * (last - first + 1)), 0)
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    return values
