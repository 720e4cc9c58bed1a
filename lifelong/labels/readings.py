"""`LabelReader`: masks painted with any known label map, read as labels of the present one.

A mask that was painted before a class existed does not say which of its "building" pixels are
trams. Such a pixel is read as a **label code**: a number above all class ids that stands for
several classes of which one is right. Codes are bytes like ids, so a mask that holds them is
scaled, cut and mirrored like any other; only a loss and an examination must know what they mean,
and both get two tables for that: `members` and `sure`. Codes live in memory, never in a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import LabelMapChangeError
from lifelong.labels.map_changes import LabelMapChange
from lifelong.labels.map_history import LabelMapHistory
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.samples import Sample


@dataclass(frozen=True, slots=True, eq=False)
class LabelCodes:
    """What the values of a read mask stand for."""

    members: NDArray[np.bool_]  # (256, C): which classes a value may be; none of them for 255
    sure: NDArray[np.uint8]  # (256,): the one class id that a value stands for where one must do

    @property
    def are_plain(self) -> bool:
        """Does every value stand for one class?"""
        return bool((self.members.sum(axis=1) <= 1).all())

    def right(self, truth: NDArray[np.uint8], answer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The answer as it is to be counted: an answer that may be right counts as right.

        Args:
            truth: (H, W), uint8, values of a read mask.
            answer: (H, W), uint8, class ids, or 255 where there is no answer.

        Returns:
            (H, W), uint8: `sure[truth]` where the answer is among the members, else the answer.
        """
        classes = self.members.shape[1]
        known = answer < classes
        agrees = known & self.members[truth, np.where(known, answer, 0)]
        return np.where(agrees, self.sure[truth], answer).astype(np.uint8)


def plain_codes(classes: int) -> LabelCodes:
    """Every class id stands for itself, everything else for nothing."""
    members = np.zeros((256, classes), dtype=bool)
    members[np.arange(classes), np.arange(classes)] = True
    sure = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    sure[:classes] = np.arange(classes)
    return LabelCodes(members, sure)


class LabelReader:
    """Reads masks of every known label map; one reader gives the same codes to all of them."""

    def __init__(self, history: LabelMapHistory) -> None:
        """
        Raises:
            LabelMapChangeError: so many kinds of older labels that a byte cannot tell them apart.
        """
        self.history = history
        self.label_map: LabelMap = history.current
        self._tables: dict[str, NDArray[np.uint8]] = {}
        self._codes: dict[tuple[int, ...], int] = {}  # first the sure one
        for known in history.maps:
            try:
                change = history.since(known)
            except LabelMapChangeError:
                continue  # only who has a mask of it needs the way
            self._tables[known.digest] = self._table(change)
        self.codes = self._meaning()

    def read(self, mask: NDArray[np.uint8], digest: str, where: str) -> NDArray[np.uint8]:
        """A mask painted with the label map of `digest` ("": the first one), as label codes.

        Raises:
            LabelMapError: ids that its label map has not; names `where`.
            LabelMapChangeError: the label map, or the way from it to the present one, is unknown.
        """
        painted = self.history.map_of(digest, where)
        painted.check(mask, where)
        if painted.digest not in self._tables:
            self.history.since(painted)  # says why there is no way
        return self._tables[painted.digest][mask]

    def sure(self, mask: NDArray[np.uint8], digest: str, where: str) -> NDArray[np.uint8]:
        """As `read`, but with class ids alone: an old label counts as what it became.

        Raises:
            LabelMapError, LabelMapChangeError: as `read`.
        """
        return self.codes.sure[self.read(mask, digest, where)]

    def pixels(self, class_pixels: Mapping[int, int], digest: str, where: str) -> dict[int, int]:
        """Pixels by class id of an older label map, counted by what the classes became.

        Raises:
            LabelMapChangeError: as `read`.
        """
        painted = self.history.map_of(digest, where)
        table = self.history.since(painted).table()
        counted: dict[int, int] = {}
        for old, count in class_pixels.items():
            now = int(table[old]) if 0 <= old < 256 else IGNORE_INDEX
            counted[now] = counted.get(now, 0) + count
        return dict(sorted(counted.items()))

    def counted(self, sample: Sample) -> Sample:
        """A sample whose `class_pixels` are of the present label map; its mask is as it was.

        Raises:
            LabelMapChangeError: as `read`.
        """
        if sample.label_map_digest == self.label_map.digest or not self.history.changes:
            return sample
        digest, where = sample.label_map_digest, f"sample {sample.sample_id}"
        return replace(sample, class_pixels=self.pixels(sample.class_pixels, digest, where))

    def _table(self, change: LabelMapChange) -> NDArray[np.uint8]:
        table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        for position, old in enumerate(change.before.names):
            ids = tuple(change.after.id_of(name) for name in change.may_be(old))
            if len(ids) == 1:
                table[position] = ids[0]
            elif ids:
                table[position] = self._codes.setdefault(ids, 254 - len(self._codes))
        if self._codes and min(self._codes.values()) < len(self.label_map):
            raise LabelMapChangeError(
                f"{len(self.label_map)} classes and {len(self._codes)} kinds of older labels do "
                "not fit into a byte; paint the oldest pictures anew"
            )
        return table

    def _meaning(self) -> LabelCodes:
        plain = plain_codes(len(self.label_map))
        for ids, code in self._codes.items():
            plain.members[code, list(ids)] = True
            plain.sure[code] = ids[0]
        return plain
