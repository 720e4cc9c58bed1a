"""Closed-set drafts: masks without names, names for pixels, a vote (Semantic Segment Anything)."""

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.confidence import IDENTITY, Calibration
from cloud.preannotation.drafting import Draft, DraftRegion, found_at
from cloud.preannotation.fusion import Fusion, fuse
from cloud.preannotation.mask_proposals import MaskProposer
from cloud.preannotation.region_masks import MaskProposals, paint, runs_of
from cloud.preannotation.semantic_labels import SemanticLabeler, class_ids_of
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.sections.drafting import VoteSection


class ClosedSetDrafter:
    """Drafts by the vote of a mask branch with a semantic branch."""

    def __init__(
        self,
        proposer: MaskProposer,
        labeler: SemanticLabeler,
        label_map: LabelMap,
        *,
        vote: VoteSection | None = None,
        calibration: Calibration = IDENTITY,
        bgr: bool = False,
    ) -> None:
        self.proposed_by, self.labelled_by = proposer.name, labeler.name
        self._proposer, self._labeler, self._label_map = proposer, labeler, label_map
        self._vote = vote or VoteSection()
        self._calibration, self._bgr = calibration, bgr

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """See `Drafter`; with `bgr` both branches get the picture as SSA hands it to its own."""
        seen = np.ascontiguousarray(image[..., ::-1]) if self._bgr else image
        probabilities = self._labeler.label(seen)
        class_ids = class_ids_of(probabilities)
        proposals = self._proposer.propose(seen)
        fusion = fuse(
            proposals,
            class_ids,
            probabilities=probabilities,
            weights=self._vote.weights,
            erased_classes=self._vote.erased_classes,
        )
        scores = self._calibration.applied(raw_scores(fusion, proposals, probabilities))
        return Draft(
            mask=fusion.mask,
            confidence=_confidence(fusion, proposals, scores, probabilities),
            regions=tuple(
                self._region(fusion, proposals, place, float(scores[place]))
                for place in range(len(fusion.votes))
            ),
            erased=fusion.erased,
        )

    def _region(
        self, fusion: Fusion, proposals: MaskProposals, place: int, score: float
    ) -> DraftRegion:
        vote = fusion.votes[place]
        known = vote.class_id != IGNORE_INDEX
        name = self._label_map.names[vote.class_id] if known else "unknown"
        return DraftRegion(
            rle=proposals.rles[vote.proposal],
            area=vote.area,
            box=vote.box,
            class_id=vote.class_id if known else None,
            class_name=name,
            class_proposals=(name,),
            score=score if known else 0.0,
            predicted_iou=vote.predicted_iou,
            stability=vote.stability,
            vote_share=vote.vote_share,
            tied=vote.tied,
            **found_at(proposals, vote.proposal),
        )


def raw_scores(
    fusion: Fusion, proposals: MaskProposals, probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(V,) for each vote: margin x predicted IoU x stability x mean probability of its class."""
    means = np.zeros(len(fusion.votes), dtype=np.float64)
    for class_id in {vote.class_id for vote in fusion.votes} - {IGNORE_INDEX}:
        scores = probabilities[class_id].ravel(order="F")
        before = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
        for place, vote in enumerate(fusion.votes):
            if vote.class_id == class_id:
                starts, ends = runs_of(proposals.rles[vote.proposal])
                means[place] = (before[ends] - before[starts]).sum() / vote.area
    product = [vote.margin * vote.predicted_iou * vote.stability for vote in fusion.votes]
    return np.clip(np.array(product, dtype=np.float64) * means, 0.0, 1.0)


def _confidence(
    fusion: Fusion,
    proposals: MaskProposals,
    scores: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(H, W): the score of the mask on top; where the semantic model has the last word (in no
    mask, or a class the vote had erased), its own probability; 0 where nobody knows."""
    height, width = fusion.mask.shape
    own = probabilities.max(axis=0) if len(probabilities) else np.zeros((height, width), np.float32)
    flat = own.ravel(order="F")
    paint(flat, [proposals.rles[vote.proposal] for vote in fusion.votes], scores)
    confidence = np.ascontiguousarray(flat.reshape(width, height).T)
    for class_id in fusion.kept:
        given_back = fusion.mask == class_id
        confidence[given_back] = probabilities[class_id][given_back]
    confidence[fusion.mask == IGNORE_INDEX] = 0.0
    return confidence
