"""`LabelMap`: ordered classes with colours; a class id is a position, 255 is "ignore"."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import LabelMapError
from lifelong.records.colours import Colour as Colour
from lifelong.records.colours import distinct_colours

IGNORE_INDEX = 255


@dataclass(frozen=True)
class LabelMap:
    """Ordered class names and their colours; class id = position, at most 255 classes.

    `things` are the classes whose instances can be counted (car, person); the others are stuff
    (road, sky). Drafts and exports of instances ask for it; two label maps that differ only
    there are equal.

    Raises:
        LabelMapError: no class, too many, a name or colour used twice, a thing that is no class.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    # A tuple, not a set: the order of a set is another in every process, and a bundle that holds
    # this label map is named by its bytes.
    things: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= IGNORE_INDEX:
            raise LabelMapError(
                f"a label map has 1 to {IGNORE_INDEX} classes, got {len(self.names)}"
            )
        if len(self.names) != len(self.colours):
            raise LabelMapError(f"{len(self.names)} classes but {len(self.colours)} colours")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise LabelMapError(f"class names used twice: {', '.join(twice)}")
        if len(set(self.colours)) != len(self.colours):
            raise LabelMapError("two classes share a colour; give each its own")
        unknown = sorted(set(self.things) - set(self.names))
        if unknown:
            raise LabelMapError(f"things that are no class: {', '.join(unknown)}")

    def is_thing(self, class_id: int) -> bool:
        """Can instances of this class be counted?"""
        return self.names[class_id] in self.things

    def with_things(self, things: Collection[str]) -> "LabelMap":
        """The same classes with these things.

        Raises:
            LabelMapError: one of them is no class.
        """
        asked = set(things)
        known = tuple(name for name in self.names if name in asked)
        return replace(self, things=known + tuple(sorted(asked - set(known))))

    def with_distinct_colours(self) -> "LabelMap":
        """The same classes in colours that every eye tells apart (`records/colours.py`)."""
        return replace(self, colours=distinct_colours(len(self)))

    def __len__(self) -> int:
        return len(self.names)

    def id_of(self, name: str) -> int:
        """The class id of `name`.

        Raises:
            LabelMapError: the label map has no such class.
        """
        try:
            return self._ids[name]
        except KeyError:
            raise LabelMapError(
                f"unknown class {name!r}; the label map has: {', '.join(self.names)}"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def digest(self) -> str:
        """16 hex digits that change whenever a name or its position does (colours may change)."""
        text = json.dumps(list(self.names), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """(256, 3), uint8, RGB by class id; unused ids and 255 are black."""
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(self.colours)] = np.array(self.colours, dtype=np.uint8)
        return palette

    def paint(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) class ids to an (H, W, 3) RGB picture; 255 is black."""
        return self.palette[mask]

    def check(self, mask: NDArray[np.uint8], where: str) -> None:
        """Refuse a mask with ids that are neither a class nor 255.

        Raises:
            LabelMapError: names `where` and the foreign ids.
        """
        present = np.unique(mask)
        foreign = present[(present >= len(self)) & (present != IGNORE_INDEX)]
        if foreign.size:
            raise LabelMapError(
                f"{where}: class ids {foreign.tolist()} are not in the label map "
                f"({len(self)} classes, {IGNORE_INDEX} = ignore)"
            )


def label_map_of(entries: Iterable[tuple[str, Colour]]) -> LabelMap:
    """A label map from (name, colour) pairs in id order."""
    pairs = list(entries)
    return LabelMap(tuple(name for name, _ in pairs), tuple(colour for _, colour in pairs))


# The 19 classes of Cityscapes in train-id order (Cordts et al. 2016) with that data set's colours.
CITYSCAPES = label_map_of(
    [
        ("road", (128, 64, 128)),
        ("sidewalk", (244, 35, 232)),
        ("building", (70, 70, 70)),
        ("wall", (102, 102, 156)),
        ("fence", (190, 153, 153)),
        ("pole", (153, 153, 153)),
        ("traffic light", (250, 170, 30)),
        ("traffic sign", (220, 220, 0)),
        ("vegetation", (107, 142, 35)),
        ("terrain", (152, 251, 152)),
        ("sky", (70, 130, 180)),
        ("person", (220, 20, 60)),
        ("rider", (255, 0, 0)),
        ("car", (0, 0, 142)),
        ("truck", (0, 0, 70)),
        ("bus", (0, 60, 100)),
        ("train", (0, 80, 100)),
        ("motorcycle", (0, 0, 230)),
        ("bicycle", (119, 11, 32)),
    ]
).with_things(
    ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")  # as it counts
)
