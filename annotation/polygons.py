"""Masks as polygons in percent of the image, and back, without losing a pixel.

A polygon has no holes. Every piece of a class becomes its outer contour; what lies inside it is
smaller and is painted later, so the rule for reading is: **regions are painted from the largest to
the smallest number of pixels, equal ones in the order they are listed**. Where unlabelled pixels
lie inside a piece, the piece is cut through them, because nothing could be painted over to give
them back.

An own vertex lies on a pixel's centre, (x + 0.5) / width: that is where Label Studio draws it.
Seed 003's files put it on the pixel's corner, x / width, where a plain floor would lose a pixel to
the rounding of the percent; a quarter of a pixel of tolerance reads both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lifelong.errors import CorruptRecordError, ShapeError
from lifelong.records.label_map import IGNORE_INDEX

_DECIMALS = 3  # of a percent: 0.02 pixels on an image 1920 wide
_TOLERANCE = 0.25  # pixels, see above

Points = tuple[tuple[float, float], ...]  # (x, y) in percent of the image's width and height


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline without holes, and the class of what it encloses."""

    class_id: int
    points: Points


@dataclass(frozen=True, slots=True)
class Patch:
    """Painted pixels in their bounding box; cheaper than a whole frame for a small region."""

    x0: int  # pixels
    y0: int  # pixels
    painted: NDArray[np.bool_]  # (h, w)
    area: int  # painted pixels

    def paint(self, mask: NDArray[np.uint8], value: int) -> None:
        """Write `value` into the (H, W) mask where the patch is painted."""
        height, width = self.painted.shape
        window = mask[self.y0 : self.y0 + height, self.x0 : self.x0 + width]
        window[self.painted] = value


def patch_of(painted: NDArray[np.bool_]) -> Patch:
    """The patch of a (H, W) bool picture."""
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    if not rows.size:
        return Patch(0, 0, np.zeros((0, 0), dtype=np.bool_), 0)
    x0, y0 = int(columns[0]), int(rows[0])
    inside = painted[y0 : int(rows[-1]) + 1, x0 : int(columns[-1]) + 1]
    return Patch(x0, y0, inside, int(np.count_nonzero(inside)))


def patch_from_points(
    points: Sequence[Sequence[float]], height: int, width: int, where: str
) -> Patch:
    """The pixels of a polygon, its outline included.

    Args:
        points: (x, y) in percent of `width` and `height`, at least one; outside is clipped.

    Raises:
        CorruptRecordError: not a list of pairs of finite numbers; names `where`.
    """
    try:
        percent = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptRecordError(f"{where}: polygon points are [x, y] pairs ({error})") from error
    if percent.ndim != 2 or percent.shape[1] != 2 or not np.isfinite(percent).all():
        raise CorruptRecordError(
            f"{where}: polygon points are [x, y] pairs of finite numbers, got shape {percent.shape}"
        )
    at = np.floor(percent / 100 * (width, height) + _TOLERANCE)
    return _filled(np.clip(at, 0, (width - 1, height - 1)).astype(np.int32))


def paint_in_order(
    patches: Sequence[tuple[int, Patch]], height: int, width: int
) -> NDArray[np.uint8]:
    """Paint (class id, patch) pairs large to small, equal ones in their order.

    Returns:
        (height, width), uint8; 255 where nothing was painted.
    """
    mask = np.full((height, width), IGNORE_INDEX, dtype=np.uint8)
    for class_id, patch in sorted(patches, key=lambda pair: -pair[1].area):
        patch.paint(mask, class_id)
    return mask


def mask_from_polygons(
    polygons: Sequence[Polygon], height: int, width: int, where: str = "polygons"
) -> NDArray[np.uint8]:
    """Paint polygons by the rule above.

    Returns:
        (height, width), uint8; 255 where nothing was painted.
    """
    patches = [
        (polygon.class_id, patch_from_points(polygon.points, height, width, where))
        for polygon in polygons
    ]
    return paint_in_order(patches, height, width)


def polygons_from_mask(mask: NDArray[np.uint8]) -> list[Polygon]:
    """Polygons that `mask_from_polygons` paints back to exactly `mask`.

    Args:
        mask: (H, W), uint8, class ids; 255 becomes no polygon.

    Returns:
        In painting order, large to small.

    Raises:
        ShapeError: not uint8 (H, W), or empty.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
        raise ShapeError(f"a mask is uint8 (H, W), got {mask.dtype} {mask.shape}")
    outlines = _outlines(mask, mask == IGNORE_INDEX)
    outlines.sort(key=lambda outline: -outline.patch.area)
    painted = paint_in_order([(o.class_id, o.patch) for o in outlines], *mask.shape)
    outlines += _corrections(painted, mask)
    height, width = mask.shape
    return [Polygon(o.class_id, percent_points(o.vertices, height, width)) for o in outlines]


@dataclass(frozen=True, slots=True)
class _Outline:
    class_id: int
    vertices: NDArray[np.int32]  # (N, 2), x and y in pixels
    patch: Patch


def _outlines(mask: NDArray[np.uint8], untouchable: NDArray[np.bool_]) -> list[_Outline]:
    """One outline a 4-connected piece, none of them enclosing an untouchable pixel."""
    found = []
    for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        # 4-connected pieces nest or are apart; 8-connected ones may cross each other.
        count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
            (mask == class_id).astype(np.uint8), connectivity=4
        )
        for piece in range(1, count):
            x, y, width, height = (int(v) for v in boxes[piece, :4])
            window = np.s_[y : y + height, x : x + width]
            inside = (pieces[window] == piece).astype(np.uint8)
            for dx, part in _without_holes(inside, untouchable[window]):
                vertices = _outer_contour(part) + np.array([x + dx, y], dtype=np.int32)
                found.append(_Outline(class_id, vertices, _filled(vertices)))
    return found


def _without_holes(
    piece: NDArray[np.uint8], untouchable: NDArray[np.bool_]
) -> list[tuple[int, NDArray[np.uint8]]]:
    """Cut a piece until no outline encloses an untouchable pixel: (shift in x, part) pairs."""
    patch = _filled(_outer_contour(piece))
    enclosed = np.zeros(piece.shape, dtype=np.bool_)
    height, width = patch.painted.shape
    enclosed[patch.y0 : patch.y0 + height, patch.x0 : patch.x0 + width] = patch.painted
    bad = enclosed & untouchable
    if not bad.any():
        return [(0, piece)]
    columns = np.flatnonzero(bad.any(axis=0))
    # Through the middle of the hole: both halves of it now open to a side.
    cut = int(columns[columns.size // 2])
    parts = []
    for start, stop in ((0, cut), (cut, piece.shape[1])):
        half = piece[:, start:stop]
        count, pieces = cv2.connectedComponents(half, connectivity=4)
        for number in range(1, count):
            part = (pieces == number).astype(np.uint8)
            found = _without_holes(part, untouchable[:, start:stop])
            parts += [(start + dx, smaller) for dx, smaller in found]
    return parts


def _corrections(painted: NDArray[np.uint8], mask: NDArray[np.uint8]) -> list[_Outline]:
    """What is painted wrong, pixel by pixel: nothing is smaller, so these are painted last.

    Pieces that nest or are apart leave nothing to correct; should a rasteriser round an outline
    in another way than ours, the mask still comes back exactly.
    """
    found = []
    for y, x in np.argwhere((painted != mask) & (mask != IGNORE_INDEX)).tolist():
        vertices = np.array([[x, y]], dtype=np.int32)
        found.append(_Outline(int(mask[y, x]), vertices, _filled(vertices)))
    return found


def _outer_contour(piece: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(N, 2) vertices of the outline of a piece that is 4-connected."""
    contours, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(contours[0], dtype=np.int32).reshape(-1, 2)


def _filled(vertices: NDArray[np.int32]) -> Patch:
    """The pixels on and inside an outline of whole pixels."""
    low = vertices.min(axis=0)
    width, height = (int(v) for v in vertices.max(axis=0) - low + 1)
    canvas = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(canvas, [np.ascontiguousarray(vertices - low)], 1)
    painted = canvas.astype(np.bool_)
    return Patch(int(low[0]), int(low[1]), painted, int(np.count_nonzero(painted)))


def percent_points(vertices: NDArray[np.int32], height: int, width: int) -> Points:
    """(N, 2) pixels, x and y, as points in percent that `patch_from_points` reads back exactly."""
    centres = vertices.astype(np.float64) + 0.5
    if len(vertices) < 3:
        # Label Studio wants three corners: a sliver inside the same pixels.
        sliver = np.array([[-0.15, -0.15], [0.15, -0.15], [0.15, 0.15], [-0.15, 0.15]])
        centres = centres[[0, -1, -1, 0]] + sliver
    percent = np.round(centres / (width, height) * 100, _DECIMALS)
    return tuple((float(x), float(y)) for x, y in percent)
