"""A hard example to its draft: load the picture, propose masks, label pixels, fuse, store."""

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.fusion import Fusion, Vote, fuse
from cloud.preannotation.mask_proposals import MaskProposer
from cloud.preannotation.semantic_labels import SemanticLabeler
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import draft_key
from lifelong.records.pixels import image_from_bytes, png_from_mask
from lifelong.records.samples import HardExample, PreAnnotation, RegionScore

# Superpixels come by the thousand; a record names the largest, its score is that of all.
MAX_REGIONS = 200


class Preannotator:
    """Drafts masks for people to correct."""

    def __init__(self, storage: Storage, proposer: MaskProposer, labeler: SemanticLabeler) -> None:
        self._storage, self._proposer, self._labeler = storage, proposer, labeler

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        """Draft one mask and store it at `drafts/{round}/{sample_id}.png`.

        Repeating it writes the same bytes under the same key.

        Raises:
            ObjectNotFoundError, ChecksumError, ImageError: the example's picture is not there, not
                the promised one, or no picture.
            ModelOutputError: the semantic model answered nonsense.
        """
        data = self._storage.get(example.image_key, sha256=example.image_sha256)
        image = image_from_bytes(data, example.image_key)
        fusion, sureness = self.draft(image)
        key = draft_key(round_number, example.sample_id)
        self._storage.put(key, png_from_mask(fusion.mask))
        regions = tuple(_region(vote, fusion.mask, sureness) for vote in fusion.votes)
        return PreAnnotation(
            sample_id=example.sample_id,
            round_number=round_number,
            image_key=example.image_key,
            mask_key=key,
            height=image.shape[0],
            width=image.shape[1],
            score=_overall(regions, sureness),
            proposed_by=self._proposer.name,
            labelled_by=self._labeler.name,
            regions=regions[:MAX_REGIONS],
            attributes=example.attributes,
        )

    def draft(self, image: NDArray[np.uint8]) -> tuple[Fusion, NDArray[np.float32]]:
        """The fused draft of an (H, W, 3) RGB picture, and how sure the semantic model is of its
        own answer at every pixel, (H, W) in 0 .. 1."""
        probabilities = self._labeler.label(image)
        class_ids = probabilities.argmax(axis=0).astype(np.uint8)
        return fuse(self._proposer.propose(image), class_ids), probabilities.max(axis=0)


def _region(vote: Vote, mask: NDArray[np.uint8], sureness: NDArray[np.float32]) -> RegionScore:
    """The score is a product: of the vote, of the proposer's two scores, and of how sure the
    semantic model is inside the region's box where the draft has the region's class."""
    x0, y0, x1, y1 = vote.box
    inside = mask[y0 : y1 + 1, x0 : x1 + 1] == vote.class_id
    sure = sureness[y0 : y1 + 1, x0 : x1 + 1][inside]
    mean = float(sure.mean()) if sure.size else 0.0
    return RegionScore(
        class_id=vote.class_id,
        area=vote.area,
        box=vote.box,
        vote_share=vote.vote_share,
        score=vote.vote_share * vote.predicted_iou * vote.stability * mean,
    )


def _overall(regions: tuple[RegionScore, ...], sureness: NDArray[np.float32]) -> float:
    """Mean of the regions' scores by area; without regions, how sure the semantic model is."""
    total = sum(region.area for region in regions)
    if not total:
        return float(sureness.mean())
    return sum(region.score * region.area for region in regions) / total
