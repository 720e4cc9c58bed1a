"""Equal weights for both sides of a comparison: seeded, and calmed so that masks are blobs.

The masks of random weights are noise at every pixel: a brush region of 200,000 numbers, which
would measure how noise is packed. A trained SAM answers with blobs. Weights are calmed by five
changes that leave every step of the computation in place, so that times are those of any weights:
features of the picture count for less, the code of a place changes slowly over the picture, tokens
listen more to the prompt, the up-scaling draws no pattern of its own, and inside and outside are
made even.
"""

import importlib
from pathlib import Path
from typing import Any

import torch

SEED = 0
_PLACES = 0.1
_FEATURES = 0.2
_SLOWNESS = 0.5
_LISTENING = 8.0
_CARRYING = 4.0
_UPSCALING = 3.0


def write_sam(target: Path) -> None:
    """A vit_b as `torch.save` keeps a published one; nothing where the file is there already."""
    if target.exists():
        return
    from segment_anything import sam_model_registry

    torch.manual_seed(SEED)
    sam = sam_model_registry["vit_b"]()
    with torch.no_grad():
        for name, weight in sam.image_encoder.named_parameters():
            if "pos" in name:  # zeros at first, so that no place would matter to the encoder
                weight.normal_(0.0, _PLACES)
        last = sam.image_encoder.neck[3]
        last.weight.mul_(_FEATURES)
        last.bias.mul_(_FEATURES)
        _calm(sam.mask_decoder, sam.prompt_encoder)
    _write(sam.state_dict(), target)


def write_sam2(target: Path, size: str) -> None:
    """A SAM 2.1 in its authors' form, made by their own package: to be called where that is."""
    if target.exists():
        return
    package: Any = importlib.import_module("sam2.build_sam")
    torch.manual_seed(SEED)
    network: Any = package.build_sam2(
        f"configs/sam2.1/sam2.1_hiera_{size[0]}.yaml", None, device="cpu"
    )
    decoder = network.sam_mask_decoder
    with torch.no_grad():
        _calm(decoder, network.sam_prompt_encoder)
        for fine in (decoder.conv_s0, decoder.conv_s1):
            fine.weight.mul_(0.01)
            fine.bias.mul_(0.01)
    _write({"model": network.state_dict()}, target)


def _calm(decoder: Any, prompts: Any) -> None:
    prompts.pe_layer.positional_encoding_gaussian_matrix.mul_(_SLOWNESS)
    for place in (0, 3):
        weight = decoder.output_upscaling[place].weight
        weight.copy_(weight.mean((2, 3), keepdim=True).expand_as(weight) * _UPSCALING)
    for layer in decoder.transformer.layers:
        layer.cross_attn_image_to_token.q_proj.weight.mul_(_LISTENING)
        layer.cross_attn_image_to_token.k_proj.weight.mul_(_LISTENING)
        layer.cross_attn_image_to_token.v_proj.weight.mul_(_CARRYING)
    for kernels in decoder.output_hypernetworks_mlps:
        # What all channels have in common shall not decide: everything would be inside, or out.
        last = kernels.layers[-1]
        last.weight.sub_(last.weight.mean(0, keepdim=True))
        last.bias.sub_(last.bias.mean())


def _write(state: dict[str, Any], target: Path) -> None:
    """Whole or not at all: a run that was killed leaves no half file to be taken for one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    torch.save(state, part)
    part.replace(target)
