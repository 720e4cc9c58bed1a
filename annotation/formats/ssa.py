"""Semantic Segment Anything's `<stem>_semantic.json`: a mask of runs for every class id.

    {"annotations": […], "semantic_mask": {"<id>": {"size": [h, w], "counts": "…"}, …}}

Only the closed-set program writes `semantic_mask`; the open-vocabulary one names masks in words.
"""

import json

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lifelong.errors import CorruptRecordError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.wire import json_object


def mask_from_ssa(data: bytes, label_map: LabelMap, where: str) -> NDArray[np.uint8]:
    """Read a file of SSA's; pixels of no class are 255.

    Returns:
        (H, W), uint8, class ids.

    Raises:
        CorruptRecordError: not such a file, or its classes overlap; names `where`.
        LabelMapError: an id that the label map does not have.
    """
    classes = json_object(data, where).get("semantic_mask")
    if not isinstance(classes, dict) or not classes:
        raise CorruptRecordError(
            f"{where}: no semantic_mask; only main_ssa.py (closed set) writes one"
        )
    mask: NDArray[np.uint8] | None = None
    for key, runs in classes.items():
        painted = _decoded(runs, f"{where}, class {key}")
        if mask is None:
            mask = np.full(painted.shape, IGNORE_INDEX, dtype=np.uint8)
        if mask.shape != painted.shape:
            raise CorruptRecordError(
                f"{where}, class {key}: {painted.shape} pixels, others have {mask.shape}"
            )
        if not key.isdecimal() or int(key) >= IGNORE_INDEX:
            raise CorruptRecordError(f"{where}: class id {key!r}, expected 0 .. 254")
        if (mask[painted] != IGNORE_INDEX).any():
            raise CorruptRecordError(f"{where}: class {key} overlaps another class")
        mask[painted] = int(key)
    assert mask is not None
    label_map.check(mask, where)
    return mask


def ssa_from_mask(mask: NDArray[np.uint8]) -> bytes:
    """Write a mask, (H, W) uint8, as SSA would, without the mask proposals."""
    classes = {}
    for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        runs = coco_mask.encode(np.asfortranarray(mask == class_id, dtype=np.uint8))
        size = [int(side) for side in runs["size"]]
        classes[str(class_id)] = {"size": size, "counts": runs["counts"].decode("ascii")}
    return json.dumps({"annotations": [], "semantic_mask": classes}).encode()


def _decoded(runs: object, where: str) -> NDArray[np.bool_]:
    """COCO runs, compressed (text) or not (list of numbers), as (H, W) bool."""
    if not isinstance(runs, dict):
        raise CorruptRecordError(f"{where}: expected size and counts, got {type(runs).__name__}")
    size, counts = runs.get("size"), runs.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(side, int) and side > 0 for side in size)
        or not isinstance(counts, str | list)
    ):
        raise CorruptRecordError(f"{where}: expected size [h, w] and counts, got {str(runs)[:80]}")
    height, width = size
    lengths = counts if isinstance(counts, list) else _lengths(counts, where)
    # pycocotools would read past the end of runs that are too short for the size.
    if not all(isinstance(run, int) and run >= 0 for run in lengths) or (
        sum(lengths) != height * width
    ):
        raise CorruptRecordError(f"{where}: the runs do not add up to {height} x {width} pixels")
    values = np.arange(len(lengths)) % 2 == 1  # the first run is background
    return np.repeat(values, lengths).reshape(width, height).T


def _lengths(text: str, where: str) -> list[int]:
    """COCO's compressed counts: six bits a character, differences from the run before last."""
    lengths: list[int] = []
    number, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise CorruptRecordError(f"{where}: {character!r} cannot be part of COCO runs")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # more to come
            continue
        if bits & 16:  # negative
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, shift = 0, 0
    return lengths
