"""Pictures to class-agnostic masks, by name: a SAM, superpixels, or a program."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cloud.preannotation.devices import chosen_device, chosen_precision
from cloud.preannotation.grid_masks import GridProposer, settings_of
from cloud.preannotation.program_masks import ProgramProposer
from cloud.preannotation.region_masks import MaskProposals, no_proposals
from cloud.preannotation.sam.by_name import promptable_from
from cloud.preannotation.superpixels import SuperpixelProposer
from lifelong.sections.drafting import MasksSection

# A GPU takes the picture and its four first crops in one go. A CPU is no faster for it, and may
# round a batch of several in another way than one picture.
_CROPS_AT_ONCE_ON_A_GPU = 5


class MaskProposer(Protocol):
    """Who finds things in a picture without knowing what they are."""

    name: str

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """Masks of an (H, W, 3) uint8 RGB picture; they may overlap, nest and leave gaps."""


class NoProposer:
    """No masks at all: the draft is the semantic model's own answer."""

    name = "none"

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`."""
        return no_proposals(image.shape[0], image.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where models run, how exactly, and where their weights are kept."""

    device: str
    precision: str
    weights_path: Path | None


def _grid(masks: MasksSection, place: _Place) -> MaskProposer:
    model = promptable_from(
        masks,
        device=place.device,
        precision=place.precision,
        weights_path=place.weights_path,
    )
    if place.device == "cpu":
        workers = torch.get_num_threads()
        return GridProposer(model, settings_of(masks), crop_batch=1, workers=workers)
    return GridProposer(model, settings_of(masks), crop_batch=_CROPS_AT_ONCE_ON_A_GPU)


PROPOSERS: dict[str, Callable[[MasksSection, _Place], MaskProposer]] = {
    "sam": _grid,
    "sam_hq": _grid,
    "sam2": _grid,
    "mobile_sam": _grid,
    "tiny": _grid,
    "program": lambda masks, place: ProgramProposer(masks.program, seconds=masks.program_seconds),
    "superpixels": lambda masks, place: SuperpixelProposer(),
    "none": lambda masks, place: NoProposer(),
}


def proposer_from(
    masks: MasksSection,
    *,
    device: str = "auto",
    precision: str = "float32",
    weights_path: Path | None = None,
) -> MaskProposer:
    """The proposer a configuration names.

    Args:
        precision: float32, bfloat16, or auto: bfloat16 on a GPU that has it, float32 elsewhere.
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.

    Raises:
        ConfigError: a type without such a model.
        ModelLoadError: weights that are not there, or cannot be loaded.
    """
    chosen = chosen_device(device)
    place = _Place(
        device=chosen, precision=chosen_precision(precision, chosen), weights_path=weights_path
    )
    return PROPOSERS[masks.type](masks, place)
