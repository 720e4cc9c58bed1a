"""What is in a data set, and what changed between two: pixels, pieces and pictures by class.

Pixels are those that are seen; a piece is 8-connected. Two data sets are compared picture by
picture under their names, the suffix aside where that is clear, and class by class under the
classes' names. Masks wait on the disk, compressed; memory does not grow with the data set.
"""

import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.exports.image_names import stem_of
from annotation.exports.picture_items import Item, LeftOut, Refused, Source
from lifelong.errors import LifelongError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

_TOLD = 1000  # names at most in each list of a difference


@dataclass(slots=True, kw_only=True)
class ClassCount:
    """One class in a data set."""

    pixels: int = 0
    pieces: int = 0  # 8-connected
    regions: int = 0  # as drawn, seen or not
    pictures: int = 0  # in which it is seen


@dataclass(slots=True, kw_only=True)
class DatasetStatistics:
    """A data set in numbers."""

    pictures: int = 0
    pixels: int = 0
    unlabelled: int = 0  # pixels
    left_out: int = 0  # not annotated, skipped
    unreadable: int = 0
    sides: dict[str, int] = field(default_factory=dict)  # side -> pictures
    annotators: dict[str, int] = field(default_factory=dict)  # -> pictures
    classes: dict[str, ClassCount] = field(default_factory=dict)  # in the label map's order


@dataclass(slots=True, kw_only=True)
class ClassChange:
    """One class in a difference."""

    gained: int = 0  # pixels that are of it only after
    lost: int = 0  # pixels that were of it only before
    regions: int = 0  # 8-connected pieces of both


@dataclass(slots=True, kw_only=True)
class DatasetDifference:
    """From one data set to another."""

    same: int = 0  # pictures
    added: list[str] = field(default_factory=list)  # names, the first 1,000
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    added_pictures: int = 0
    removed_pictures: int = 0
    changed_pictures: int = 0
    resized_pictures: int = 0
    changed_pixels: int = 0
    changed_regions: int = 0  # 8-connected pieces of changed pixels
    classes: dict[str, ClassChange] = field(default_factory=dict)  # that changed


def statistics(source: Source, label_map: LabelMap) -> DatasetStatistics:
    """Count a data set, as a stream; what cannot be read is counted as unreadable."""
    found = DatasetStatistics(classes={name: ClassCount() for name in label_map.names})
    for item in source.items():
        if isinstance(item, LeftOut):
            found.left_out += 1
            continue
        try:
            if isinstance(item, Refused):
                raise LifelongError(item.error)
            picture = source.read(item)
            mask = picture.mask()
            label_map.check(mask, item.where)
        except LifelongError:
            found.unreadable += 1
            continue
        found.pictures += 1
        found.pixels += mask.size
        side = item.split or "train"
        found.sides[side] = found.sides.get(side, 0) + 1
        who = picture.provenance.annotator or "unknown"
        found.annotators[who] = found.annotators.get(who, 0) + 1
        for region in picture.regions:
            found.classes[label_map.names[region.class_id]].regions += 1
        _count(found, mask, label_map)
    return found


def _count(found: DatasetStatistics, mask: NDArray[np.uint8], label_map: LabelMap) -> None:
    pixels = np.bincount(mask.ravel(), minlength=256)
    found.unlabelled += int(pixels[IGNORE_INDEX])
    for class_id in np.flatnonzero(pixels[: len(label_map)]).tolist():
        one = found.classes[label_map.names[class_id]]
        one.pixels += int(pixels[class_id])
        one.pieces += _pieces(mask == class_id)
        one.pictures += 1


def difference(
    before: Source, after: Source, label_map: LabelMap, label_map_after: LabelMap
) -> DatasetDifference:
    """Compare two data sets.

    Raises:
        LifelongError: a picture that cannot be read; a difference that leaves it out would lie.
    """
    names = (*label_map.names, *(n for n in label_map_after.names if n not in label_map))
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(label_map_after)] = [names.index(name) for name in label_map_after.names]
    found = DatasetDifference()
    with _shelf() as shelf:
        for name, mask in _masks(before):
            row = (name, stem_of(name), *mask.shape, zlib.compress(mask.tobytes(), 1))
            shelf.execute("INSERT OR REPLACE INTO masks VALUES (?, ?, ?, ?, ?, 0)", row)
        for name, mask in _masks(after):
            earlier = _earlier(shelf, name)
            if earlier is None:
                found.added_pictures += 1
                _told(found.added, name)
            elif earlier.shape != mask.shape:
                found.resized_pictures += 1
                _told(found.resized, name)
            else:
                _compare(found, name, earlier, table[mask], names)
        removed = shelf.execute("SELECT name FROM masks WHERE met = 0 ORDER BY name")
        for (name,) in removed:
            found.removed_pictures += 1
            _told(found.removed, name)
    found.classes = {n: found.classes[n] for n in names if n in found.classes}
    return found


def _compare(
    found: DatasetDifference,
    name: str,
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    names: tuple[str, ...],
) -> None:
    changed = before != after
    pixels = int(np.count_nonzero(changed))
    if not pixels:
        found.same += 1
        return
    found.changed_pictures += 1
    _told(found.changed, name)
    found.changed_pixels += pixels
    found.changed_regions += _pieces(changed)
    for class_id in np.union1d(before[changed], after[changed]).tolist():
        if class_id == IGNORE_INDEX:
            continue
        gained, lost = changed & (after == class_id), changed & (before == class_id)
        one = found.classes.setdefault(names[class_id], ClassChange())
        one.gained += int(np.count_nonzero(gained))
        one.lost += int(np.count_nonzero(lost))
        one.regions += _pieces(gained | lost)


def _pieces(painted: NDArray[np.bool_]) -> int:
    count, _ = cv2.connectedComponents(painted.astype(np.uint8), connectivity=8)
    return count - 1


def _masks(source: Source) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for item in source.items():
        if isinstance(item, Refused):
            raise LifelongError(item.error)
        if isinstance(item, Item):
            yield item.name, source.read(item).mask()


def _earlier(shelf: sqlite3.Connection, name: str) -> NDArray[np.uint8] | None:
    """The mask of the same name, or of the only one with another suffix; it counts as met."""
    select = "SELECT name, height, width, body FROM masks WHERE met = 0 AND"
    rows = shelf.execute(f"{select} name = ?", (name,)).fetchall()
    rows = rows or shelf.execute(f"{select} stem = ?", (stem_of(name),)).fetchmany(2)
    if len(rows) != 1:
        return None
    there, height, width, body = rows[0]
    shelf.execute("UPDATE masks SET met = 1 WHERE name = ?", (there,))
    return np.frombuffer(zlib.decompress(body), dtype=np.uint8).reshape(height, width)


def _told(names: list[str], name: str) -> None:
    if len(names) < _TOLD:
        names.append(name)


@contextmanager
def _shelf() -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="cornerloop-") as folder:
        shelf = sqlite3.connect(Path(folder) / "masks.sqlite")
        try:
            shelf.execute("PRAGMA journal_mode=OFF")
            shelf.execute(
                "CREATE TABLE masks (name TEXT PRIMARY KEY, stem TEXT, height INTEGER, "
                "width INTEGER, body BLOB, met INTEGER)"
            )
            shelf.execute("CREATE INDEX by_stem ON masks (stem)")
            yield shelf
        finally:
            shelf.close()
