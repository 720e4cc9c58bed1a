"""SegFormer in its six published sizes (Xie et al. 2021), untrained.

Weights have the names under which the authors' checkpoints lie on the hub
(`segformer.encoder.block.0.0.attention.self.query.weight`), so that a checkpoint fits as it is,
whatever a library calls its own layers today. Without dropout and dropped paths: a run that stops
and goes on must not depend on past random numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lifelong.training.network import Network

# What all sizes share, by stage: attention heads, by how much keys and values are thinned out
# along each side, the patches' side and stride; the mixers are so many times as wide.
HEADS, THINNING = (1, 2, 5, 8), (8, 4, 2, 1)
PATCHES, STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)
MIXER = 4


@dataclass(frozen=True, slots=True)
class Size:
    """One Mix Transformer and its decoder: table 6 of the paper."""

    widths: tuple[int, int, int, int]  # channels of the stages at 1/4, 1/8, 1/16, 1/32
    depths: tuple[int, int, int, int]  # blocks of each stage
    decoder: int  # channels


_NARROW, _WIDE = (32, 64, 160, 256), (64, 128, 320, 512)
SIZES = {
    "segformer_b0": Size(_NARROW, (2, 2, 2, 2), 256),
    "segformer_b1": Size(_WIDE, (2, 2, 2, 2), 256),
    "segformer_b2": Size(_WIDE, (3, 4, 6, 3), 768),
    "segformer_b3": Size(_WIDE, (3, 4, 18, 3), 768),
    "segformer_b4": Size(_WIDE, (3, 8, 27, 3), 768),
    "segformer_b5": Size(_WIDE, (3, 6, 40, 3), 768),
}


class Segformer(Network):
    """A Mix Transformer and the decoder of linear layers."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        # A dict of one, because that is where the checkpoints have it.
        self.segformer = nn.ModuleDict({"encoder": _Encoder(size)})
        self.decode_head = _Decoder(size, classes)
        self.apply(_begin)

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, h, w) to logits (N, classes, h/4, w/4) and the maps of the first three stages."""
        maps = self.segformer["encoder"](pictures)
        return self.decode_head(maps), tuple(maps[:3])

    def classifiers(self) -> tuple[str, ...]:
        """See `Network`."""
        return ("decode_head.classifier",)


class _Encoder(nn.Module):
    """(N, 3, h, w) to four maps (N, width, h', w'), from a quarter to a thirty-second."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        inputs = (3, *size.widths[:3])
        self.patch_embeddings = nn.ModuleList(
            _Patches(*each) for each in zip(inputs, size.widths, PATCHES, STRIDES, strict=True)
        )
        self.block = nn.ModuleList(
            nn.ModuleList(_Block(width, heads, thinning) for _ in range(depth))
            for width, depth, heads, thinning in zip(
                size.widths, size.depths, HEADS, THINNING, strict=True
            )
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in size.widths)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x, maps = pictures, []
        for patches, blocks, norm in zip(
            self.patch_embeddings, self.block, self.layer_norm, strict=True
        ):
            assert isinstance(blocks, nn.ModuleList)
            tokens, height, width = patches(x)
            for block in blocks:
                tokens = block(tokens, height, width)
            x = _map(norm(tokens), height, width)
            maps.append(x)
        return maps


class _Patches(nn.Module):
    """Overlapping patches, by a convolution with a stride: tokens, and the grid's height, width."""

    def __init__(self, inputs: int, width: int, side: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, side, stride=stride, padding=side // 2)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        return _tokens(x, self.layer_norm), int(x.shape[2]), int(x.shape[3])


class _Block(nn.Module):
    """Attention, then a mixer, each added to what came in; (N, tokens, width) in and out."""

    def __init__(self, width: int, heads: int, thinning: int) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width)
        self.attention = nn.ModuleDict(
            {
                "self": _Attention(width, heads, thinning),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width)}),
            }
        )
        self.layer_norm_2 = nn.LayerNorm(width)
        self.mlp = _Mixer(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        attended = self.attention["self"](self.layer_norm_1(x), height, width)
        x = x + self.attention["output"]["dense"](attended)  # type: ignore[index]
        mixed: Tensor = self.mlp(self.layer_norm_2(x), height, width)
        return x + mixed


class _Attention(nn.Module):
    """Every token asks; keys and values come from a grid thinned out by a convolution."""

    def __init__(self, width: int, heads: int, thinning: int) -> None:
        super().__init__()
        self.heads, self.thinning = heads, thinning
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        if thinning > 1:
            self.sr = nn.Conv2d(width, width, thinning, stride=thinning)
            self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        asked = x
        if self.thinning > 1:
            asked = _tokens(self.sr(_map(x, height, width)), self.layer_norm)
        answer = F.scaled_dot_product_attention(
            self._by_heads(self.query(x)),
            self._by_heads(self.key(asked)),
            self._by_heads(self.value(asked)),
        )
        return answer.transpose(1, 2).flatten(2)

    def _by_heads(self, x: Tensor) -> Tensor:
        """(N, tokens, width) to (N, heads, tokens, width / heads)."""
        count, tokens, width = (int(side) for side in x.shape)
        return x.reshape(count, tokens, self.heads, width // self.heads).transpose(1, 2)


class _Mixer(nn.Module):
    """Two linear layers with a depthwise 3x3 between them, which also tells tokens their place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = MIXER * width
        self.dense1 = nn.Linear(width, inner)
        self.dwconv = nn.ModuleDict({"dwconv": nn.Conv2d(inner, inner, 3, padding=1, groups=inner)})
        self.dense2 = nn.Linear(inner, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        inner = self.dwconv["dwconv"](_map(self.dense1(x), height, width))
        mixed: Tensor = self.dense2(F.gelu(_tokens(inner)))
        return mixed


class _Decoder(nn.Module):
    """All four maps at a quarter of the picture, side by side, to logits."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.linear_c = nn.ModuleList(
            nn.ModuleDict({"proj": nn.Linear(width, size.decoder)}) for width in size.widths
        )
        self.linear_fuse = nn.Conv2d(4 * size.decoder, size.decoder, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(size.decoder)
        self.classifier = nn.Conv2d(size.decoder, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        quarter = (int(maps[0].shape[2]), int(maps[0].shape[3]))
        grown = []
        for x, linear in zip(maps, self.linear_c, strict=True):
            height, width = int(x.shape[2]), int(x.shape[3])
            x = _map(linear["proj"](_tokens(x)), height, width)  # type: ignore[index]
            grown.append(F.interpolate(x, size=quarter, mode="bilinear", align_corners=False))
        fused = self.linear_fuse(torch.cat(grown[::-1], dim=1))  # the coarsest first
        logits: Tensor = self.classifier(F.relu(self.batch_norm(fused)))
        return logits


def _tokens(x: Tensor, norm: nn.Module | None = None) -> Tensor:
    """(N, width, h, w) to (N, h · w, width), normalised on request."""
    tokens = x.flatten(2).transpose(1, 2)
    return tokens if norm is None else norm(tokens)


def _map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(N, height · width, channels) to (N, channels, height, width)."""
    count, _, channels = (int(side) for side in tokens.shape)
    return tokens.transpose(1, 2).reshape(count, channels, height, width)


def _begin(layer: nn.Module) -> None:
    """Small random weights, no biases, as transformers begins (the authors' code is near)."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


SEGFORMERS: dict[str, Callable[[int], Network]] = {
    name: partial(Segformer, size) for name, size in SIZES.items()
}
