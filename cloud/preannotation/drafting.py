"""What a draft is, whoever made it: a mask of class ids and the regions that it came from."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.region_masks import Rle


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A picture's draft."""

    mask: NDArray[np.uint8]  # (H, W) class ids; 255 where nobody knows
    regions: tuple[DraftRegion, ...]  # in painting order: what comes later lies on top
    score: float  # of the whole picture, 0 .. 1
    erased: tuple[int, ...] = ()  # classes that were seen, and that no pixel of the mask has


class Drafter(Protocol):
    """Who drafts masks: closed set, open vocabulary, or words to look for."""

    proposed_by: str  # name of the mask branch
    labelled_by: str  # name of the semantic branch

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """Draft an (H, W, 3) uint8 RGB picture.

        Raises:
            ModelOutputError: a model answered NaN, or another shape than promised.
        """
