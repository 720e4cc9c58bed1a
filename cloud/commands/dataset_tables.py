"""Numbers of data sets as tables for people; which data set a path is."""

from pathlib import Path

from annotation.exports.dataset_statistics import DatasetDifference, DatasetStatistics
from annotation.exports.picture_items import Source
from annotation.exports.picture_sources import Reading, guess_kind, label_map_in, open_source
from lifelong.records.label_map import CITYSCAPES, LabelMap

_TOLD = 20  # names of each kind


def open_dataset(
    path: Path, kind: str | None, label_map: LabelMap | None
) -> tuple[Source, LabelMap]:
    """A data set to look at, with its own label map unless another is given.

    Raises:
        ConfigError: not clear what it is.
    """
    kind = kind or guess_kind(path)
    known = label_map or label_map_in(path, kind) or CITYSCAPES
    return open_source(path, kind, Reading(label_map=known)), known


def statistics_text(found: DatasetStatistics) -> str:
    """A table, a class a line."""
    width = max((len(name) for name in found.classes), default=5)
    lines = [f"{'':>{width}} {'pixels':>14} {'share':>7} {'pieces':>9} {'regions':>9} pictures"]
    for name, one in found.classes.items():
        share = 100 * one.pixels / max(found.pixels, 1)
        lines.append(
            f"{name:>{width}} {one.pixels:>14,} {share:>6.2f}% {one.pieces:>9,} {one.regions:>9,} "
            f"{one.pictures:,}"
        )
    share = 100 * found.unlabelled / max(found.pixels, 1)
    lines.append(f"{'(none)':>{width}} {found.unlabelled:>14,} {share:>6.2f}%")
    sides = ", ".join(f"{number:,} {side}" for side, number in found.sides.items())
    people = ", ".join(f"{who} ({number:,})" for who, number in found.annotators.items())
    lines.append(f"{found.pictures:,} pictures ({sides or 'none'}), by {people or 'nobody'}")
    if found.left_out:
        lines.append(f"{found.left_out:,} not annotated")
    if found.unreadable:
        lines.append(f"{found.unreadable:,} unreadable, not counted")
    return "\n".join(lines)


def difference_text(found: DatasetDifference) -> str:
    """Pictures by name, then a table, a changed class a line."""
    lines = []
    counted = (
        ("added", found.added, found.added_pictures),
        ("removed", found.removed, found.removed_pictures),
        ("resized", found.resized, found.resized_pictures),
        ("changed", found.changed, found.changed_pictures),
    )
    for what, names, number in counted:
        lines += [f"{what}: {name}" for name in names[:_TOLD]]
        if number > _TOLD:
            lines.append(f"{what}: … and {number - _TOLD:,} more")
    if found.classes:
        width = max(len(name) for name in found.classes)
        lines.append(f"{'':>{width}} {'gained':>12} {'lost':>12} {'regions':>9}")
        lines += [
            f"{name:>{width}} {one.gained:>12,} {one.lost:>12,} {one.regions:>9,}"
            for name, one in found.classes.items()
        ]
    lines.append(
        f"{found.same:,} pictures the same, {found.changed_pictures:,} changed "
        f"({found.changed_pixels:,} pixels in {found.changed_regions:,} regions), "
        f"{found.added_pictures:,} added, {found.removed_pictures:,} removed, "
        f"{found.resized_pictures:,} resized"
    )
    return "\n".join(lines)
