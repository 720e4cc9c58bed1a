"""Names in words for every mask, and a draft from them: SSA's engine, one call a model.

Semantic Segment Anything's open-vocabulary engine (Chen, Yang & Zhang 2023) asks four models for
each mask by itself. Here all masks of a picture go through each model together, a crop is encoded
once, and texts are encoded once as long as they are remembered; the names are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.drafting import Draft, DraftRegion, draft_of_regions
from cloud.preannotation.mask_proposals import MaskProposer
from cloud.preannotation.naming.batches import CROPS_AT_ONCE
from cloud.preannotation.naming.captions import Captioner, load_captioner
from cloud.preannotation.naming.clip_ranking import Ranker, Ranking, load_clip
from cloud.preannotation.naming.clipseg_vote import ProposalVoter, load_clipseg
from cloud.preannotation.naming.crops import (
    HUGE,
    LARGE,
    SMALL,
    Box,
    cut,
    grown_box,
    mask_inside,
)
from cloud.preannotation.naming.noun_phrases import NounPhrases, noun_phraser
from cloud.preannotation.naming.picture_labelers import PictureLabeler, load_picture_labeler
from cloud.preannotation.ontology import Ontology
from cloud.preannotation.region_masks import MaskProposals
from cloud.weights.store import located_hub
from lifelong.errors import LabelMapError, ShapeError
from lifelong.records.label_map import LabelMap
from lifelong.sections.drafting import OpenVocabularySection

UNNAMED = "unknown"  # a mask for which no model had any word

# SSA's light mode; there is no smaller OneFormer for COCO than the large one.
LIGHT = {
    "captioner": "Salesforce/blip-image-captioning-base",
    "clip": "openai/clip-vit-base-patch32",
    "clipseg": "CIDAS/clipseg-rd16",
    "labelers": ("shi-labs/oneformer_coco_swin_large", "shi-labs/oneformer_ade20k_swin_tiny"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedMask:
    """What the models call one mask; all but `class_name` are empty where none had a word."""

    class_name: str  # the proposal that most of the mask's pixels say
    class_proposals: tuple[str, ...]  # best first, by how well they fit the mask's surroundings
    probabilities: tuple[float, ...]  # of each proposal among all candidates of the mask, by CLIP
    shares: tuple[float, ...]  # of the mask's pixels that say so, sums to 1


class Namer(Protocol):
    """Who names masks in words."""

    name: str

    def name_masks(
        self, image: NDArray[np.uint8], proposals: MaskProposals
    ) -> tuple[NamedMask, ...]:
        """One name for every mask of an (H, W, 3) uint8 RGB picture, in the masks' order."""


class OpenVocabularyNamer:
    """Candidates from closed-set models and captions, ranked by CLIP, settled by CLIPSeg."""

    def __init__(
        self,
        labelers: Sequence[PictureLabeler],
        captioner: Captioner,
        ranker: Ranker,
        voter: ProposalVoter,
        *,
        proposals: int = 3,
        phrases: NounPhrases | None = None,
        name: str = "open_vocabulary",
    ) -> None:
        """`proposals`: how many names are kept of each mask; `phrases` None: see noun_phraser."""
        self.name = name
        self._labelers, self._captioner = tuple(labelers), captioner
        self._ranker, self._voter, self._kept = ranker, voter, proposals
        self._phrases = phrases if phrases is not None else noun_phraser()

    def name_masks(
        self, image: NDArray[np.uint8], proposals: MaskProposals
    ) -> tuple[NamedMask, ...]:
        """See `Namer`.

        Raises:
            ShapeError: the masks are of a picture of another size.
            ModelOutputError: a model answered NaN, or another shape than promised.
        """
        if image.shape[:2] != (proposals.height, proposals.width):
            raise ShapeError(
                f"picture {image.shape[:2]}, masks for {(proposals.height, proposals.width)}"
            )
        candidates = self._candidates(image, proposals)
        named = [number for number, some in enumerate(candidates) if some]
        rankings = self._ranker.rank(
            _crops(image, proposals, named, SMALL), [candidates[number] for number in named]
        )
        kept = [ranking[: self._kept] for ranking in rankings]
        boxes = [_box(proposals, number, HUGE) for number in named]
        votes = self._voter.votes(
            [cut(image, box) for box in boxes],
            [mask_inside(proposals.rles[n], box) for n, box in zip(named, boxes, strict=True)],
            [[name for name, _ in ranking] for ranking in kept],
        )
        found = dict(zip(named, map(_named, kept, votes), strict=True))
        return tuple(found.get(number, _nameless()) for number in range(len(proposals)))

    def _candidates(
        self, image: NDArray[np.uint8], proposals: MaskProposals
    ) -> list[tuple[str, ...]]:
        """Names that each mask may have, each once, in an order that never changes; none for an
        empty mask."""
        filled = [int(number) for number in np.flatnonzero(proposals.areas)]
        candidates: list[tuple[str, ...]] = [()] * len(proposals)
        if not filled:
            return candidates
        maps = [(labeler.names, labeler.ids(image)) for labeler in self._labelers]
        captions = self._captioner.captions(_crops(image, proposals, filled, LARGE))
        for number, caption in zip(filled, captions, strict=True):
            inside = _box(proposals, number, 1.0)
            mask = mask_inside(proposals.rles[number], inside)
            labels = [names[_majority(cut(ids, inside)[mask])] for names, ids in maps]
            # A caption without any thing in it is better than no candidate at all.
            phrases = self._phrases(caption) or (() if labels else (caption,))
            said = (name.strip() for name in (*labels, *phrases))
            candidates[number] = tuple(dict.fromkeys(name for name in said if name))
        return candidates


class OpenVocabularyDrafter:
    """A `Drafter` whose regions have free names; what the ontology knows of them is painted.

    Raises:
        LabelMapError: the ontology is one of another label map.
    """

    def __init__(
        self, proposer: MaskProposer, namer: Namer, ontology: Ontology, label_map: LabelMap
    ) -> None:
        foreign = [c for c in ontology.entries.values() if c is not None and c >= len(label_map)]
        if foreign:
            raise LabelMapError(
                f"the ontology means class ids up to {max(foreign)}, the label map has "
                f"{len(label_map)} classes; read the ontology with this label map"
            )
        self.proposed_by, self.labelled_by = proposer.name, namer.name
        self._proposer, self._namer = proposer, namer
        self._ontology = ontology

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """See `Drafter`. Large regions are painted first, so that small ones stay on top of them;
        names without a class are never painted, and leave what lies under them as it is."""
        proposals = self._proposer.propose(image)
        names = self._namer.name_masks(image, proposals)
        order = [int(n) for n in np.argsort(-proposals.areas, kind="stable") if proposals.areas[n]]
        regions = tuple(self._region(proposals, number, names[number]) for number in order)
        draft = draft_of_regions(regions, height=image.shape[0], width=image.shape[1])
        seen = {region.class_id for region in regions if region.class_id is not None}
        lost = sorted(seen - {int(class_id) for class_id in np.unique(draft.mask)})
        return replace(draft, erased=tuple(lost))

    def _region(self, proposals: MaskProposals, number: int, named: NamedMask) -> DraftRegion:
        place = named.class_proposals.index(named.class_name) if named.class_proposals else None
        share = 0.0 if place is None else named.shares[place]
        probability = 0.0 if place is None else named.probabilities[place]
        iou, stability = proposals.predicted_iou[number], proposals.stability[number]
        class_id = None if place is None else self._ontology.class_of(named.class_name)
        x0, y0, x1, y1 = (int(side) for side in proposals.boxes[number])
        return DraftRegion(
            rle=proposals.rles[number],
            area=int(proposals.areas[number]),
            box=(x0, y0, x1, y1),
            class_id=class_id,
            class_name=named.class_name,
            class_proposals=named.class_proposals,
            score=min(1.0, float(share * iou * stability * probability)),
            predicted_iou=float(iou),
            stability=float(stability),
            vote_share=share,
            tied=named.shares.count(share) > 1,
        )


def namer_from(
    section: OpenVocabularySection,
    *,
    device: str = "auto",
    weights_path: Path | None = None,
    at_once: int = CROPS_AT_ONCE,
) -> OpenVocabularyNamer:
    """The namer a configuration names, with its weights loaded.

    Args:
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.
        at_once: crops that go through a model together, at most.

    Raises:
        ModelLoadError: weights that cannot be loaded; says what was expected.
    """
    chosen = section.model_copy(update=LIGHT) if section.light else section

    def place(model: str) -> str:
        return str(located_hub(model, weights_path))

    return OpenVocabularyNamer(
        [load_picture_labeler(place(model), device=device) for model in chosen.labelers],
        load_captioner(place(chosen.captioner), device=device, at_once=at_once),
        load_clip(place(chosen.clip), device=device, at_once=at_once),
        load_clipseg(place(chosen.clipseg), device=device, at_once=at_once),
        proposals=chosen.proposals,
        name="+".join(Path(m).name for m in (chosen.captioner, chosen.clip, chosen.clipseg)),
    )


def _box(proposals: MaskProposals, number: int, factor: float) -> Box:
    x0, y0, x1, y1 = (int(side) for side in proposals.boxes[number])
    if factor == 1.0:
        return (x0, y0, x1, y1)
    return grown_box((x0, y0, x1, y1), factor, height=proposals.height, width=proposals.width)


def _crops(
    image: NDArray[np.uint8], proposals: MaskProposals, numbers: Sequence[int], factor: float
) -> list[NDArray[np.uint8]]:
    return [cut(image, _box(proposals, number, factor)) for number in numbers]


def _majority(ids: NDArray[np.int64]) -> int:
    """The most frequent id of at least one; of several, the lowest."""
    return int(np.bincount(ids).argmax())


def _named(ranking: Ranking, votes: NDArray[np.int64]) -> NamedMask:
    """Most votes win; of several with as many, the one that CLIP ranks higher."""
    names = tuple(name for name, _ in ranking)
    shares = votes / max(int(votes.sum()), 1)
    return NamedMask(
        class_name=names[int(votes.argmax())],
        class_proposals=names,
        probabilities=tuple(probability for _, probability in ranking),
        shares=tuple(float(share) for share in shares),
    )


def _nameless() -> NamedMask:
    return NamedMask(class_name=UNNAMED, class_proposals=(), probabilities=(), shares=())
