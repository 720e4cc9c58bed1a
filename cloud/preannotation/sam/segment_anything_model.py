"""Any network built of segment-anything's parts, as a `PromptableModel`; bit for bit its answers.

The mask decoder runs in two steps. The transformer answers with tokens, and from one of them the
quality of every mask follows; the up-scaling convolutions run afterwards, for wanted masks only.
What is equal for all prompts of a batch (the image's side of the first layer) is computed once.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything.modeling import Sam, TwoWayTransformer
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cloud.preannotation.sam.lean_attention import make_lean
from cloud.preannotation.sam.promptable import Answers, Embedding, Prompts
from cloud.preannotation.sam.prompts import checked_picture, prompt_count

# Prompts whose masks are up-scaled at once: the convolutions' intermediates are the largest
# tensors of the decoder, 12 MiB a prompt in the original SAM.
_UPSCALED_AT_ONCE = 16
# Prompts whose image tokens are worked on at once: 4 MiB each in the original SAM, several times.
_PROMPTS_AT_ONCE = 16


class SegmentAnythingModel:
    """The original SAM, our tiny one, MobileSAM: image encoder, prompt encoder, mask decoder."""

    def __init__(
        self, sam: Sam, *, name: str, device: str, stability_offset: float = 1.0,
        precision: str = "float32",
    ) -> None:  # fmt: skip
        """Args:
        precision: `float32`, `bfloat16` for encoder and decoder, or `bfloat16_encoder`; answers
            are float32.
        """
        self.name = name
        self.stability_offset = stability_offset
        make_lean(sam.image_encoder)
        self._sam = sam.to(device).eval()
        self._device = torch.device(device)
        self._half_encoder = precision != "float32"
        self._half_decoder = precision == "bfloat16"
        with torch.no_grad():
            self._image_pe = sam.prompt_encoder.get_dense_pe().flatten(2).permute(0, 2, 1)

    @property
    def encoder(self) -> nn.Module:
        """The part that takes in pictures."""
        encoder: nn.Module = self._sam.image_encoder
        return encoder

    @torch.no_grad()
    def embed(self, images: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        """See `PromptableModel`; every picture is scaled to the encoder's side, then padded.

        Raises:
            ShapeError: not (H, W, 3) uint8, or without a pixel.
        """
        if not images:
            return []
        prepared = torch.stack([self._prepared(image) for image in images])
        with self._precision(half=self._half_encoder):
            features = self._sam.image_encoder(prepared).float()
        return [
            Embedding(height=image.shape[0], width=image.shape[1], features=features[i : i + 1])
            for i, image in enumerate(images)
        ]

    @torch.no_grad()
    def ask(self, embedding: Embedding, prompts: Prompts, *, several: bool) -> Answers:
        """See `PromptableModel`.

        Coordinates are scaled in float64 and keep their type from there on: given as float64
        they are those of segment-anything's grids, as float32 those of its predictor.

        Raises:
            ShapeError: no prompt at all, points without labels, or parts that differ in N.
        """
        sparse, dense = self._sam.prompt_encoder(**self._scaled(embedding, prompts))
        if prompts.low_res_masks is None:
            dense = dense[:1]  # the same for every prompt
        decoder = self._sam.mask_decoder
        fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).unsqueeze(0)
        tokens = torch.cat([fixed.expand(len(sparse), -1, -1), sparse], dim=1)
        image = (embedding.features + dense).flatten(2).permute(0, 2, 1)
        with self._precision(half=self._half_decoder):
            found, pixels = two_way(decoder.transformer, image, self._image_pe, tokens)
            quality = decoder.iou_prediction_head(found[:, 0]).float()
            mask_tokens = found[:, 1 : 1 + decoder.num_mask_tokens]
            # For all prompts, wanted or not: a product of other sizes may round differently.
            kernels = torch.stack(
                [
                    head(mask_tokens[:, i])
                    for i, head in enumerate(decoder.output_hypernetworks_mlps)
                ],
                dim=1,
            )
        kept = slice(1, None) if several else slice(0, 1)
        return _DecodedPrompts(self, quality[:, kept], kernels, kept, pixels, embedding)

    @torch.no_grad()
    def enlarge(self, low_res: Tensor, embedding: Embedding) -> Tensor:
        """See `PromptableModel`; twice bilinear, as segment-anything does it."""
        if not len(low_res):
            return low_res.new_zeros((0, embedding.height, embedding.width))
        side = self._sam.image_encoder.img_size
        height, width = _input_size(embedding.height, embedding.width, side)
        # By threes, as segment-anything has the masks of a click: torch rounds pictures of three
        # channels in another way than those of one. It takes them pixel by pixel; given so, and
        # answered so, they need not be turned over and back.
        threes = nn.functional.pad(low_res, (0, 0, 0, 0, 0, -len(low_res) % 3))
        by_pixel = threes.reshape(-1, 3, *low_res.shape[1:]).contiguous(
            memory_format=torch.channels_last
        )
        square = interpolate(by_pixel, (side, side), mode="bilinear", align_corners=False)
        logits = interpolate(
            square[..., :height, :width].contiguous(memory_format=torch.channels_last),
            (embedding.height, embedding.width),
            mode="bilinear",
            align_corners=False,
        )
        return logits.flatten(0, 1)[: len(low_res)]

    def upscaled(self, pixels: Tensor, kernels: Tensor, grid: tuple[int, int]) -> Tensor:
        """(n, h·w, C) image tokens and (n, K, c) kernels to (n, K, 4h, 4w) float32 logits."""
        with self._precision(half=self._half_decoder):
            # Channels last, as segment-anything has it: the convolutions see the same layout.
            at_16 = pixels.transpose(1, 2).view(len(pixels), -1, *grid)
            at_4 = self._sam.mask_decoder.output_upscaling(at_16)
            count, channels, height, width = at_4.shape
            products = kernels @ at_4.view(count, channels, height * width)
        logits: Tensor = products.view(count, -1, height, width).float()
        return logits

    def _precision(self, *, half: bool) -> AbstractContextManager[object]:
        if half:
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _prepared(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 to (3, side, side) float32, normalised and padded."""
        checked = checked_picture(image)
        height, width = _input_size(
            image.shape[0], image.shape[1], self._sam.image_encoder.img_size
        )
        picture = Image.fromarray(checked)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).to(self._device)
        prepared: Tensor = self._sam.preprocess(pixels.permute(2, 0, 1).contiguous())
        return prepared

    def _scaled(self, embedding: Embedding, prompts: Prompts) -> dict[str, object]:
        """Prompts in the encoder's pixels, under the prompt encoder's own names."""
        prompt_count(prompts)
        height, width = embedding.height, embedding.width
        side = self._sam.image_encoder.img_size
        new_height, new_width = _input_size(height, width, side)
        scale = torch.tensor(
            [new_width / width, new_height / height], dtype=torch.float64, device=self._device
        )

        def scaled(coordinates: Tensor) -> Tensor:
            given = coordinates.to(self._device)
            kept = torch.float32 if prompts.as_predictor else given.dtype
            return (given.double() * scale).to(kept)

        points = boxes = masks = None
        if prompts.points is not None and prompts.point_labels is not None:
            points = (scaled(prompts.points), prompts.point_labels.to(self._device))
        if prompts.boxes is not None:
            boxes = scaled(prompts.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        if prompts.low_res_masks is not None:
            masks = prompts.low_res_masks.to(self._device)
        return {"points": points, "boxes": boxes, "masks": masks}


class _DecodedPrompts:
    """The answers of one batch of prompts, up-scaled on request."""

    def __init__(
        self, model: SegmentAnythingModel, predicted_iou: Tensor, kernels: Tensor, kept: slice,
        pixels: Tensor, embedding: Embedding,
    ) -> None:  # fmt: skip
        self.predicted_iou = predicted_iou
        self._model, self._kernels, self._kept, self._pixels = model, kernels, kept, pixels
        self._grid = (embedding.features.shape[2], embedding.features.shape[3])

    @torch.no_grad()
    def low_res(self, wanted: Tensor) -> Tensor:
        """See `Answers`."""
        prompts = wanted.any(dim=1).nonzero()[:, 0]
        height, width = self._grid
        found = [torch.zeros((0, 4 * height, 4 * width), device=self.predicted_iou.device)]
        for first in range(0, len(prompts), _UPSCALED_AT_ONCE):
            some = prompts[first : first + _UPSCALED_AT_ONCE]
            # One of many is asked twice: torch multiplies a batch of one in another order.
            pair = some.repeat(2) if len(some) == 1 < len(wanted) else some
            logits = self._model.upscaled(self._pixels[pair], self._kernels[pair], self._grid)
            found.append(logits[: len(some), self._kept][wanted[some]])
        return torch.cat(found)


def two_way(
    transformer: TwoWayTransformer, image: Tensor, image_pe: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """The two-way transformer (Kirillov et al. 2023, A), image tokens shared while they may be.

    After the first layer every prompt has image tokens of its own, which are much the largest
    tensor here. They are kept once, and a few prompts at a time are worked on.

    Args:
        image: (1, L, C) where all prompts see the same, else (N, L, C).
        image_pe: (1, L, C), where in the picture each image token lies.
        tokens: (N, T, C), of the prompts.

    Returns:
        (N, T, C) prompt tokens and (N, L, C) image tokens.
    """
    queries, keys = tokens, image
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = _attended(layer.self_attn, queries, queries, queries)
        else:
            placed = queries + tokens
            queries = queries + _attended(layer.self_attn, placed, placed, queries)
        queries = layer.norm1(queries)
        from_image = _from_image(layer.cross_attn_token_to_image, queries + tokens, keys, image_pe)
        queries = layer.norm2(queries + from_image)
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = _to_image(layer, keys, image_pe, queries + tokens, queries)
    last = _from_image(transformer.final_attn_token_to_image, queries + tokens, keys, image_pe)
    found: Tensor = transformer.norm_final_attn(queries + last)
    return found, keys


def _from_image(attention: Attention, q: Tensor, keys: Tensor, image_pe: Tensor) -> Tensor:
    """Prompt tokens (N, T, C) that look at image tokens, a few prompts' at a time."""
    asked = _by_head(attention.q_proj(q), attention.num_heads)
    mixed = []
    for some in _turns(len(q)):
        here = keys if len(keys) == 1 else keys[some]
        k = _by_head(attention.k_proj(here + image_pe), attention.num_heads)
        v = _by_head(attention.v_proj(here), attention.num_heads)
        mixed.append(_mixed(asked[some], k, v))
    projected: Tensor = attention.out_proj(torch.cat(mixed))
    return projected


def _to_image(
    layer: TwoWayAttentionBlock, keys: Tensor, image_pe: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    """(N, L, C) image tokens that have looked at prompt tokens; those given are overwritten where
    every prompt has its own."""
    attention = layer.cross_attn_image_to_token
    heads = attention.num_heads
    k, v = _by_head(attention.k_proj(k), heads), _by_head(attention.v_proj(v), heads)
    if len(k) == 1:
        # One click: what it gets has the layout that segment-anything goes on with; in the place
        # of what came channel by channel, every later sum would jump about in memory.
        alone = _by_head(attention.q_proj(keys + image_pe), heads)
        seen: Tensor = layer.norm4(keys + attention.out_proj(_mixed(alone, k, v)))
        return seen
    shared = None
    if len(keys) == 1 < len(k):
        shared, keys = keys, keys.new_empty((len(k), *keys.shape[1:]))
    asked = None if shared is None else _by_head(attention.q_proj(shared + image_pe), heads)
    for some in _turns(len(k)):
        here = keys[some] if shared is None else shared
        q = _by_head(attention.q_proj(here + image_pe), heads) if asked is None else asked
        keys[some] = layer.norm4(here + attention.out_proj(_mixed(q, k[some], v[some])))
    return keys


def _turns(count: int) -> list[slice]:
    """Prompts in turns of `_PROMPTS_AT_ONCE`; never one of many alone, because torch multiplies a
    batch of one in another order."""
    ends = [*range(_PROMPTS_AT_ONCE, count - 1, _PROMPTS_AT_ONCE), count]
    return [slice(first, end) for first, end in zip([0, *ends[:-1]], ends, strict=True)]


def _attended(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One attention among prompt tokens."""
    q, k, v = (
        _by_head(projection(x), attention.num_heads)
        for projection, x in ((attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v))
    )
    projected: Tensor = attention.out_proj(_mixed(q, k, v))
    return projected


def _mixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(N, heads, L, c) queries, keys and values to (N, L, C); a side may have batch size 1."""
    weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[3]), dim=-1)
    mixed = (weights @ v).transpose(1, 2)
    return mixed.reshape(*mixed.shape[:2], -1)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) to (N, heads, L, C / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _input_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width after the longer side became `side`; a line stays at least a pixel."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
