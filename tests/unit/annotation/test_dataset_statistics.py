"""Numbers of a data set, and of a change, worked out by hand (CNV-15)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from annotation.exports.dataset_statistics import difference, statistics
from annotation.exports.picture_items import Item, LeftOut, Refused
from annotation.labelled_pictures import LabelledPicture, Provenance, picture_from_mask
from lifelong.errors import LifelongError
from lifelong.records.label_map import LabelMap, label_map_of
from tests.builders import SMALL_MAP

ROWS = {
    "a.jpg": [[0, 0, 1, 255], [0, 0, 255, 1], [2, 255, 255, 255]],
    "b.jpg": [[1, 1], [1, 1]],
}


@dataclass(frozen=True)
class Given:
    """Pictures out of rows of class ids; None cannot be read."""

    rows: dict[str, Any]
    label_map: LabelMap = SMALL_MAP
    kind: str = "given"

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        for name, rows in self.rows.items():
            if rows == "left out":
                yield LeftOut(where=name, why="skipped")
            elif rows is None:
                yield Refused(where=name, error=f"{name}: broken")
            else:
                yield Item(where=name, name=name, payload=rows)

    def read(self, item: Item) -> LabelledPicture:
        mask = np.array(item.payload, dtype=np.uint8)
        told = Provenance(annotator="p@example.com")
        return picture_from_mask(item.name, mask, self.label_map, provenance=told)

    def digest(self) -> str:
        return "0" * 64


def test_cnv_15_statistics_are_what_counting_by_hand_says() -> None:
    found = statistics(Given(ROWS | {"c.jpg": None, "d.jpg": "left out"}), SMALL_MAP)
    assert (found.pictures, found.pixels, found.unlabelled) == (2, 16, 5)
    assert (found.left_out, found.unreadable) == (1, 1)
    assert found.sides == {"train": 2}
    assert found.annotators == {"p@example.com": 2}
    told = {n: (c.pixels, c.pieces, c.regions, c.pictures) for n, c in found.classes.items()}
    # The two cars of a.jpg touch at a corner: one piece.
    assert told == {"road": (4, 1, 1, 1), "car": (6, 2, 2, 2), "person": (1, 1, 1, 1)}


def test_cnv_15_a_difference_is_what_counting_by_hand_says() -> None:
    after = {
        "a.jpg": [[0, 0, 1, 255], [0, 1, 255, 1], [255, 255, 255, 2]],
        "c.jpg": [[0]],
    }
    found = difference(Given(ROWS), Given(after), SMALL_MAP, SMALL_MAP)
    assert (found.same, found.changed, found.added, found.removed) == (
        0,
        ["a.jpg"],
        ["c.jpg"],
        ["b.jpg"],
    )
    assert (found.changed_pixels, found.changed_regions) == (3, 2)
    told = {n: (c.gained, c.lost, c.regions) for n, c in found.classes.items()}
    assert told == {"road": (0, 1, 1), "car": (1, 0, 1), "person": (1, 1, 2)}


def test_equal_sets_do_not_differ_and_suffixes_do_not_count() -> None:
    masks = {name.replace(".jpg", ".png"): rows for name, rows in ROWS.items()}
    found = difference(Given(ROWS), Given(masks), SMALL_MAP, SMALL_MAP)
    assert (found.same, found.changed_pixels, found.classes) == (2, 0, {})


def test_classes_are_compared_by_name_not_by_id() -> None:
    turned = label_map_of(list(zip(SMALL_MAP.names, SMALL_MAP.colours, strict=True))[::-1])
    ids = np.array([2, 1, 0, *range(3, 256)])
    rows = {name: ids[np.array(r)].tolist() for name, r in ROWS.items()}
    found = difference(Given(ROWS), Given(rows, turned), SMALL_MAP, turned)
    assert (found.same, found.changed_pictures) == (2, 0)


def test_another_size_is_told_apart_from_another_content() -> None:
    found = difference(Given({"a.jpg": [[0]]}), Given({"a.jpg": [[0, 0]]}), SMALL_MAP, SMALL_MAP)
    assert (found.resized, found.changed, found.removed) == (["a.jpg"], [], [])


def test_a_difference_never_leaves_out_what_it_cannot_read() -> None:
    with pytest.raises(LifelongError, match=r"a\.jpg: broken"):
        difference(Given(ROWS), Given({"a.jpg": None}), SMALL_MAP, SMALL_MAP)
