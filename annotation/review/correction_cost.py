"""What correcting a draft took: pixels, regions and seconds, by class; and the sums over many.

Regions are compared by id, class and pixels with what the annotator was shown: Label Studio's own
`origin` says "prediction" of polygons that were dragged about.

A person's seconds are not taken down by class. They are shared out in proportion to the pixels
that changed (added and removed); where nothing changed, in proportion to the pixels looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.review.assessment import Pieces
from annotation.review.cost_sums import sums_of, told
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import ClassCost, CorrectionCost
from lifelong.records.wire import from_plain

_REGIONS = ("touched", "added", "deleted")


def cost_by_class(
    shown: NDArray[np.uint8],
    corrected: NDArray[np.uint8],
    *,
    before: Pieces,
    after: Pieces,
    label_map: LabelMap,
    seconds: float | None,
) -> dict[str, ClassCost]:
    """The cost of one annotation by class name; classes that are in neither mask are left out.

    Args:
        shown: (H, W), uint8, what the annotator began with; all 255 for an empty picture.
        corrected: (H, W), uint8, what was submitted.
        before: the draft's regions; empty when nobody knows them.
        after: the submitted regions.
        seconds: of the whole annotation; None when nobody measured.
    """
    wrong = shown != corrected
    added = np.bincount(corrected[wrong], minlength=256)
    removed = np.bincount(shown[wrong], minlength=256)
    looked_at = np.bincount(corrected.ravel(), minlength=256)
    regions = _regions_by_class(before, after)
    ids = range(len(label_map))
    weights = added + removed if wrong.any() else looked_at
    whole = int(weights[: len(label_map)].sum())
    found = {}
    for class_id in ids:
        touched = {kind: regions.get((kind, class_id), 0) for kind in _REGIONS}
        if not (looked_at[class_id] or removed[class_id] or any(touched.values())):
            continue
        part = None
        if seconds is not None:
            part = round(seconds * int(weights[class_id]) / whole, 3) if whole else 0.0
        found[label_map.names[class_id]] = ClassCost(
            pixels_added=int(added[class_id]),
            pixels_removed=int(removed[class_id]),
            regions_touched=touched["touched"],
            regions_added=touched["added"],
            regions_deleted=touched["deleted"],
            seconds=part,
        )
    return found


def summed(costs: Iterable[CorrectionCost]) -> dict[str, Any]:
    """Costs per class and draft version, and the seconds of a picture with and without a draft.

    Returns:
        JSON-ready: `{"classes": [{"class", "drafted_by", "with_draft", "annotations", …}],
        "seconds": {"with_draft": {…}, "without_draft": {…}, "saved_share", "saved_interval"},
        "edits": {…}, "models": {…}, "annotators": {…}}`; a mean is None where nothing was measured.
    """
    return told(sums_of(costs))


def costs_from_events(events: Iterable[Mapping[str, Any]]) -> list[CorrectionCost]:
    """The costs that a journal tells of: of each sample and round what was pulled last.

    Raises:
        CorruptRecordError: an event that says something else than a cost.
    """
    newest: dict[tuple[str, int], Sequence[object]] = {}
    for event in events:
        if event.get("event") == "annotation.pulled" and "costs" in event:
            newest[str(event["sample_id"]), int(event["round_number"])] = event["costs"]
    return [
        from_plain(CorrectionCost, body, f"journal, sample {sample_id} of round {number}")
        for (sample_id, number), bodies in newest.items()
        for body in bodies
    ]


def _regions_by_class(before: Pieces, after: Pieces) -> dict[tuple[str, int], int]:
    """How many regions of each class were touched, added, deleted."""
    counts: dict[tuple[str, int], int] = {}

    def note(kind: str, class_id: int) -> None:
        counts[kind, class_id] = counts.get((kind, class_id), 0) + 1

    shown = {str(region.get("id")): piece for piece in before for region in [piece[0]]}
    kept = set()
    for region, class_id, patch in after:
        name = str(region.get("id"))
        if name not in shown:
            note("added", class_id)
            continue
        kept.add(name)
        old_region, old_class, old_patch = shown[name]
        same = region.get("value") == old_region.get("value") or (
            (patch.x0, patch.y0) == (old_patch.x0, old_patch.y0)
            and np.array_equal(patch.painted, old_patch.painted)
        )
        if not same or class_id != old_class:
            note("touched", old_class)
    for name, (_, class_id, _) in shown.items():
        if name not in kept:
            note("deleted", class_id)
    return counts
