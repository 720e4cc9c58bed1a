"""A SAM asked for everything: a grid of clicks, on the picture and on its crops.

The masks are those of segment-anything's SamAutomaticMaskGenerator, bit for bit, for less time
and memory: a mask the model itself thinks little of is never made, the others are enlarged a few
at a time, and of each only its runs are kept.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops.boxes import batched_nms

from cloud.preannotation.mask_cleaning import cleaned
from cloud.preannotation.region_masks import (
    MaskProposals,
    Rle,
    box_of,
    no_proposals,
    proposals_from_rles,
    rle_from_part,
)
from cloud.preannotation.sam.promptable import Embedding, PromptableModel, Prompts
from lifelong.sections.drafting import SSA_MASKS, MasksSection

# Masks of the picture's size that are looked at together: few enough to stay in reach of a CPU's
# caches, and as many as segment-anything enlarges for a click.
_AT_ONCE_ON_A_CPU = 3
_BYTES_ON_A_GPU = 256 * 2**20
_EDGE_PX = 20.0  # a mask this near to its crop's edge is cut off by it


_DEFAULTS = MasksSection()


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSettings:
    """How SAM is asked for everything; names and meaning as in SamAutomaticMaskGenerator."""

    points_per_side: int = _DEFAULTS.points_per_side
    points_per_batch: int = _DEFAULTS.points_per_batch
    pred_iou_thresh: float = _DEFAULTS.pred_iou_thresh
    stability_score_thresh: float = _DEFAULTS.stability_score_thresh
    box_nms_thresh: float = _DEFAULTS.box_nms_thresh
    crop_n_layers: int = _DEFAULTS.crop_n_layers
    crop_nms_thresh: float = _DEFAULTS.crop_nms_thresh
    crop_overlap_ratio: float = _DEFAULTS.crop_overlap_ratio
    crop_n_points_downscale_factor: int = _DEFAULTS.crop_n_points_downscale_factor
    min_mask_region_area: int = _DEFAULTS.min_mask_region_area


def settings_of(masks: MasksSection) -> GridSettings:
    """The grid a configuration asks for."""
    return GridSettings(
        points_per_side=masks.points_per_side,
        points_per_batch=masks.points_per_batch,
        pred_iou_thresh=masks.pred_iou_thresh,
        stability_score_thresh=masks.stability_score_thresh,
        box_nms_thresh=masks.box_nms_thresh,
        crop_n_layers=masks.crop_n_layers,
        crop_nms_thresh=masks.crop_nms_thresh,
        crop_overlap_ratio=masks.crop_overlap_ratio,
        crop_n_points_downscale_factor=masks.crop_n_points_downscale_factor,
        min_mask_region_area=masks.min_mask_region_area,
    )


SSA_SETTINGS = settings_of(SSA_MASKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A part of the picture that SAM sees as a picture of its own."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1, the last two exclusive
    layer: int  # 0: the whole picture


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Masks of the picture's size as parallel rows, on the CPU."""

    rles: list[Rle]
    boxes: Tensor  # (N, 4) int64: x0, y0, x1, y1 inclusive, in the crop they were found in
    predicted_iou: Tensor  # (N,) float32
    stability: Tensor  # (N,) float32
    points: Tensor  # (N, 2) float64, x and y in the crop
    crop_boxes: Tensor  # (N, 4) int64: x0, y0, x1, y1, the last two exclusive

    def at(self, rows: Tensor) -> "_Found":
        """The rows of these numbers, in this order."""
        return _Found(
            rles=[self.rles[row] for row in rows.tolist()],
            boxes=self.boxes[rows],
            predicted_iou=self.predicted_iou[rows],
            stability=self.stability[rows],
            points=self.points[rows],
            crop_boxes=self.crop_boxes[rows],
        )


class GridProposer:
    """A grid of clicks, one at a time, and three masks for each; see `MaskProposer`."""

    def __init__(
        self, model: PromptableModel, settings: GridSettings, *, crop_batch: int, workers: int = 1
    ) -> None:
        """Args:
        crop_batch: crops that go through the image encoder at once.
        workers: batches of clicks that are answered at once, each on one core of the CPU; 1 on a
            GPU, which one batch fills. Memory grows with them.
        """
        self.name = model.name
        self._workers = workers
        self._model, self._settings, self._crop_batch = model, settings, crop_batch

    @torch.no_grad()
    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`."""
        height, width = image.shape[:2]
        crops = crops_of(height, width, self._settings)
        found: list[_Found] = []
        for first in range(0, len(crops), self._crop_batch):
            some = crops[first : first + self._crop_batch]
            parts = [image[c.box[1] : c.box[3], c.box[0] : c.box[2]] for c in some]
            for crop, embedding in zip(some, self._model.embed(parts), strict=True):
                found.append(self._in_crop(crop, embedding, (height, width)))
        masks = self._between_crops(_joined(found), several=len(crops) > 1)
        if self._settings.min_mask_region_area > 0:
            masks = self._cleaned(masks)
        return _proposals(masks, height, width)

    def _in_crop(self, crop: Crop, embedding: Embedding, picture: tuple[int, int]) -> _Found:
        """All masks of one crop but those that another one has the box of."""
        scale = np.array([embedding.width, embedding.height])
        points = torch.from_numpy(grid_of(crop.layer, self._settings) * scale)
        at_once = self._settings.points_per_batch
        batches = [points[first : first + at_once] for first in range(0, len(points), at_once)]
        answers = on_one_core_each(
            lambda batch: _joined(list(self._answers(batch, crop, embedding, picture))),
            batches,
            workers=self._workers,
        )
        found = _joined(answers)
        if not found.rles:
            return found
        keep = batched_nms(
            found.boxes.float(),
            found.predicted_iou,
            torch.zeros(len(found.rles)),
            iou_threshold=self._settings.box_nms_thresh,
        )
        return found.at(keep)

    def _answers(
        self, points: Tensor, crop: Crop, embedding: Embedding, picture: tuple[int, int]
    ) -> Iterator[_Found]:
        """Good and stable masks of one batch of clicks, a few at a time."""
        limit = self._settings.pred_iou_thresh
        prompts = Prompts(
            points=points[:, None], point_labels=torch.ones((len(points), 1), dtype=torch.int32)
        )
        answers = self._model.ask(embedding, prompts, several=True)
        iou = answers.predicted_iou
        wanted = iou > limit if limit > 0 else torch.ones_like(iou, dtype=torch.bool)
        low_res = answers.low_res(wanted)
        asked, iou = points[wanted.nonzero()[:, 0].cpu()], iou[wanted].cpu()
        at_once = _AT_ONCE_ON_A_CPU
        if low_res.device.type != "cpu":
            at_once = max(1, _BYTES_ON_A_GPU // (4 * embedding.height * embedding.width))
        for first in range(0, len(low_res), at_once):
            some = slice(first, first + at_once)
            logits = self._model.enlarge(low_res[some], embedding)
            yield self._kept(logits, iou[some], asked[some], crop, picture)

    def _kept(
        self, logits: Tensor, iou: Tensor, points: Tensor, crop: Crop, picture: tuple[int, int]
    ) -> _Found:
        """Of (M, H, W) logits of a crop, the stable masks that its edges do not cut."""
        offset, limit = self._model.stability_offset, self._settings.stability_score_thresh
        # The share of the mask's pixels that stay however the threshold moves: one mask of the
        # two is inside the other.
        stability = (pixels_above(logits, offset) / pixels_above(logits, -offset)).cpu()
        stable = stability >= limit if limit > 0 else torch.ones_like(stability, dtype=torch.bool)
        if not stable.any():
            return _NOTHING
        rows = stable.nonzero()[:, 0]
        masks = masks_of(logits if stable.all() else logits[rows.to(logits.device)])
        boxes = torch.from_numpy(np.array([box_around(mask) for mask in masks]))
        inside = (~cut_off(boxes, crop.box, picture)).nonzero()[:, 0]
        rows = rows[inside]
        x0, y0 = crop.box[:2]
        rles = []
        for number in inside.tolist():
            left, top, right, bottom = boxes[number].tolist()
            part = masks[number][top : bottom + 1, left : right + 1]
            rles.append(
                rle_from_part(part, x0=x0 + left, y0=y0 + top, height=picture[0], width=picture[1])
            )
        return _Found(
            rles=rles,
            boxes=boxes[inside],
            predicted_iou=iou[rows],
            stability=stability[rows],
            points=points[rows],
            crop_boxes=torch.tensor([crop.box]).expand(len(rles), -1),
        )

    def _between_crops(self, found: _Found, *, several: bool) -> _Found:
        """Masks in the picture's frame; of equal boxes, the one from the smallest crop."""
        shift = found.crop_boxes[:, :2]
        moved = _Found(
            rles=found.rles,
            boxes=found.boxes + shift.repeat(1, 2),
            predicted_iou=found.predicted_iou,
            stability=found.stability,
            points=found.points + shift,
            crop_boxes=found.crop_boxes,
        )
        if not several or not found.rles:
            return moved
        sides = found.crop_boxes[:, 2:] - shift
        keep = batched_nms(
            moved.boxes.float(),
            1 / sides.prod(dim=1),
            torch.zeros(len(found.rles)),
            iou_threshold=self._settings.crop_nms_thresh,
        )
        return moved.at(keep)

    def _cleaned(self, found: _Found) -> _Found:
        """Without small holes and islands; of equal boxes, one that needed no cleaning."""
        if not found.rles:
            return found
        answers = [cleaned(rle, self._settings.min_mask_region_area) for rle in found.rles]
        changed = torch.tensor([was_changed for _, was_changed in answers])
        boxes = torch.tensor([_inclusive_box(rle) for rle, _ in answers])
        keep = batched_nms(
            boxes.float(),
            (~changed).float(),
            torch.zeros(len(answers)),
            iou_threshold=max(self._settings.box_nms_thresh, self._settings.crop_nms_thresh),
        )
        return _Found(
            rles=[rle for rle, _ in answers],
            boxes=torch.where(changed[:, None], boxes, found.boxes),
            predicted_iou=found.predicted_iou,
            stability=found.stability,
            points=found.points,
            crop_boxes=found.crop_boxes,
        ).at(keep)


def on_one_core_each(
    call: Callable[[Tensor], _Found], batches: list[Tensor], *, workers: int
) -> list[_Found]:
    """What `call` answers to each batch, in order; several batches at once.

    Left to itself, torch cuts every single operation into a piece for each core, and waits for
    the slowest. Most operations of a mask decoder are too small for that.
    """
    if workers == 1 or len(batches) == 1:
        return [call(batch) for batch in batches]
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(call, batches))
    finally:
        # What one thread is told, torch tells every thread that is started later.
        torch.set_num_threads(threads)


def crops_of(height: int, width: int, settings: GridSettings) -> list[Crop]:
    """The picture, then 2 x 2 crops of it, 4 x 4 …, column by column; never without a pixel."""
    crops = [Crop(box=(0, 0, width, height), layer=0)]
    for layer in range(1, settings.crop_n_layers + 1):
        a_side = 2**layer
        overlap = int(settings.crop_overlap_ratio * min(height, width) * (2 / a_side))
        crop_width, crop_height = (
            math.ceil((overlap * (a_side - 1) + length) / a_side) for length in (width, height)
        )
        for column, row in product(range(a_side), repeat=2):
            x0, y0 = (crop_width - overlap) * column, (crop_height - overlap) * row
            x1, y1 = min(x0 + crop_width, width), min(y0 + crop_height, height)
            if x0 < x1 and y0 < y1:
                crops.append(Crop(box=(x0, y0, x1, y1), layer=layer))
    return crops


def grid_of(layer: int, settings: GridSettings) -> NDArray[np.float64]:
    """(P, 2) clicks of a crop, x and y as shares of its sides, row by row; at least one."""
    a_side = max(1, int(settings.points_per_side / settings.crop_n_points_downscale_factor**layer))
    offset = 1 / (2 * a_side)
    places = np.linspace(offset, 1 - offset, a_side)
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


def pixels_above(logits: Tensor, threshold: float) -> Tensor:
    """(M, H, W) float32 to (M,) int32: how many pixels of each are above."""
    if logits.device.type == "cpu":
        counts = [np.count_nonzero(plane) for plane in _above(logits, threshold)]
        return torch.tensor(counts, dtype=torch.int32)
    return (logits > threshold).flatten(1).sum(dim=1, dtype=torch.int32)


def masks_of(logits: Tensor) -> NDArray[np.bool_]:
    """(M, H, W) logits to masks, on the CPU."""
    if logits.device.type == "cpu":
        return _above(logits, 0.0)
    return np.asarray((logits > 0).cpu().numpy())


def _above(logits: Tensor, threshold: float) -> NDArray[np.bool_]:
    """On the CPU numpy compares and counts, in a fifth of torch's time for either."""
    # Logits may lie pixel by pixel; what is turned over are their truth values, a byte each.
    return np.ascontiguousarray(logits.numpy() > threshold)


def box_around(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 inclusive; (0, 0, 0, 0) for an empty mask, as segment-anything has it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))


def cut_off(boxes: Tensor, crop: tuple[int, int, int, int], picture: tuple[int, int]) -> Tensor:
    """(N,) true where a box ends near an edge of its crop which is no edge of the picture.

    Args:
        boxes: (N, 4), inclusive, in the crop.
        picture: height and width, pixels.
    """
    placed = boxes + torch.tensor([crop[:2] * 2])
    edges = torch.tensor([crop])
    ends = torch.tensor([[0, 0, picture[1], picture[0]]])
    near_crop = (placed - edges).abs() <= _EDGE_PX
    near_picture = (placed - ends).abs() <= _EDGE_PX
    return (near_crop & ~near_picture).any(dim=1)


def _inclusive_box(rle: Rle) -> tuple[int, int, int, int]:
    """As `box_around` answers it."""
    box = box_of(rle)
    return box if box[2] >= box[0] else (0, 0, 0, 0)


def _joined(parts: list[_Found]) -> _Found:
    """All rows of all parts, in order."""
    if not parts:
        return _NOTHING
    return _Found(
        rles=[rle for part in parts for rle in part.rles],
        boxes=torch.cat([part.boxes for part in parts]),
        predicted_iou=torch.cat([part.predicted_iou for part in parts]),
        stability=torch.cat([part.stability for part in parts]),
        points=torch.cat([part.points for part in parts]),
        crop_boxes=torch.cat([part.crop_boxes for part in parts]),
    )


def _proposals(found: _Found, height: int, width: int) -> MaskProposals:
    if not found.rles:
        return no_proposals(height, width)
    crop_boxes = found.crop_boxes.clone()
    crop_boxes[:, 2:] -= crop_boxes[:, :2]
    return proposals_from_rles(
        found.rles,
        height=height,
        width=width,
        predicted_iou=found.predicted_iou.tolist(),
        # A mask without a pixel at any threshold has none that could stay.
        stability=found.stability.nan_to_num(0.0).tolist(),
        points=found.points.numpy(),
        crop_boxes=crop_boxes.numpy(),
    )


_NOTHING = _Found(
    rles=[],
    boxes=torch.zeros((0, 4), dtype=torch.int64),
    predicted_iou=torch.zeros(0),
    stability=torch.zeros(0),
    points=torch.zeros((0, 2), dtype=torch.float64),
    crop_boxes=torch.zeros((0, 4), dtype=torch.int64),
)
