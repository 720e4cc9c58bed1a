"""What a draft is, whoever made it: a mask of class ids and the regions that it came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import MaskProposals, Rle, paint
from lifelong.records.label_map import IGNORE_INDEX


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRegion:
    """One mask with its name; regions may overlap, the draft's mask says who is on top."""

    rle: Rle
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive
    class_id: int | None  # None: no class of the label map is meant; never painted
    class_name: str  # the class, or the free words of an open vocabulary
    class_proposals: tuple[str, ...] = ()  # best first, `class_name` among them
    score: float  # how sure the draft is of this region, 0 .. 1
    predicted_iou: float = 1.0
    stability: float = 1.0
    vote_share: float = 1.0  # share of the pixels' votes that the class got
    tied: bool = False  # another class had as many votes
    point: tuple[float, float] | None = None  # x, y of the click it answers, pixels
    crop_box: tuple[int, int, int, int] | None = None  # x, y, width, height it was found in


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A picture's draft."""

    mask: NDArray[np.uint8]  # (H, W) class ids; 255 where nobody knows
    confidence: NDArray[np.float32]  # (H, W), how sure the draft is of each pixel, 0 .. 1
    regions: tuple[DraftRegion, ...]  # in painting order: what comes later lies on top
    erased: tuple[int, ...] = ()  # classes that were seen, and that no pixel of the mask has

    @property
    def score(self) -> float:
        """How sure the draft is of the whole picture: the mean over its pixels, 0 .. 1."""
        return float(self.confidence.mean()) if self.confidence.size else 0.0


class Drafter(Protocol):
    """Who drafts masks: closed set, open vocabulary, or words to look for."""

    proposed_by: str  # name of the mask branch
    labelled_by: str  # name of the semantic branch

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """Draft an (H, W, 3) uint8 RGB picture.

        Raises:
            ModelOutputError: a model answered NaN, or another shape than promised.
        """


class FoundAt(TypedDict):
    """Where a mask was found, as `DraftRegion` keeps it."""

    point: tuple[float, float] | None
    crop_box: tuple[int, int, int, int] | None


def found_at(proposals: MaskProposals, number: int) -> FoundAt:
    """The click and the crop of a proposal; no click for masks that answer none."""
    x, y = proposals.points[number].tolist()
    left, top, width, height = proposals.crop_boxes[number].tolist()
    return FoundAt(point=None if math.isnan(x) else (x, y), crop_box=(left, top, width, height))


def draft_of_regions(regions: Sequence[DraftRegion], *, height: int, width: int) -> Draft:
    """Paint regions in their order onto a picture nobody knows anything of; regions without a
    class are kept in the list and never painted."""
    mask = np.full(height * width, IGNORE_INDEX, dtype=np.uint8)
    confidence = np.zeros(height * width, dtype=np.float32)
    named = [region for region in regions if region.class_id is not None]
    rles = [region.rle for region in named]
    paint(mask, rles, np.array([region.class_id for region in named], dtype=np.uint8))
    paint(confidence, rles, [region.score for region in named])
    return Draft(
        mask=np.ascontiguousarray(mask.reshape(width, height).T),
        confidence=np.ascontiguousarray(confidence.reshape(width, height).T),
        regions=tuple(regions),
    )
