"""How the authors of HQ-SAM and SAM 2 name weights, and how transformers names the same ones."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from cloud.preannotation.sam.checkpoints import Weights

# Patterns and replacements, applied one after the other to every name.
Rules = tuple[tuple[str, str], ...]

_PERCEPTRONS: Rules = (
    (r"(_mlps\.\d+|_head|_mlp)\.layers\.0\.", r"\1.proj_in."),
    (r"(_mlps\.\d+|_head|_mlp)\.layers\.1\.", r"\1.layers.0."),
    (r"(_mlps\.\d+|_head|_mlp)\.layers\.2\.", r"\1.proj_out."),
)

_DECODER: Rules = (
    (r"^(mask_decoder\.transformer\.layers\.\d+\.)norm(\d)\.", r"\1layer_norm\2."),
    (
        r"^mask_decoder\.transformer\.norm_final_attn\.",
        "mask_decoder.transformer.layer_norm_final_attn.",
    ),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
)

_PROMPTS: Rules = (
    (
        r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "prompt_encoder.shared_embedding.positional_embedding",
    ),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
)

_HQ: Rules = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^vision_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^mask_decoder\.hf_token\.", "mask_decoder.hq_token."),
    (r"^mask_decoder\.hf_mlp\.", "mask_decoder.hq_mask_mlp."),
    (r"^mask_decoder\.compress_vit_feat\.0\.", "mask_decoder.compress_vit_conv1."),
    (r"^mask_decoder\.compress_vit_feat\.1\.", "mask_decoder.compress_vit_norm."),
    (r"^mask_decoder\.compress_vit_feat\.3\.", "mask_decoder.compress_vit_conv2."),
    (r"^mask_decoder\.embedding_encoder\.0\.", "mask_decoder.encoder_conv1."),
    (r"^mask_decoder\.embedding_encoder\.1\.", "mask_decoder.encoder_norm."),
    (r"^mask_decoder\.embedding_encoder\.3\.", "mask_decoder.encoder_conv2."),
    (r"^mask_decoder\.embedding_maskfeature\.0\.", "mask_decoder.mask_conv1."),
    (r"^mask_decoder\.embedding_maskfeature\.1\.", "mask_decoder.mask_norm."),
    (r"^mask_decoder\.embedding_maskfeature\.3\.", "mask_decoder.mask_conv2."),
    *_DECODER,
    *_PERCEPTRONS,
    *_PROMPTS,
)

_SAM2: Rules = (
    (r"^sam_", ""),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^(vision_encoder\.backbone\.patch_embed\.)proj\.", r"\1projection."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+\.)norm(\d)\.", r"\1layer_norm\2."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"^(mask_decoder\.transformer\..*)\.out_proj\.", r"\1.o_proj."),
    *_DECODER,
    *_PERCEPTRONS,
    *_PROMPTS,
)

# What SAM 2 has for the memory of earlier frames of a video, and a single picture has not.
_VIDEO = re.compile(
    r"^(memory_attention|memory_encoder|mask_downsample|obj_ptr_proj|obj_ptr_tpos_proj)\."
    r"|^(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$"
)

_SHARED = "prompt_encoder.shared_embedding.positional_embedding"


def hq_weights(original: Mapping[str, Tensor]) -> Weights:
    """HQ-SAM's weights under the names of transformers' `SamHQModel`."""
    weights = {_renamed(name, _HQ): value for name, value in original.items()}
    return _with_shared_embedding(weights)


def sam2_weights(original: Mapping[str, Tensor]) -> Weights:
    """SAM 2's weights for pictures under the names of transformers' `Sam2Model`."""
    weights = {
        _renamed(name, _SAM2): value for name, value in original.items() if not _VIDEO.match(name)
    }
    points = [f"prompt_encoder.point_embeddings.{number}.weight" for number in range(4)]
    if all(name in weights for name in points):
        rows = [weights.pop(name) for name in points]
        weights["prompt_encoder.point_embed.weight"] = torch.cat(rows)
    return _with_shared_embedding(weights)


def _with_shared_embedding(weights: Weights) -> Weights:
    """transformers keeps the encoding of places twice."""
    if _SHARED in weights:
        weights["shared_image_embedding.positional_embedding"] = weights[_SHARED]
    return weights


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
