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
from cloud.preannotation.sam.tiny import load_tiny_sam
from cloud.weights.sam_names import SAM_MODELS, sam_model, sam_name, sam_weights
from lifelong.errors import ConfigError
from lifelong.sections.drafting import MasksSection

# Trained with focal loss, the tiny SAM's logits are small: an offset of 1 would call every mask
# unstable.
TINY_STABILITY_OFFSET = 0.25

MODELS = SAM_MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Which model is wanted, and where it shall run."""

    type: str
    model: str  # one of MODELS[type]; "" of `tiny`
    checkpoint: Path | None
    device: str
    precision: str
    weights_path: Path | None

    @property
    def name(self) -> str:
        """As the catalogue of weights has it."""
        return sam_name(self.type, self.model)

    @property
    def weights(self) -> Path:
        """The file or folder the configuration names, else what was pulled."""
        return sam_weights(self.type, self.model, self.checkpoint, self.weights_path)


def _original(wish: _Wish) -> PromptableModel:
    sam = load_original_sam(wish.weights, wish.model)
    return SegmentAnythingModel(sam, name=wish.name, device=wish.device, precision=wish.precision)


def _hq(wish: _Wish) -> PromptableModel:
    network = load_hq_sam(wish.weights, wish.model)
    return HqSam(network, name=wish.name, device=wish.device, precision=wish.precision)


def _sam2(wish: _Wish) -> PromptableModel:
    network = load_sam2(wish.weights, wish.model)
    return Sam2(network, name=wish.name, device=wish.device, precision=wish.precision)


def _mobile(wish: _Wish) -> PromptableModel:
    sam = load_mobile_sam(wish.weights)
    return SegmentAnythingModel(sam, name=wish.name, device=wish.device, precision=wish.precision)


def _tiny(wish: _Wish) -> PromptableModel:
    return SegmentAnythingModel(
        load_tiny_sam(wish.weights),
        name=wish.name,
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
        precision: float32, bfloat16, or bfloat16_encoder, which decodes in float32.
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
        type=masks.type,
        model=sam_model(masks.type, masks.model, section="preannotation.masks"),
        checkpoint=masks.checkpoint,
        device=device,
        precision=precision,
        weights_path=weights_path,
    )
    return PROMPTABLE[masks.type](wish)
