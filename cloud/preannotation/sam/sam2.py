"""SAM 2 and 2.1 (Ravi et al. 2024) for single pictures; the network is transformers' `Sam2Model`.

Pictures are squeezed to a square, whatever their aspect ratio, and coordinates with them.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from cloud.preannotation.sam.checkpoints import (
    SAM2_SIZES,
    Kind,
    put_into,
    read_weights,
    require_kind,
)
from cloud.preannotation.sam.original_names import sam2_weights
from cloud.preannotation.sam.promptable import Answers, Embedding, Prompts
from cloud.preannotation.sam.prompts import checked_picture, prompt_count
from cloud.preannotation.sam.transformers_folder import is_weights_file, load_transformers_sam

# Of ImageNet, for values from 0 to 1; red, green, blue.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)

_UPSCALED_AT_ONCE = 16
_LARGEST_LOGIT = 32.0  # SAM 2's predictor clips masks that it takes back as prompts
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3  # labels of a box's corners


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, int, int]  # blocks that see the whole picture
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background: int = 7  # side of the windowed encoding of places


_SHAPES = {
    "tiny": _Shape(width=96, heads=1, blocks=(1, 2, 7, 2), whole=(5, 7, 9)),
    "small": _Shape(width=96, heads=1, blocks=(1, 2, 11, 2), whole=(7, 10, 13)),
    "base_plus": _Shape(
        width=112, heads=2, blocks=(2, 3, 16, 3), whole=(12, 16, 20), background=14
    ),
    "large": _Shape(
        width=144, heads=2, blocks=(2, 6, 36, 4), whole=(23, 33, 43), windows=(8, 4, 16, 8)
    ),
}


def sam2_config(model: str) -> Sam2Config:
    """The original's sizes of tiny, small, base_plus or large."""
    shape = _SHAPES[model]
    widths = [shape.width * 2**stage for stage in range(4)]
    return Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=Sam2HieraDetConfig(
                hidden_size=shape.width,
                num_attention_heads=shape.heads,
                blocks_per_stage=list(shape.blocks),
                embed_dim_per_stage=widths,
                num_attention_heads_per_stage=[shape.heads * 2**stage for stage in range(4)],
                window_size_per_stage=list(shape.windows),
                global_attention_blocks=list(shape.whole),
                window_positional_embedding_background_size=[shape.background] * 2,
            ),
            backbone_channel_list=widths[::-1],
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(),
        mask_decoder_config=Sam2MaskDecoderConfig(),
    )


def load_sam2(source: Path, model: str) -> Any:
    """transformers' `Sam2Model` in evaluation mode, on the CPU.

    Args:
        source: the authors' sam2_hiera_….pt or sam2.1_hiera_….pt, or a folder or hub id.
        model: tiny, small, base_plus or large.

    Raises:
        ModelLoadError: no such file or folder, a truncated one, or one of another model.
    """
    hub = f"facebook/sam2.1-hiera-{model.replace('_', '-')}"
    expected = f"expected SAM 2's {model} as in {hub}, or its authors' .pt file"
    kind = Kind(type="sam2", model=model)
    if not is_weights_file(source):
        return load_transformers_sam(
            source,
            Sam2Model,
            model_types=("sam2", "sam2_video"),  # the published ones are for video too
            kind_of=_kind_of,
            kind=kind,
            expected=expected,
        )
    weights = read_weights(source, expected)
    require_kind(weights, kind, path=source, expected=expected)
    with torch.device("meta"):
        network = Sam2Model(sam2_config(model))
    put_into(network, sam2_weights(weights), path=source, expected=expected)
    return network.eval()


def _kind_of(config: Any) -> Kind:
    backbone = config.vision_config.backbone_config
    size = (backbone.hidden_size, sum(backbone.blocks_per_stage))
    return Kind(type="sam2", model=SAM2_SIZES.get(size, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam2Features:
    """What the decoder needs of one picture, float32."""

    at_4: Tensor  # (1, C / 8, 4h, 4w)
    at_8: Tensor  # (1, C / 4, 2h, 2w)
    at_16: Tensor  # (1, C, h, w)


class Sam2:
    """See `PromptableModel`."""

    stability_offset = 1.0

    def __init__(self, network: Any, *, name: str, device: str, precision: str = "float32") -> None:
        """Put the network on its device.

        Args:
            network: `Sam2Model` with its weights.
            name: as the configuration says it.
            device: as torch takes it.
            precision: float32, bfloat16, or bfloat16_encoder, which decodes in float32; answers
                are float32 anyway.
        """
        self.name = name
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self._half_encoder = precision != "float32"
        self._half_decoder = precision == "bfloat16"
        self._side: int = network.config.prompt_encoder_config.image_size
        self._mean = torch.tensor(PIXEL_MEAN, device=device).view(-1, 1, 1)
        self._std = torch.tensor(PIXEL_STD, device=device).view(-1, 1, 1)

    @property
    def encoder(self) -> nn.Module:
        """The part that takes in pictures."""
        encoder: nn.Module = self._network.vision_encoder
        return encoder

    @torch.no_grad()
    def embed(self, images: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        """See `PromptableModel`.

        Raises:
            ShapeError: not (H, W, 3) uint8, or without a pixel.
        """
        if not images:
            return []
        batch = torch.stack([self._prepared(checked_picture(image)) for image in images])
        with self._precision(half=self._half_encoder):
            levels = self._network.get_image_embeddings(batch)
        at_4, at_8, at_16 = (level.float() for level in levels)
        return [
            Embedding(
                height=image.shape[0],
                width=image.shape[1],
                features=Sam2Features(
                    at_4=at_4[n : n + 1], at_8=at_8[n : n + 1], at_16=at_16[n : n + 1]
                ),
            )
            for n, image in enumerate(images)
        ]

    @torch.no_grad()
    def ask(self, embedding: Embedding, prompts: Prompts, *, several: bool) -> Answers:
        """See `PromptableModel`.

        One mask where not `several`: the single one if it is stable, else the best of three, as
        SAM 2 does it; that needs masks at once.
        """
        decoder = self._network.mask_decoder
        sparse, dense = self._encoded(embedding, prompts)
        own = (decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight)
        fixed = torch.cat(own).expand(len(sparse), 1, -1, -1)
        with self._precision(half=self._half_decoder):
            found, keys = decoder.transformer(
                point_embeddings=torch.cat([fixed, sparse], dim=2),
                image_embeddings=embedding.features.at_16 + dense,
                image_positional_embeddings=self._network.get_image_wide_positional_embeddings(),
                attention_similarity=None,
            )
            quality = decoder.iou_prediction_head(found[:, 0, 1]).float()
            tokens = found[:, 0, 2 : 2 + decoder.num_mask_tokens]
            heads = decoder.output_hypernetworks_mlps
            kernels = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], dim=1)
        lazy = _Sam2Answers(self, quality, kernels, keys[:, 0], embedding.features)
        if several:
            return lazy.of(torch.arange(1, quality.shape[1]).expand(len(quality), -1))
        return lazy.of(self._single(lazy))

    def _single(self, answers: "_Sam2Answers") -> Tensor:
        """(N, 1) int64, which mask answers a prompt alone."""
        quality = answers.quality
        first = torch.zeros((len(quality), 1), dtype=torch.int64, device=quality.device)
        decoder = self._network.mask_decoder
        if not decoder.dynamic_multimask_via_stability:
            return first
        logits = answers.of(first).low_res(torch.ones_like(first, dtype=torch.bool)).flatten(1)
        delta = decoder.dynamic_multimask_stability_delta
        inner, outer = (logits > delta).sum(dim=1), (logits > -delta).sum(dim=1)
        stability = torch.where(outer > 0, inner / outer, 1.0)
        stable = stability >= decoder.dynamic_multimask_stability_thresh
        best = quality[:, 1:].argmax(dim=1, keepdim=True) + 1
        return torch.where(stable[:, None], first, best)

    @torch.no_grad()
    def enlarge(self, low_res: Tensor, embedding: Embedding) -> Tensor:
        """See `PromptableModel`; bilinear."""
        size = (embedding.height, embedding.width)
        return F.interpolate(low_res[:, None], size, mode="bilinear")[:, 0]

    def upscaled(self, keys: Tensor, kernels: Tensor, features: Sam2Features) -> Tensor:
        """(n, h·w, C) image tokens and (n, K, c) kernels to (n, K, 4h, 4w) float32 logits."""
        decoder = self._network.mask_decoder
        with self._precision(half=self._half_decoder):
            at_16 = keys.transpose(1, 2).reshape(len(keys), -1, *features.at_16.shape[2:])
            at_8 = decoder.upscale_conv1(at_16) + features.at_8
            at_8 = F.gelu(decoder.upscale_layer_norm(at_8))
            at_4 = F.gelu(decoder.upscale_conv2(at_8) + features.at_4)
            logits = kernels.to(at_4.dtype) @ at_4.flatten(2)
        return logits.view(*logits.shape[:2], *at_4.shape[2:]).float()

    def _encoded(self, embedding: Embedding, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """(N, 1, T, C) tokens of the prompts, and (N, C, h, w) of their masks."""
        count = prompt_count(prompts)
        scale = torch.tensor([embedding.width, embedding.height], device=self._device)
        points, labels = [], []
        if prompts.boxes is not None:
            # As two points with labels of their own, before all others.
            points.append(prompts.boxes.to(self._device).reshape(-1, 2, 2))
            corners = torch.tensor([_TOP_LEFT, _BOTTOM_RIGHT], device=self._device)
            labels.append(corners.expand(count, -1))
        if prompts.points is not None and prompts.point_labels is not None:
            points.append(prompts.points.to(self._device))
            labels.append(prompts.point_labels.to(self._device))
        masks = None
        if prompts.low_res_masks is not None:
            given = prompts.low_res_masks.to(self._device)
            masks = given.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        placed = torch.cat(points, dim=1).float() / scale * self._side if points else None
        known = torch.cat(labels, dim=1)[:, None] if labels else None
        sparse, dense = self._network.prompt_encoder(
            None if placed is None else placed[:, None], known, None, masks
        )
        if sparse is None:
            sparse = torch.zeros((count, 1, 0, dense.shape[1]), device=self._device)
        return sparse, dense.expand(count, -1, -1, -1)

    def _prepared(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 to (3, 1024, 1024) float32, normalised."""
        pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1).float() / 255
        size = (self._side, self._side)
        square = F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]
        return (square - self._mean) / self._std

    def _precision(self, *, half: bool) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half)


class _Sam2Answers:
    """See `Answers`; masks are up-scaled on request."""

    def __init__(
        self, sam: Sam2, quality: Tensor, kernels: Tensor, keys: Tensor, features: Sam2Features
    ) -> None:
        self.quality = quality  # (N, 4)
        self._sam, self._kernels, self._keys, self._features = sam, kernels, keys, features
        self.predicted_iou = quality

    def of(self, numbers: Tensor) -> "_Sam2Answers":
        """Only the masks of these (N, K) int64 numbers, 0 being the single one."""
        chosen = numbers.to(self.quality.device)
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        kernels = self._kernels[rows, chosen]
        quality = self.quality[rows, chosen]
        return _Sam2Answers(self._sam, quality, kernels, self._keys, self._features)

    @torch.no_grad()
    def low_res(self, wanted: Tensor) -> Tensor:
        """See `Answers`."""
        wanted = wanted.to(self._keys.device)
        asked = wanted.any(dim=1).nonzero()[:, 0]
        parts = [
            self._sam.upscaled(self._keys[some], self._kernels[some], self._features)[wanted[some]]
            for some in torch.split(asked, _UPSCALED_AT_ONCE)
            if len(some)
        ]
        side = self._features.at_4.shape[2:]
        return torch.cat(parts) if parts else self._features.at_4.new_zeros((0, *side))
