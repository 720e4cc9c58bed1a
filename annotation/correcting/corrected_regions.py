"""A corrected mask as regions that go on from those of the draft, and paint exactly this mask.

Regions keep their ids wherever they can, since costs are counted by comparing them with the
draft's: a region whose pixels all stayed is handed in as it was; one whose pixels all became
another class is the same region renamed; one that nobody knows any more is left out. What changed
otherwise is drawn anew: brush under the id of the class's brush region, polygons under new ids.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.labeling_config import Tools
from annotation.polygons import Patch
from annotation.regions import LabelledPatch, Region, labelled_patches, mask_from_regions
from lifelong.errors import RecordError
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap


def corrected_regions(
    mask: NDArray[np.uint8],
    draft: Sequence[Region],
    label_map: LabelMap,
    *,
    shapes: DraftShapes,
    tools: Tools,
    where: str,
) -> list[Region]:
    """Regions for a corrected mask.

    Args:
        mask: (H, W), uint8, class ids or 255.
        draft: the regions that the work began with; () for none.
        shapes: of what is drawn anew.
        tools: the project's names for its tools and classes.

    Raises:
        LabelMapError: the mask holds ids that are no class.
    """
    label_map.check(mask, where)
    if _paints(draft, mask, draft, label_map, tools, where):
        return [region.copy() for region in draft]
    kept, left = _kept(mask, draft, label_map, tools, where)
    names = {region.get("id") for region, _, _ in kept}
    drawn = regions_from_mask(left, label_map, shapes=shapes, tools=tools)
    made = [region for region, _, _ in kept] + [
        _renumbered(region, number, mask)
        if region.get("id") in names or not _is_brush(region)
        else region
        for number, region in enumerate(drawn)
    ]
    # Somebody else's draft may overlap with itself, so that ids decide what is painted over what.
    if _paints(made, mask, draft, label_map, tools, where):
        return made
    return [
        _renumbered(region, number, mask)
        for number, region in enumerate(
            regions_from_mask(mask, label_map, shapes=shapes, tools=tools)
        )
    ]


def _kept(
    mask: NDArray[np.uint8],
    draft: Sequence[Region],
    label_map: LabelMap,
    tools: Tools,
    where: str,
) -> tuple[list[LabelledPatch], NDArray[np.uint8]]:
    """Regions of the draft that stayed, or that were renamed as a whole; and the mask without
    their pixels, (H, W) uint8."""
    left = mask.copy()
    try:
        patches = _patches(mask, draft, label_map, tools, where)
    except RecordError:  # a draft that nobody can read: all is drawn anew
        return [], left
    stayed = []
    for region, old, patch in patches:
        now = np.unique(_window(mask, patch)[patch.painted])
        if now.size == 1 and now[0] != IGNORE_INDEX:
            new = int(now[0])
            named = region if new == old else _renamed(region, label_map.names[new], tools)
            stayed.append((named, new, patch))
            patch.paint(left, IGNORE_INDEX)
    kept = []
    for region, class_id, patch in stayed:
        if _is_brush(region) and (left == class_id).any():
            patch.paint(left, class_id)  # its class has more pixels now: one region holds them all
        else:
            kept.append((region, class_id, patch))
    return kept, left


def _patches(
    mask: NDArray[np.uint8],
    draft: Sequence[Region],
    label_map: LabelMap,
    tools: Tools,
    where: str,
) -> list[LabelledPatch]:
    if not draft:
        return []
    size = (mask.shape[0], mask.shape[1])
    classes = _meanings(tools)
    return labelled_patches(draft, label_map, size=size, where=where, classes=classes)[0]


def _window(mask: NDArray[np.uint8], patch: Patch) -> NDArray[np.uint8]:
    height, width = patch.painted.shape
    return mask[patch.y0 : patch.y0 + height, patch.x0 : patch.x0 + width]


def _is_brush(region: Region) -> bool:
    return "rle" in region.get("value", {})


def _renamed(region: Region, name: str, tools: Tools) -> Region:
    kind = region.get("type", "")
    one = region.copy()
    one["value"] = {**region.get("value", {}), kind: [tools.label_of(name)]}
    return one


def _renumbered(region: Region, number: int, mask: NDArray[np.uint8]) -> Region:
    """Under an id that no region of the draft has."""
    one = region.copy()
    one["id"] = f"corrected-{number}-{sha256_hex(mask.tobytes())[:8]}"
    return one


def _meanings(tools: Tools) -> Mapping[str, str] | None:
    return tools.classes or None


def _paints(
    regions: Sequence[Region],
    mask: NDArray[np.uint8],
    draft: Sequence[Region],
    label_map: LabelMap,
    tools: Tools,
    where: str,
) -> bool:
    """Will these be read as exactly this mask?"""
    if not regions:
        return bool((mask == IGNORE_INDEX).all())
    try:
        read = mask_from_regions(
            regions,
            label_map,
            size=(mask.shape[0], mask.shape[1]),
            where=where,
            classes=_meanings(tools),
            draft=draft,
        )
    except RecordError:
        return False
    return np.array_equal(read, mask)
