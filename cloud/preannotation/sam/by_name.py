"""Every SAM by the name the configuration gives it, with its weights and on its device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud.preannotation.sam.hq import HqSam, load_hq_sam
from cloud.preannotation.sam.mobile import load_mobile_sam
from cloud.preannotation.sam.original import load_original_sam
from cloud.preannotation.sam.promptable import PromptableModel
from cloud.preannotation.sam.sam2 import Sam2, load_sam2
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import TINY_SAM_WEIGHTS, load_tiny_sam
from cloud.weights_store import located
from lifelong.drafting_config import MasksSection
from lifelong.errors import ConfigError

# Trained with focal loss, the tiny SAM's logits are small: an offset of 1 would call every mask
# unstable.
TINY_STABILITY_OFFSET = 0.25

# `preannotation.masks.model` for each type; the first one is meant where none is named.
MODELS: dict[str, tuple[str, ...]] = {
    "sam": ("vit_h", "vit_l", "vit_b"),
    "sam_hq": ("vit_h", "vit_l", "vit_b"),
    "sam2": ("large", "base_plus", "small", "tiny"),
    "mobile_sam": ("vit_t",),
    "tiny": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Which model is wanted, and where it shall run."""

    model: str  # one of MODELS[type]; "" of `tiny`
    checkpoint: Path | None
    device: str
    precision: str
    weights_path: Path | None

    def weights(self, name: str) -> Path:
        """The file or folder the configuration names, else what was pulled under `name`."""
        return self.checkpoint or located(name, self.weights_path)


def _original(wish: _Wish) -> PromptableModel:
    name = f"sam_{wish.model}"
    sam = load_original_sam(wish.weights(name), wish.model)
    return SegmentAnythingModel(sam, name=name, device=wish.device, precision=wish.precision)


def _hq(wish: _Wish) -> PromptableModel:
    name = f"sam_hq_{wish.model}"
    network = load_hq_sam(wish.weights(name), wish.model)
    return HqSam(network, name=name, device=wish.device, precision=wish.precision)


def _sam2(wish: _Wish) -> PromptableModel:
    name = f"sam2_{wish.model}"
    network = load_sam2(wish.weights(name), wish.model)
    return Sam2(network, name=name, device=wish.device, precision=wish.precision)


def _mobile(wish: _Wish) -> PromptableModel:
    sam = load_mobile_sam(wish.weights("mobile_sam"))
    return SegmentAnythingModel(
        sam, name="mobile_sam", device=wish.device, precision=wish.precision
    )


def _tiny(wish: _Wish) -> PromptableModel:
    return SegmentAnythingModel(
        load_tiny_sam(wish.checkpoint or TINY_SAM_WEIGHTS),
        name="tiny_sam",
        device=wish.device,
        stability_offset=TINY_STABILITY_OFFSET,
        precision=wish.precision,
    )


PROMPTABLE: dict[str, Callable[[_Wish], PromptableModel]] = {
    "sam": _original,
    "sam_hq": _hq,
    "sam2": _sam2,
    "mobile_sam": _mobile,
    "tiny": _tiny,
}


def promptable_from(
    masks: MasksSection,
    *,
    device: str,
    precision: str = "float32",
    weights_path: Path | None = None,
) -> PromptableModel:
    """The SAM a configuration names.

    Args:
        masks: `type` must be one of `PROMPTABLE`.
        device: as torch takes it: cpu, cuda, cuda:1 …
        precision: float32 or bfloat16.
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.

    Raises:
        ConfigError: the type is no SAM, or has no such model.
        ModelLoadError: weights that are not there, or cannot be loaded.
    """
    if masks.type not in PROMPTABLE:
        raise ConfigError(
            f"preannotation.masks.type: {masks.type!r} is no SAM; expected one of "
            + ", ".join(PROMPTABLE)
        )
    wish = _Wish(
        model=_model_of(masks),
        checkpoint=masks.checkpoint,
        device=device,
        precision=precision,
        weights_path=weights_path,
    )
    return PROMPTABLE[masks.type](wish)


def _model_of(masks: MasksSection) -> str:
    possible = MODELS[masks.type]
    if masks.model is None:
        return possible[0] if possible else ""
    if masks.model not in possible:
        what = f"expected one of {', '.join(possible)}" if possible else "leave it out"
        raise ConfigError(
            f"preannotation.masks.model: type {masks.type!r} has no model {masks.model!r}; {what}"
        )
    return masks.model
