"""Pieces of similar colour as masks: the mask branch that needs no weights and no GPU."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_pieces
from skimage.segmentation import felzenszwalb

from cloud.preannotation.region_masks import MaskProposals, proposals_from_rles, rles_from_pieces


class SuperpixelProposer:
    """Pieces of similar colour (Felzenszwalb & Huttenlocher 2004): no weights, no GPU."""

    name = "superpixels"

    def __init__(self, *, scale: float = 15.0, sigma: float = 0.8, min_area_px: int = 20) -> None:
        self._scale, self._sigma, self._min_area_px = scale, sigma, min_area_px

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`; these masks cover the picture and do not overlap."""
        height, width = image.shape[:2]
        numbers = felzenszwalb(
            image, scale=self._scale, sigma=self._sigma, min_size=self._min_area_px
        )
        pieces = connected_pieces(numbers + 1, background=0, connectivity=1)
        return proposals_from_rles(rles_from_pieces(pieces), height=height, width=width)
