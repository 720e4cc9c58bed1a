"""TinyViT-5M as MobileSAM's image encoder (Wu et al. 2022, Zhang et al. 2023).

A convolutional stage, three stages of windowed attention, and SAM's neck. The names of modules
are those of the published checkpoint, which decide how the parts are nested. Two things differ
from TinyViT for classification: the last merging of patches keeps the resolution, so that the
embedding has stride 16, and the classifier's weights are carried along but never used.
"""

from dataclasses import dataclass

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyVitShape:
    """Sizes of the four stages; the first is convolutional and has no heads or windows."""

    image_px: int = 1024
    widths: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    windows: tuple[int, int, int, int] = (7, 7, 14, 7)  # patches along a side
    classes: int = 1000  # of the unused classifier
    embedding: int = 256


class TinyVit(nn.Module):
    """(B, 3, px, px) normalised RGB to (B, 256, px/16, px/16) embeddings."""

    def __init__(self, shape: TinyVitShape) -> None:
        super().__init__()
        self.img_size = shape.image_px  # segment-anything's Sam and SamPredictor read this name
        self.patch_embed = _PatchEmbed(shape.widths[0])
        self.layers = nn.ModuleList([_ConvStage(shape), *(_Stage(shape, n) for n in (1, 2, 3))])
        last = shape.widths[-1]
        self.norm_head = nn.LayerNorm(last)
        self.head = nn.Linear(last, shape.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(last, shape.embedding, 1, bias=False),
            LayerNorm2d(shape.embedding),
            nn.Conv2d(shape.embedding, shape.embedding, 3, padding=1, bias=False),
            LayerNorm2d(shape.embedding),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings at stride 16."""
        x = self.patch_embed(images)
        for layer in self.layers:
            x = layer(x)
        embedded: Tensor = self.neck(x)
        return embedded


class _ConvBn(nn.Sequential):
    """Convolution without a bias, then batch normalisation."""

    def __init__(
        self, before: int, after: int, size: int = 1, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(after)


class _PatchEmbed(nn.Module):
    """Pictures to patches of stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            _ConvBn(3, width // 2, 3, stride=2), nn.GELU(), _ConvBn(width // 2, width, 3, stride=2)
        )

    def forward(self, images: Tensor) -> Tensor:
        patches: Tensor = self.seq(images)
        return patches


class _MbConv(nn.Module):
    """Inverted bottleneck: widen, look around, narrow, add."""

    def __init__(self, width: int, *, expansion: int = 4) -> None:
        super().__init__()
        hidden = width * expansion
        self.conv1 = _ConvBn(width, hidden)
        self.conv2 = _ConvBn(hidden, hidden, 3, groups=hidden)
        self.conv3 = _ConvBn(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(inner))


class _PatchMerging(nn.Module):
    """More channels; half the resolution where `stride` is 2."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvBn(before, after)
        self.conv2 = _ConvBn(after, after, 3, stride=stride, groups=after)
        self.conv3 = _ConvBn(after, after)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return merged


class _ConvStage(nn.Module):
    def __init__(self, shape: TinyVitShape) -> None:
        super().__init__()
        width, after = shape.widths[:2]
        self.blocks = nn.ModuleList(_MbConv(width) for _ in range(shape.depths[0]))
        self.downsample = _PatchMerging(width, after, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        merged: Tensor = self.downsample(x)
        return merged


class _Stage(nn.Module):
    """Blocks of windowed attention, then the next stage's width."""

    def __init__(self, shape: TinyVitShape, number: int) -> None:
        super().__init__()
        width, heads, window = shape.widths[number], shape.heads[number], shape.windows[number]
        self.blocks = nn.ModuleList(
            _Block(width, heads, window) for _ in range(shape.depths[number])
        )
        self.last = number + 1 == len(shape.widths)
        if not self.last:
            # The last stage works at the resolution of the one before: SAM wants stride 16.
            stride = 1 if number + 2 == len(shape.widths) else 2
            self.downsample = _PatchMerging(width, shape.widths[number + 1], stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        merged: Tensor = x if self.last else self.downsample(x)
        return merged


class _Block(nn.Module):
    """Attention inside windows, a local convolution between them, and a perceptron."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(width, heads, window)
        self.local_conv = _ConvBn(width, width, 3, groups=width)
        self.mlp = _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x + self._attended(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        mixed: Tensor = self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + mixed

    def _attended(self, x: Tensor) -> Tensor:
        """(B, H, W, C): each window attends to itself; zeros fill up the last ones."""
        batch, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        down, across = x.shape[1] // side, x.shape[2] // side
        windows = x.view(batch, down, side, across, side, channels).transpose(2, 3)
        answers = self.attn(windows.reshape(-1, side * side, channels))
        answers = answers.view(batch, down, across, side, side, channels).transpose(2, 3)
        whole: Tensor = answers.reshape(batch, down * side, across * side, channels)
        return whole[:, :height, :width]


class _Attention(nn.Module):
    """Attention with one learned bias per head and distance between two patches."""

    attention_bias_idxs: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("attention_bias_idxs", _distances(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, window², C) to the same shape."""
        batch, patches, width = x.shape
        # Queries, keys and values of one head lie side by side in the published weights.
        each = self.qkv(self.norm(x)).view(batch, patches, self.heads, -1).transpose(1, 2)
        query, key, value = each.chunk(3, dim=-1)
        bias = self.attention_biases[:, self.attention_bias_idxs]
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        projected: Tensor = self.proj(answer.transpose(1, 2).reshape(batch, patches, width))
        return projected


def _distances(window: int) -> Tensor:
    """(window², window²) int64: |rows apart| · window + |columns apart| of every two patches.

    The published biases are numbered in the order in which distances are first met, row by row,
    which for a square window is this very number.
    """
    rows, columns = torch.arange(window * window) // window, torch.arange(window * window) % window
    down = (rows[:, None] - rows).abs()
    across = (columns[:, None] - columns).abs()
    return down * window + across


class _Mlp(nn.Module):
    def __init__(self, width: int, *, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width * expansion)
        self.fc2 = nn.Linear(width * expansion, width)

    def forward(self, x: Tensor) -> Tensor:
        narrowed: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return narrowed
