"""Pictures to class-agnostic masks, by name: a SAM with a grid of points, or superpixels."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.region_masks import (
    MaskProposals,
    Rle,
    no_proposals,
    proposals_from_rles,
)
from cloud.preannotation.sam.original import load_original_sam
from cloud.preannotation.sam.tiny import TINY_SAM_WEIGHTS, load_tiny_sam
from cloud.preannotation.superpixels import SuperpixelProposer
from lifelong.drafting_config import MasksSection
from lifelong.errors import ConfigError


class MaskProposer(Protocol):
    """Who finds things in a picture without knowing what they are."""

    name: str

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """Masks of an (H, W, 3) uint8 RGB picture; they may overlap, nest and leave gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSettings:
    """How SAM is asked for everything; names and meaning as in SamAutomaticMaskGenerator."""

    points_per_side: int = 16
    pred_iou_thresh: float = 0.7
    stability_score_thresh: float = 0.8
    crop_n_layers: int = 0
    crop_n_points_downscale_factor: int = 2
    min_mask_region_area: int = 30
    stability_score_offset: float = 1.0


TINY_STABILITY_OFFSET = 0.25

# What SSA's closed-set script sets (main_ssa.py): five crops and 8,192 prompts a picture.
SSA_SETTINGS = GridSettings(
    points_per_side=64,
    pred_iou_thresh=0.86,
    stability_score_thresh=0.92,
    crop_n_layers=1,
    crop_n_points_downscale_factor=2,
    min_mask_region_area=100,
)


class SamProposer:
    """A grid of clicks, one at a time, and what segment-anything makes of the answers."""

    def __init__(self, sam: Sam, settings: GridSettings, *, name: str) -> None:
        self.name = name
        self._generator = SamAutomaticMaskGenerator(
            sam,
            points_per_side=settings.points_per_side,
            pred_iou_thresh=settings.pred_iou_thresh,
            stability_score_thresh=settings.stability_score_thresh,
            stability_score_offset=settings.stability_score_offset,
            crop_n_layers=settings.crop_n_layers,
            crop_n_points_downscale_factor=settings.crop_n_points_downscale_factor,
            min_mask_region_area=settings.min_mask_region_area,
            output_mode="uncompressed_rle",
        )

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`."""
        height, width = image.shape[:2]
        with warnings.catch_warnings():
            # segment-anything puts tensors into numpy arrays the way numpy 1 liked it.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            found = self._generator.generate(np.ascontiguousarray(image))
        if not found:
            return no_proposals(height, width)
        rles = [
            Rle(size=[height, width], counts=[int(c) for c in one["segmentation"]["counts"]])
            for one in found
        ]
        return proposals_from_rles(
            rles,
            height=height,
            width=width,
            # A regression may answer a little more than 1.
            predicted_iou=[float(np.clip(one["predicted_iou"], 0.0, 1.0)) for one in found],
            stability=[float(one["stability_score"]) for one in found],
        )


class NoProposer:
    """No masks at all: the draft is the semantic model's own answer."""

    name = "none"

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`."""
        return no_proposals(image.shape[0], image.shape[1])


def _original(masks: MasksSection, device: str) -> MaskProposer:
    if masks.checkpoint is None:
        raise ConfigError(
            "preannotation.masks.checkpoint: type `sam` needs the path of a segment-anything "
            f"checkpoint for {masks.model or 'vit_h'}; or use type `tiny`, which needs none"
        )
    model = masks.model or "vit_h"
    sam = load_original_sam(masks.checkpoint, model).to(device)
    return SamProposer(sam, _settings(masks), name=f"sam_{model}")


def _tiny(masks: MasksSection, device: str) -> MaskProposer:
    sam = load_tiny_sam(masks.checkpoint or TINY_SAM_WEIGHTS).to(device)
    # Trained with focal loss, its logits are small: an offset of 1 would call every mask unstable.
    settings = replace(_settings(masks), stability_score_offset=TINY_STABILITY_OFFSET)
    return SamProposer(sam, settings, name="tiny_sam")


def _settings(masks: MasksSection) -> GridSettings:
    return GridSettings(
        points_per_side=masks.points_per_side,
        pred_iou_thresh=masks.pred_iou_thresh,
        stability_score_thresh=masks.stability_score_thresh,
        crop_n_layers=masks.crop_n_layers,
        min_mask_region_area=masks.min_mask_region_area,
    )


PROPOSERS: dict[str, Callable[[MasksSection, str], MaskProposer]] = {
    "sam": _original,
    "tiny": _tiny,
    "superpixels": lambda masks, device: SuperpixelProposer(),
    "none": lambda masks, device: NoProposer(),
}


def proposer_from(masks: MasksSection, *, device: str = "auto") -> MaskProposer:
    """The proposer a configuration names.

    Raises:
        ConfigError: `sam` without a checkpoint.
        ModelLoadError: weights that cannot be loaded.
    """
    return PROPOSERS[masks.type](masks, chosen_device(device))
