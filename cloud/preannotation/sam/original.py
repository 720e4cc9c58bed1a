"""The original segment-anything, vit_b to vit_h, with the weights its authors published."""

from pathlib import Path

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from cloud.preannotation.sam.checkpoints import Kind, put_into, read_weights, require_kind
from lifelong.errors import ModelLoadError

# Of the pictures all SAMs of the first generation were trained on; red, green, blue.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

_PUBLISHED = {
    "vit_b": "sam_vit_b_01ec64.pth, 375 MB",
    "vit_l": "sam_vit_l_0b3195.pth, 1.2 GB",
    "vit_h": "sam_vit_h_4b8939.pth, 2.6 GB",
}


def load_original_sam(checkpoint: Path, model: str) -> Sam:
    """A segment-anything model in evaluation mode, on the CPU.

    Raises:
        ModelLoadError: an unknown model, no such file, a truncated one, or one of another model.
    """
    if model not in _PUBLISHED:
        raise ModelLoadError(f"SAM model {model!r}: expected one of {', '.join(_PUBLISHED)}")
    expected = f"expected the {model} checkpoint of segment-anything ({_PUBLISHED[model]})"
    weights = read_weights(checkpoint, expected)
    require_kind(weights, Kind(type="sam", model=model), path=checkpoint, expected=expected)
    # Fresh weights of gigabytes would be made only to be thrown away.
    with torch.device("meta"):
        sam: Sam = sam_model_registry[model]()
    put_into(sam, weights, path=checkpoint, expected=expected)
    # No part of a checkpoint, so still on the meta device.
    sam.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    sam.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return sam.eval()
