"""Loads the models of the `assist` section, by name; torch comes in with the first one only."""

from collections.abc import Callable, Hashable
from pathlib import Path

from cloud.assist.bordered import BorderedModel
from cloud.assist.interactive_model import InteractiveModel
from cloud.weights.sam_names import (
    SAM_MODELS,
    sam_model,
    sam_name,
    sam_weights,
    weights_digest,
    weights_files,
)
from lifelong.config import Config
from lifelong.errors import ConfigError, LifelongError, ModelLoadError
from lifelong.sections.assist import AssistModelSection
from lifelong.sections.drafting import MasksSection


class AssistLoader:
    """See `cloud.assist.model_room.Loader`."""

    def __init__(self, config: Config) -> None:
        self._section = config.assist
        self._weights_path = config.preannotation.weights_path

    def name_of(self, section: AssistModelSection) -> str:
        """See `Loader`; sam_vit_b, tiny_sam, or the folder's name of an exported model."""
        if section.type not in SAM_MODELS:
            name = section.type if section.checkpoint is None else section.checkpoint.name
            return f"{name}_int8" if section.model == "int8" else name
        return sam_name(section.type, section.model or (*SAM_MODELS[section.type], "")[0])

    def identity_of(self, section: AssistModelSection) -> Hashable:
        """See `Loader`; device and precision are the same for all."""
        place = self._place(section)
        where = place.resolve() if place is not None else None
        return self.name_of(section), where, _mirrors(section)

    def stamp_of(self, section: AssistModelSection) -> object:
        """See `Loader`: size and date of every file of the weights."""
        place = self._place(section)
        if place is None:
            return None
        files = (
            sorted(place.iterdir())
            if section.type == "onnx" and place.is_dir()
            else (weights_files(place))
        )
        stamps = []
        for path in files:
            try:
                found = path.stat()
            except OSError:
                continue
            stamps.append((str(path), found.st_size, found.st_mtime_ns))
        return tuple(stamps)

    def load(self, section: AssistModelSection) -> InteractiveModel:
        """See `Loader`."""
        model = ADAPTERS[section.type](self, section)
        return BorderedModel(model) if _mirrors(section) else model

    def onnx(self, section: AssistModelSection) -> InteractiveModel:
        """An exported model, which needs no torch."""
        from cloud.assist.onnx_sam import load_onnx_sam

        if section.checkpoint is None:
            raise ConfigError(
                "assist.model.checkpoint: type onnx needs the folder that "
                "`cornerloop models export` wrote"
            )
        precision = section.model or "float32"
        if precision not in ("float32", "int8"):
            raise ConfigError(
                f"assist.model.model: type 'onnx' has no {precision!r}; expected float32 or int8"
            )
        return load_onnx_sam(section.checkpoint, precision=precision, device=self._section.device)

    def promptable(self, section: AssistModelSection) -> InteractiveModel:
        """A SAM that torch runs."""
        from cloud.preannotation.devices import chosen_device
        from cloud.preannotation.interactive_sam import InteractiveSam
        from cloud.preannotation.sam.by_name import promptable_from

        try:
            model = sam_model(section.type, section.model, section="assist.model")
            place = sam_weights(section.type, model, section.checkpoint, self._weights_path)
            device = chosen_device(self._section.device)
            precision = _precision(self._section.precision, device, section.type)
            masks = MasksSection.model_validate(
                {"type": section.type, "model": section.model, "checkpoint": place}
            )
            loaded = promptable_from(masks, device=device, precision=precision)
            digest = weights_digest(place)
        except (ConfigError, ModelLoadError) as error:
            raise _in_our_words(error) from error
        return InteractiveSam(
            loaded,
            weights_digest=digest,
            precision=precision,
            device=device,
            takes_masks=section.type != "tiny",  # whose training never showed it a mask
        )

    def _place(self, section: AssistModelSection) -> Path | None:
        """Where the weights are, or None while they are not there."""
        if section.type == "onnx":
            return section.checkpoint
        try:
            model = sam_model(section.type, section.model, section="assist.model")
            return sam_weights(section.type, model, section.checkpoint, self._weights_path)
        except LifelongError:
            return None


_Adapter = Callable[[AssistLoader, AssistModelSection], InteractiveModel]
_promptable: _Adapter = AssistLoader.promptable
ADAPTERS: dict[str, _Adapter] = {
    **dict.fromkeys(SAM_MODELS, _promptable),
    "onnx": AssistLoader.onnx,
}


def _mirrors(section: AssistModelSection) -> bool:
    """SAM 2 squeezes pictures and pads none; the large ones learnt what padding is."""
    if section.type == "sam2":
        return False
    return section.type == "tiny" if section.mirror_border is None else section.mirror_border


def _precision(precision: str, device: str, kind: str) -> str:
    """`auto` is bfloat16 where the device has units for it: AMX, or a GPU since Ampere; the tiny
    SAM has nothing to gain by it.

    Clicks are decoded in float32 anyway: bfloat16 saves the decoder a fifth of its time and takes
    4 % of a mask's IoU, the encoder more than half and 0.3 % (bench/assist_precision.py).
    """
    import torch

    from lifelong.training.devices import computes_in_bf16

    if precision == "auto":
        gains = kind != "tiny" and computes_in_bf16("auto", torch.device(device))
        precision = "bfloat16" if gains else "float32"
    return "bfloat16_encoder" if precision == "bfloat16" else precision


def _in_our_words(error: LifelongError) -> LifelongError:
    """Drafts load the same weights, and their errors name the keys of their own section."""
    words = str(error).replace("preannotation.masks.", "assist.model.")
    return type(error)(words.replace("preannotation.device", "assist.device"))
