"""HQ-SAM (Ke et al. 2023): SAM with one more token, for masks with finer edges.

The network is transformers' `SamHQModel`; what is done with it follows the original, which for
`several` masks answers with one: the best of three by predicted IoU, joined with the fine mask.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    SamHQConfig,
    SamHQMaskDecoderConfig,
    SamHQModel,
    SamHQPromptEncoderConfig,
    SamHQVisionConfig,
)

from cloud.preannotation.sam.checkpoints import (
    VIT_WIDTHS,
    Kind,
    put_into,
    read_weights,
    require_kind,
)
from cloud.preannotation.sam.original import PIXEL_MEAN, PIXEL_STD
from cloud.preannotation.sam.original_names import hq_weights
from cloud.preannotation.sam.promptable import Answers, Embedding, Prompts
from cloud.preannotation.sam.prompts import checked_picture, prompt_count
from cloud.preannotation.sam.transformers_folder import is_weights_file, load_transformers_sam

# Prompts whose masks are up-scaled at once: 50 MiB of intermediates each.
_UPSCALED_AT_ONCE = 16

# Depth, heads and the blocks that see the whole picture.
_SHAPES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "vit_b": (12, 12, (2, 5, 8, 11)),
    "vit_l": (24, 16, (5, 11, 17, 23)),
    "vit_h": (32, 16, (7, 15, 23, 31)),
}


def hq_config(model: str) -> SamHQConfig:
    """The original's sizes of vit_b, vit_l or vit_h."""
    depth, heads, whole = _SHAPES[model]
    width = next(width for width, name in VIT_WIDTHS.items() if name == model)
    return SamHQConfig(
        vision_config=SamHQVisionConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            global_attn_indexes=list(whole),
        ),
        prompt_encoder_config=SamHQPromptEncoderConfig(),
        mask_decoder_config=SamHQMaskDecoderConfig(vit_dim=width),
    )


def load_hq_sam(source: Path, model: str) -> Any:
    """transformers' `SamHQModel` in evaluation mode, on the CPU.

    Args:
        source: the authors' sam_hq_vit_….pth, or a folder or hub id of transformers.
        model: vit_b, vit_l or vit_h.

    Raises:
        ModelLoadError: no such file or folder, a truncated one, or one of another model.
    """
    expected = f"expected HQ-SAM's sam_hq_{model}.pth, or a folder with it for transformers"
    kind = Kind(type="sam_hq", model=model)
    if not is_weights_file(source):
        return load_transformers_sam(
            source,
            SamHQModel,
            model_types=("sam_hq",),
            kind_of=lambda config: Kind(
                type="sam_hq", model=VIT_WIDTHS.get(config.vision_config.hidden_size, "")
            ),
            kind=kind,
            expected=expected,
        )
    weights = read_weights(source, expected)
    require_kind(weights, kind, path=source, expected=expected)
    with torch.device("meta"):
        network = SamHQModel(hq_config(model))
    put_into(network, hq_weights(weights), path=source, expected=expected)
    return network.eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class HqFeatures:
    """What the decoder needs of one picture, float32."""

    image: Tensor  # (1, C, h, w)
    fine: Tensor  # (1, C / 8, 4h, 4w): edges, from the first block that sees the whole picture


class HqSam:
    """See `PromptableModel`."""

    stability_offset = 1.0

    def __init__(self, network: Any, *, name: str, device: str, precision: str = "float32") -> None:
        """Put the network on its device.

        Args:
            network: `SamHQModel` with its weights.
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
        self._resize = ResizeLongestSide(network.config.vision_config.image_size)
        self._mean = torch.tensor(PIXEL_MEAN, device=device).view(-1, 1, 1)
        self._std = torch.tensor(PIXEL_STD, device=device).view(-1, 1, 1)
        for layer in network.mask_decoder.transformer.layers:
            for part in layer.children():
                if isinstance(part, nn.LayerNorm):
                    # transformers' configuration says 1e-6; the weights were trained with this.
                    part.eps = 1e-5

    @property
    def encoder(self) -> nn.Module:
        """The part that takes in pictures."""
        encoder: nn.Module = self._network.vision_encoder
        return encoder

    @torch.no_grad()
    def embed(self, images: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        """See `PromptableModel`; the longer side becomes 1024, and the rest is padding.

        Raises:
            ShapeError: not (H, W, 3) uint8, or without a pixel.
        """
        if not images:
            return []
        decoder = self._network.mask_decoder
        batch = torch.stack([self._prepared(checked_picture(image)) for image in images])
        with self._precision(half=self._half_encoder):
            seen = self._network.vision_encoder(batch)
            deep, early = seen.last_hidden_state, seen.intermediate_embeddings[0]
            fine = _sequence(decoder.encoder_conv1, decoder.encoder_norm, decoder.encoder_conv2)(
                deep
            ) + _sequence(
                decoder.compress_vit_conv1, decoder.compress_vit_norm, decoder.compress_vit_conv2
            )(early.permute(0, 3, 1, 2))
        return [
            Embedding(
                height=image.shape[0],
                width=image.shape[1],
                features=HqFeatures(
                    image=deep[number : number + 1].float(), fine=fine[number : number + 1].float()
                ),
            )
            for number, image in enumerate(images)
        ]

    @torch.no_grad()
    def ask(self, embedding: Embedding, prompts: Prompts, *, several: bool) -> Answers:
        """See `PromptableModel`; one mask for each prompt, whether `several` or not."""
        decoder = self._network.mask_decoder
        sparse, dense = self._encoded(embedding, prompts)
        own = (decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight)
        fixed = torch.cat(own).expand(len(sparse), 1, -1, -1)
        with self._precision(half=self._half_decoder):
            found, keys = decoder.transformer(
                point_embeddings=torch.cat([fixed, sparse], dim=2),
                image_embeddings=embedding.features.image + dense,
                image_positional_embeddings=self._network.get_image_wide_positional_embeddings(),
                attention_similarity=None,
            )
            quality = decoder.iou_prediction_head(found[:, 0, 0]).float()
            tokens = found[:, 0, 1 : 1 + decoder.num_mask_tokens]
            heads = [*decoder.output_hypernetworks_mlps, decoder.hq_mask_mlp]
            kernels = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], dim=1)
        if several:
            predicted, best = quality[:, 1:].max(dim=1, keepdim=True)
            best = best + 1
        else:
            predicted, best = quality[:, :1], torch.zeros_like(quality[:, :1], dtype=torch.int64)
        rows = torch.arange(len(best), device=best.device)
        pair = torch.stack([kernels[rows, best[:, 0]], kernels[:, -1]], dim=1)
        return _HqAnswers(self, predicted, pair, keys[:, 0], embedding)

    @torch.no_grad()
    def enlarge(self, low_res: Tensor, embedding: Embedding) -> Tensor:
        """See `PromptableModel`; twice bilinear, with the padding cut off in between."""
        side = self._resize.target_length
        height, width = self._resize.get_preprocess_shape(embedding.height, embedding.width, side)
        square = F.interpolate(low_res[:, None], (side, side), mode="bilinear")
        logits = F.interpolate(
            square[..., :height, :width], (embedding.height, embedding.width), mode="bilinear"
        )
        return logits[:, 0]

    def upscaled(self, keys: Tensor, pair: Tensor, fine: Tensor) -> Tensor:
        """(n, h·w, C) image tokens and (n, 2, c) kernels to (n, 4h, 4w) float32 logits."""
        decoder = self._network.mask_decoder
        with self._precision(half=self._half_decoder):
            at_16 = keys.transpose(1, 2).reshape(
                len(keys), -1, fine.shape[2] // 4, fine.shape[3] // 4
            )
            at_4 = _sequence(
                decoder.upscale_conv1, decoder.upscale_layer_norm, decoder.upscale_conv2
            )(at_16)
            at_4 = F.gelu(at_4)
            finer = _sequence(decoder.mask_conv1, decoder.mask_norm, decoder.mask_conv2)(at_4)
            coarse_mask = torch.einsum("nc,nchw->nhw", pair[:, 0], at_4)
            fine_mask = torch.einsum("nc,nchw->nhw", pair[:, 1], finer + fine)
        return coarse_mask.float() + fine_mask.float()

    def _encoded(self, embedding: Embedding, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """(N, 1, T, C) tokens of the prompts, and (N or 1, C, h, w) of their masks."""
        count = prompt_count(prompts)
        size = (embedding.height, embedding.width)
        points = labels = boxes = masks = None
        if prompts.points is not None and prompts.point_labels is not None:
            given = prompts.points.to(self._device)
            points = self._resize.apply_coords_torch(given, size)[:, None]
            labels = prompts.point_labels.to(self._device)[:, None]
        if prompts.boxes is not None:
            boxes = self._resize.apply_boxes_torch(prompts.boxes.to(self._device), size)[:, None]
        if prompts.low_res_masks is not None:
            masks = prompts.low_res_masks.to(self._device)
        sparse, dense = self._network.prompt_encoder(points, labels, boxes, masks)
        if sparse is None:
            sparse = torch.zeros((count, 1, 0, dense.shape[1]), device=self._device)
        return sparse, dense.expand(count, -1, -1, -1)

    def _prepared(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 to (3, 1024, 1024) float32, normalised and padded."""
        resized = torch.from_numpy(self._resize.apply_image(image)).to(self._device)
        pixels = (resized.permute(2, 0, 1).float() - self._mean) / self._std
        side = self._resize.target_length
        return F.pad(pixels, (0, side - pixels.shape[2], 0, side - pixels.shape[1]))

    def _precision(self, *, half: bool) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half)


class _HqAnswers:
    """See `Answers`; masks are up-scaled on request."""

    def __init__(
        self,
        sam: HqSam,
        predicted_iou: Tensor,
        pair: Tensor,
        keys: Tensor,
        embedding: Embedding,
    ) -> None:
        self.predicted_iou = predicted_iou
        self._sam, self._pair, self._keys = sam, pair, keys
        self._fine: Tensor = embedding.features.fine

    @torch.no_grad()
    def low_res(self, wanted: Tensor) -> Tensor:
        """See `Answers`."""
        rows = wanted[:, 0].nonzero()[:, 0].to(self._keys.device)
        parts = [
            self._sam.upscaled(self._keys[some], self._pair[some], self._fine)
            for some in torch.split(rows, _UPSCALED_AT_ONCE)
            if len(some)
        ]
        return torch.cat(parts) if parts else self._fine.new_zeros((0, *self._fine.shape[2:]))


def _sequence(first: nn.Module, norm: nn.Module, second: nn.Module) -> nn.Sequential:
    return nn.Sequential(first, norm, nn.GELU(), second)
