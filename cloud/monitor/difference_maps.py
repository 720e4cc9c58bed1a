"""Difference maps: where two masks of one picture disagree, and whether that is for the better.

`changes` sets one answer beside another; `errors` sets both beside what people say is right.
Colours are Okabe and Ito's (2008), which colour-blind people tell apart; what nobody knows is
hatched. What is alike stays grey, so that the eye goes where something happened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.errors import ShapeError
from lifelong.overlays import hatched
from lifelong.records.colours import Colour
from lifelong.records.label_map import IGNORE_INDEX

_PLAIN = 232  # grey of what is alike, without a picture below
_FAINT = 0.25  # how much of the picture is seen below
_STEP = 6  # of its grey: the noise of a camera would make the file twice as large

# Cividis (Nuñez, Anderton and Renslow 2018) in six steps: even in lightness for every eye.
HEAT: tuple[Colour, ...] = (
    (0, 32, 76),
    (49, 68, 107),
    (102, 104, 112),
    (149, 143, 120),
    (202, 185, 105),
    (255, 234, 70),
)
HOTTEST = 0.5  # share of changed pixels that has the last colour; more has it too


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What can have become of a pixel."""

    name: str
    words: str  # for the legend
    colour: Colour | None = None  # None: grey, nothing happened
    is_hatched: bool = False


# In the order of the codes.
CHANGES = (
    Kind(name="same", words="the same class in both"),
    Kind(name="changed", words="another class", colour=(213, 94, 0)),
    Kind(name="gained", words="a class where there was none", colour=(86, 180, 233)),
    Kind(name="lost", words="no class where there was one", colour=(30, 30, 30)),
    Kind(name="ignored", words="no class in either", is_hatched=True),
)
ERRORS = (
    Kind(name="right", words="right before and after"),
    Kind(name="mended", words="an error that vanished", colour=(0, 114, 178)),
    Kind(name="broken", words="an error that came", colour=(213, 94, 0)),
    Kind(name="wrong", words="wrong before and after", colour=(70, 70, 70)),
    Kind(name="ignored", words="nobody said what is right", is_hatched=True),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DifferenceMap:
    """Which kind each pixel is of.

    Raises:
        ShapeError: a code without a kind.
    """

    codes: NDArray[np.uint8]  # (H, W): place in `kinds`
    kinds: tuple[Kind, ...]

    def __post_init__(self) -> None:
        if self.codes.size and int(self.codes.max()) >= len(self.kinds):
            raise ShapeError(f"codes up to {int(self.codes.max())} for {len(self.kinds)} kinds")

    def shares(self) -> Mapping[str, float]:
        """Share of all pixels by the kind's name; together 1, or 0 for an empty picture."""
        counts = np.bincount(self.codes.ravel(), minlength=len(self.kinds))
        pixels = max(1, self.codes.size)
        return {
            kind.name: int(n) / pixels for kind, n in zip(self.kinds, counts.tolist(), strict=True)
        }

    def paint(self, image: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The map as a picture.

        Args:
            image: (H, W, 3), uint8, RGB: shown faintly below what is alike; None: plain grey.

        Returns:
            (H, W, 3), uint8, RGB.
        """
        picture = np.full((*self.codes.shape, 3), _PLAIN, dtype=np.uint8)
        if image is not None:
            grey = image.mean(axis=2, keepdims=True)
            faint = (_FAINT * grey + (1 - _FAINT) * _PLAIN).astype(np.uint8)
            picture[:] = faint // _STEP * _STEP
        for code, kind in enumerate(self.kinds):
            if kind.colour is not None:
                picture[self.codes == code] = kind.colour
        for code, kind in enumerate(self.kinds):
            if kind.is_hatched:
                picture = hatched(picture, self.codes == code)
        return picture


def changes(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> DifferenceMap:
    """What became of each pixel between two masks of one label map.

    Args:
        before: (H, W), uint8, class ids, 255 where there is none.
        after: the same.

    Raises:
        ShapeError: masks of different sizes.
    """
    _check_sizes(before, after)
    had, has = before != IGNORE_INDEX, after != IGNORE_INDEX
    codes = np.zeros(before.shape, dtype=np.uint8)
    codes[had & has & (before != after)] = 1
    codes[~had & has] = 2
    codes[had & ~has] = 3
    codes[~had & ~has] = 4
    return DifferenceMap(codes=codes, kinds=CHANGES)


def errors(
    before: NDArray[np.uint8], after: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> DifferenceMap:
    """Which errors vanished and which came; no answer (255) is an error where people gave one.

    Args:
        before, after: (H, W), uint8, class ids that two models answered.
        truth: (H, W), uint8, class ids that people confirmed; 255 is not judged.

    Raises:
        ShapeError: masks of different sizes.
    """
    _check_sizes(before, after)
    _check_sizes(before, truth)
    was_right, is_right = before == truth, after == truth
    codes = np.zeros(truth.shape, dtype=np.uint8)
    codes[~was_right & is_right] = 1
    codes[was_right & ~is_right] = 2
    codes[~was_right & ~is_right] = 3
    codes[truth == IGNORE_INDEX] = 4
    return DifferenceMap(codes=codes, kinds=ERRORS)


def heat(maps: Iterable[DifferenceMap], rows: int, columns: int) -> NDArray[np.float32]:
    """Where, over many pictures, something happened: the share of pixels that changed.

    Pixels that nobody knows count neither way.

    Returns:
        (rows, columns), float32, 0 .. 1; NaN where nothing is known of any picture.
    """
    happened = np.zeros((rows, columns), dtype=np.float64)
    known = np.zeros((rows, columns), dtype=np.float64)
    for one in maps:
        is_change = np.array([kind.colour is not None for kind in one.kinds])
        is_known = np.array([not kind.is_hatched for kind in one.kinds])
        for total, counts in ((happened, is_change), (known, is_known)):
            plane = Image.fromarray(counts[one.codes].astype(np.float32))
            total += np.asarray(plane.resize((columns, rows), Image.Resampling.BOX))
    share = np.full((rows, columns), np.nan)
    np.divide(happened, known, out=share, where=known > 1e-6)
    return share.astype(np.float32)


def paint_heat(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares in the colours of `HEAT`, hatched where nothing is known.

    Args:
        share: (H, W), float32, 0 .. 1 or NaN.

    Returns:
        (H, W, 3), uint8, RGB.
    """
    unknown = np.isnan(share)
    place = np.clip(np.where(unknown, 0.0, share) / HOTTEST, 0, 1) * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    channels = [np.interp(place, steps, [colour[i] for colour in HEAT]) for i in range(3)]
    painted = np.stack(channels, axis=-1).round().astype(np.uint8)
    painted[unknown] = _PLAIN
    return hatched(painted, unknown)


def _check_sizes(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    if one.shape != other.shape or one.ndim != 2:
        raise ShapeError(
            f"masks of {one.shape} and {other.shape} cannot be compared; both are (H, W) of one "
            "picture"
        )
