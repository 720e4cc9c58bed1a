"""The privacy filter: what is taken out of a picture before it is kept or asked about.

It knows people only by the node's own model. What the model misses stays in the picture; the
margin, and the probability from which on a pixel counts, are there to miss less.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lifelong.errors import ConfigError
from lifelong.hard_examples import Verdict
from lifelong.preprocessing import at_picture_size, enlarged
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import Frame, Prediction
from lifelong.regions import connected_pieces
from lifelong.sections.edge import PrivacySection

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels
BoolArray = NDArray[np.bool_]

# A blurred piece keeps at most so many colours along its longer side, whatever its size: a person
# of 400 pixels becomes four spots, and a face less than one.
SPOTS = 4
MIN_SPOT_PX = 16  # … and no spot is smaller: the head that the mask tore off is a piece, too

# The doubtful regions: cells of a coarse grid whose mean entropy is at least this share of the
# most doubtful cell's.
DOUBT_CELLS = 16  # along each side
DOUBT_SHARE = 0.5
MIN_CROP_SHARE = 0.25  # of each side: a scrap without its surroundings teaches nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """A frame as it may leave, and where its pixels come from."""

    frame: Frame
    prediction: Prediction  # of the same pixels as the frame
    box: Box  # of the frame in the camera's picture
    blurred: BoolArray  # (H, W) of the frame: these pixels tell nothing of what was there


class Privacy:
    """Drops, blurs, crops, and lets only named attributes through; the same for every frame.

    Raises:
        ConfigError: a class that the label map does not have; names the key.
    """

    def __init__(self, section: PrivacySection, label_map: LabelMap) -> None:
        self._section = section
        self._blur = _ids(section.blur, "blur", label_map)
        self._drop = _ids(section.drop, "drop", label_map)

    @property
    def watched(self) -> tuple[int, ...]:
        """Class ids whose probabilities the filter would like to see; () when masks are enough."""
        if self._section.from_probability >= 1.0:
            return ()
        return tuple(sorted({*self._blur, *self._drop}))

    def applied(
        self, frame: Frame, prediction: Prediction, verdict: Verdict
    ) -> tuple[Frame, Prediction] | None:
        """The frame as it may be kept, and what the model said of what is left of it.

        Returns:
            None when the frame shows what must not be kept at all.
        """
        filtered = self.filtered(frame, prediction, verdict)
        return None if filtered is None else (filtered.frame, filtered.prediction)

    def filtered(self, frame: Frame, prediction: Prediction, verdict: Verdict) -> Filtered | None:
        """As `applied`, with the box that was cut out and the pixels that were blurred."""
        section = self._section
        if section.drop_novel_from is not None:
            novelty = prediction.novelty
            if novelty is None or not novelty < section.drop_novel_from:
                return None
        if self._drop and self._seen(prediction, self._drop).mean() > section.drop_share:
            return None
        height, width = prediction.mask.shape
        box, image = (0, 0, width - 1, height - 1), frame.image
        blurred: BoolArray = np.zeros((height, width), dtype=bool)
        if self._blur:
            blurred = dilated(self._seen(prediction, self._blur), section.margin_px)
            image = unrecognisable(image, blurred)
        if section.crop == "doubtful" and verdict.regions:
            prediction = at_picture_size(prediction)
            box = doubtful_box(prediction.entropy)
        attributes = _allowed(frame.attributes, section.attributes)
        if box != (0, 0, width - 1, height - 1):
            attributes["crop"] = f"{','.join(map(str, box))} of {width}x{height}"
        inside = _inside(box)
        return Filtered(
            # The camera's own file is let go: it holds every pixel, and says where it was taken.
            frame=replace(
                frame,
                image=np.ascontiguousarray(image[inside]),
                attributes=attributes,
                encoded=None,
            ),
            prediction=_cut(prediction, inside),
            box=box,
            blurred=np.ascontiguousarray(blurred[inside]),
        )

    def _seen(self, prediction: Prediction, class_ids: tuple[int, ...]) -> BoolArray:
        """(H, W): where one of these classes won, or is likely."""
        seen = np.isin(prediction.mask, class_ids)
        likely = [prediction.watched[i] for i in class_ids if i in prediction.watched]
        if likely and self._section.from_probability < 1.0:
            together = np.sum(likely, axis=0, dtype=np.float32)
            # What is no number is a doubt, and a doubt counts.
            together = np.where(np.isfinite(together), together, np.float32(1.0))
            seen |= enlarged(together, *seen.shape) >= self._section.from_probability
        return seen


def dilated(region: BoolArray, margin_px: int) -> BoolArray:
    """A region and all pixels at most `margin_px` beside, above or below it (a square's reach).

    Args:
        region: (H, W), bool.
    """
    grown = region
    for axis in (0, 1):
        size = grown.shape[axis]
        sums = np.cumsum(grown, axis=axis, dtype=np.int32)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis=axis)), sums], axis=axis)
        positions = np.arange(size)
        after = np.minimum(positions + margin_px + 1, size)
        before = np.maximum(positions - margin_px, 0)
        grown = (sums.take(after, axis=axis) - sums.take(before, axis=axis)) > 0
    return grown


def unrecognisable(image: NDArray[np.uint8], region: BoolArray) -> NDArray[np.uint8]:
    """The picture with the pixels of `region` replaced by a few soft spots of their mean colours.

    Every connected piece of the region is divided into square spots, at most `SPOTS` along its
    longer side and none smaller than `MIN_SPOT_PX`; each spot takes the mean of its pixels inside
    the region, and the spots' edges are smoothed. What is left is a function of these means:
    unlike a Gaussian blur, there is nothing in it that could be sharpened again.

    Args:
        image: (H, W, 3), uint8, RGB.
        region: (H, W), bool.

    Returns:
        (H, W, 3), uint8; outside the region the pixels are those of `image`.
    """
    spots = image.copy()
    pieces = connected_pieces(region.astype(np.uint8))
    boxes: list[Box] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in pieces.boxes.tolist()]
    numbers = np.flatnonzero(pieces.class_ids == 1)
    for number in numbers:
        inside, side = _inside(boxes[number]), spot_side(boxes[number])
        _spotted(spots[inside], pieces.labels[inside] == number, side)
    softened = spots.copy()
    for number in numbers:  # only now: until all are spots, a neighbour's pixels are the real ones
        inside, radius = _inside(boxes[number]), spot_side(boxes[number]) // 4
        covered = pieces.labels[inside] == number
        softened[inside][covered] = _smoothed(spots[inside], radius)[covered]
    return softened


def spot_side(box: Box) -> int:
    """Pixels along the side of the spots that a piece with this box is divided into."""
    longer = max(box[2] - box[0], box[3] - box[1]) + 1
    return max(MIN_SPOT_PX, -(-longer // SPOTS))


def doubtful_box(entropy: NDArray[np.float32]) -> Box:
    """The box around what the model is unsure of: the cells of a coarse grid that are at least
    half as doubtful as the most doubtful one; the whole picture when doubt is everywhere.

    Args:
        entropy: (H, W), float32, 0 = sure, 1 = uniform; what is no number counts as 1.
    """
    height, width = entropy.shape
    doubt = np.where(np.isfinite(entropy), entropy, np.float32(1.0)).astype(np.float64)
    rows = np.unique(np.linspace(0, height, DOUBT_CELLS, endpoint=False).astype(int))
    columns = np.unique(np.linspace(0, width, DOUBT_CELLS, endpoint=False).astype(int))
    sums = np.add.reduceat(np.add.reduceat(doubt, rows, axis=0), columns, axis=1)
    ends_y, ends_x = np.append(rows[1:], height), np.append(columns[1:], width)
    means = sums / np.outer(ends_y - rows, ends_x - columns)
    is_doubtful = means >= DOUBT_SHARE * means.max()
    found_y = np.flatnonzero(is_doubtful.any(axis=1))
    found_x = np.flatnonzero(is_doubtful.any(axis=0))
    y0, y1 = _at_least(int(rows[found_y[0]]), int(ends_y[found_y[-1]]), height)
    x0, x1 = _at_least(int(columns[found_x[0]]), int(ends_x[found_x[-1]]), width)
    return x0, y0, x1 - 1, y1 - 1


def _at_least(begin: int, end: int, size: int) -> tuple[int, int]:
    """Widen [begin, end) evenly to `MIN_CROP_SHARE` of `size`, within the picture."""
    least = math.ceil(size * MIN_CROP_SHARE)
    begin = max(0, begin - max(0, least - (end - begin)) // 2)
    end = min(size, max(end, begin + least))
    return min(begin, end - least), end


def _spotted(pixels: NDArray[np.uint8], covered: BoolArray, side: int) -> None:
    """Give each spot, in place, the mean of its covered pixels.

    Args:
        pixels: (h, w, 3), uint8, of the piece's box.
        covered: (h, w), bool, the piece in it.
    """
    rows, columns = np.arange(covered.shape[0]) // side, np.arange(covered.shape[1]) // side
    cells = (rows[:, None] * (columns[-1] + 1) + columns)[covered]
    counts = np.maximum(np.bincount(cells), 1)
    means = [np.bincount(cells, weights=pixels[..., c][covered]) / counts for c in range(3)]
    pixels[covered] = np.rint(np.stack(means, axis=1)).astype(np.uint8)[cells]


def _smoothed(pixels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.filter(ImageFilter.BoxBlur(radius)))


def _inside(box: Box) -> tuple[slice, slice]:
    return slice(box[1], box[3] + 1), slice(box[0], box[2] + 1)


def _cut(prediction: Prediction, inside: tuple[slice, slice]) -> Prediction:
    return replace(
        prediction,
        mask=np.ascontiguousarray(prediction.mask[inside]),
        confidence=np.ascontiguousarray(prediction.confidence[inside]),
        entropy=np.ascontiguousarray(prediction.entropy[inside]),
        margin=np.ascontiguousarray(prediction.margin[inside]),
        watched={},
    )


def _allowed(attributes: Mapping[str, str], names: Iterable[str] | None) -> dict[str, str]:
    if names is None:
        return dict(attributes)
    chosen = set(names)
    return {name: value for name, value in attributes.items() if name in chosen}


def _ids(names: tuple[str, ...], key: str, label_map: LabelMap) -> tuple[int, ...]:
    unknown = [name for name in names if name not in label_map]
    if unknown:
        raise ConfigError(
            f"edge.privacy.{key}: no class {', '.join(map(repr, unknown))}; "
            f"the label map has: {', '.join(label_map.names)}"
        )
    return tuple(label_map.id_of(name) for name in names)
