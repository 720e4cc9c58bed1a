"""Checkpoints of the original segment-anything: loaded safely, refused with a reason."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from lifelong.errors import ModelLoadError

_WIDTHS = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
_PUBLISHED = {
    "vit_b": "sam_vit_b_01ec64.pth, 375 MB",
    "vit_l": "sam_vit_l_0b3195.pth, 1.2 GB",
    "vit_h": "sam_vit_h_4b8939.pth, 2.6 GB",
}


def load_original_sam(checkpoint: Path, model: str) -> Sam:
    """A segment-anything model in evaluation mode, on the CPU.

    The file is read with `weights_only=True`: a checkpoint cannot run code of its own.

    Raises:
        ModelLoadError: an unknown model, no such file, a truncated one, or one of another model.
    """
    if model not in _WIDTHS:
        raise ModelLoadError(f"SAM model {model!r}: expected one of {', '.join(_WIDTHS)}")
    expected = f"expected the {model} checkpoint of segment-anything ({_PUBLISHED[model]})"
    if not checkpoint.is_file():
        raise ModelLoadError(f"{checkpoint}: no such file; {expected}")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError, ValueError, OSError) as error:
        raise ModelLoadError(
            f"{checkpoint}: truncated, or not a checkpoint at all ({_first_line(error)}); "
            + expected
        ) from error
    if not isinstance(state, dict):
        raise ModelLoadError(f"{checkpoint}: holds a {type(state).__name__}; {expected}")
    # The width tells the model before gigabytes are allocated for the wrong one.
    weight = state.get("image_encoder.patch_embed.proj.weight")
    width = int(weight.shape[0]) if isinstance(weight, torch.Tensor) else None
    if width != _WIDTHS[model]:
        raise ModelLoadError(f"{checkpoint}: {_seems(width)}; {expected}")
    sam: Sam = sam_model_registry[model]()
    try:
        sam.load_state_dict(state)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{checkpoint}: not all weights of {model} are in it ({_first_line(error)}); {expected}"
        ) from error
    return sam.eval()


def _seems(width: int | None) -> str:
    """What a file seems to be, by the width of its patch embedding."""
    if width is None:
        return "no image encoder of segment-anything inside"
    names = [name for name, known in _WIDTHS.items() if known == width]
    return f"weights of {names[0]}" if names else f"an image encoder {width} wide"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
