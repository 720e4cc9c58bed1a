"""Semantic Segment Anything's `<stem>_semantic.json`: a mask of runs for every class id.

    {"annotations": […], "semantic_mask": {"<id>": {"size": [h, w], "counts": "…"}, …}}

Its open-vocabulary program writes no `semantic_mask` and names masks in words; who reads such a
file says which class a word means.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lifelong.errors import CorruptRecordError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.wire import json_object


@dataclass(frozen=True, slots=True, kw_only=True)
class SsaAnnotation:
    """One mask of the file, named."""

    size: tuple[int, int]  # height, width
    counts: Sequence[int]  # COCO's uncompressed runs, column by column, zeros first
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive
    predicted_iou: float
    stability: float
    point: tuple[float, float] | None  # x, y of the click it answers; None: it answers none
    crop_box: tuple[int, int, int, int] | None  # x, y, width, height; None: the whole picture
    class_name: str
    class_proposals: str | Sequence[str]  # closed set: the name again; else up to three
    score: float  # ours: how sure the draft is, 0 .. 1


def mask_from_ssa(
    data: bytes,
    label_map: LabelMap,
    where: str,
    *,
    class_of: Callable[[str], int | None] | None = None,
) -> NDArray[np.uint8]:
    """Read a file of SSA's; pixels of no class are 255.

    Args:
        class_of: says which class id a free name means, None for no class; needed for files of
            the open-vocabulary program, whose masks are then painted from large to small.

    Returns:
        (H, W), uint8, class ids.

    Raises:
        CorruptRecordError: not such a file, or its classes overlap; names `where`.
        LabelMapError: an id that the label map does not have.
    """
    return _mask_in(json_object(data, where), label_map, where, class_of)


def draft_from_ssa(
    data: bytes, label_map: LabelMap, where: str
) -> tuple[NDArray[np.uint8], float | None]:
    """The mask of a closed-set file as `mask_from_ssa` reads it, and how sure the draft is.

    Returns:
        (H, W) uint8 class ids, and 0 .. 1; None where the file does not say, as SSA's own never do.

    Raises:
        CorruptRecordError, LabelMapError: as `mask_from_ssa`.
    """
    told = json_object(data, where)
    about = told.get("cornerloop")
    score = about.get("score") if isinstance(about, dict) else None
    mask = _mask_in(told, label_map, where, None)
    if isinstance(score, int | float) and 0 <= score <= 1:
        return mask, float(score)
    return mask, None


def _mask_in(
    told: dict[str, object],
    label_map: LabelMap,
    where: str,
    class_of: Callable[[str], int | None] | None,
) -> NDArray[np.uint8]:
    classes = told.get("semantic_mask")
    if classes is None and class_of is not None:
        return _mask_from_names(told.get("annotations"), class_of, where)
    if classes == {} and (size := _told_size(told)) is not None:
        return np.full(size, IGNORE_INDEX, dtype=np.uint8)
    if not isinstance(classes, dict) or not classes:
        raise CorruptRecordError(
            f"{where}: no semantic_mask; only main_ssa.py (closed set) writes one, "
            "names in words need an ontology"
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


def _told_size(told: dict[str, object]) -> tuple[int, int] | None:
    """Height and width of a draft of ours without any class; SSA's own always has one."""
    about = told.get("cornerloop")
    size = about.get("size") if isinstance(about, dict) else None
    if (
        isinstance(size, list)
        and len(size) == 2
        and all(isinstance(n, int) and n > 0 for n in size)
    ):
        return (size[0], size[1])
    return None


def _mask_from_names(
    annotations: object, class_of: Callable[[str], int | None], where: str
) -> NDArray[np.uint8]:
    if not isinstance(annotations, list) or not annotations:
        raise CorruptRecordError(f"{where}: neither semantic_mask nor annotations; nothing to read")
    painted = []
    for number, one in enumerate(annotations):
        told = f"{where}, annotation {number}"
        if not isinstance(one, dict) or not isinstance(one.get("class_name"), str):
            raise CorruptRecordError(f"{told}: no class_name")
        painted.append((class_of(one["class_name"]), _decoded(one.get("segmentation"), told)))
    mask = np.full(painted[0][1].shape, IGNORE_INDEX, dtype=np.uint8)
    for class_id, pixels in sorted(painted, key=lambda pair: -int(pair[1].sum())):
        if pixels.shape != mask.shape:
            raise CorruptRecordError(f"{where}: masks of {mask.shape} and of {pixels.shape} pixels")
        if class_id is not None:
            mask[pixels] = class_id
    return mask


def ssa_from_mask(
    mask: NDArray[np.uint8],
    annotations: Sequence[SsaAnnotation] = (),
    *,
    about: Mapping[str, object] | None = None,
) -> bytes:
    """Write a mask, (H, W) uint8, as SSA would.

    Args:
        annotations: written from the largest to the smallest, as SSA's vote leaves them.
        about: ours: how the draft came about, under the key `cornerloop` and beside the size;
            readers of SSA's files look at keys they know.
    """
    classes = {}
    for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        runs = coco_mask.encode(np.asfortranarray(mask == class_id, dtype=np.uint8))
        size = [int(side) for side in runs["size"]]
        classes[str(class_id)] = {"size": size, "counts": runs["counts"].decode("ascii")}
    by_area = sorted(annotations, key=lambda one: -one.area)
    body: dict[str, object] = {
        "annotations": [_annotation(one) for one in by_area],
        "semantic_mask": classes,
    }
    if about is not None:
        body["cornerloop"] = dict(about) | {"size": list(mask.shape)}
    return json.dumps(body, ensure_ascii=False).encode()


def _annotation(one: SsaAnnotation) -> dict[str, object]:
    """The record that segment-anything makes of a mask, and what SSA adds to it."""
    height, width = one.size
    packed = {"size": [height, width], "counts": list(one.counts)}
    counts = coco_mask.frPyObjects(packed, height, width)["counts"].decode("ascii")
    x0, y0, x1, y1 = one.box
    return {
        "segmentation": {"size": [height, width], "counts": counts},
        "area": one.area,
        # As segment-anything writes it: the sides of an inclusive box, one less than pixels.
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "predicted_iou": one.predicted_iou,
        "point_coords": [list(one.point)] if one.point is not None else [],
        "stability_score": one.stability,
        "crop_box": list(one.crop_box or (0, 0, width, height)),
        "class_name": one.class_name,
        "class_proposals": (
            one.class_proposals
            if isinstance(one.class_proposals, str)
            else list(one.class_proposals)
        ),
        "score": round(one.score, 4),
    }


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
