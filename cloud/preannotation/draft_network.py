"""The networks that draft masks, by name; small enough to be trained and run on a CPU."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from lifelong.errors import ConfigError


class DraftNet(nn.Module):
    """A convolutional U-Net with 5 million parameters: down to 1/32 and the scene's mean, back up
    to 1/2, because poles and signs are two or three pixels wide at 1/4.

    Plain convolutions in bfloat16 are what current CPUs are fastest at; measured beside a small
    SegFormer from nothing (`weights/tiny_semantic.md`), it learns far more in the same time.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.at_2 = _convolution(3, 32, stride=2)
        self.at_4 = nn.Sequential(_convolution(32, 64, stride=2), _Residual(64))
        self.at_8 = nn.Sequential(_convolution(64, 96, stride=2), _Residual(96), _Residual(96))
        self.at_16 = nn.Sequential(
            _convolution(96, 160, stride=2), _Residual(160), _Residual(160), _Residual(160)
        )
        self.at_32 = nn.Sequential(
            _convolution(160, 224, stride=2), _Residual(224), _Residual(224, dilation=2)
        )
        self.scene = nn.Conv2d(224, 224, 1)
        self.to_16 = _Up(224, 160, 128)
        self.to_8 = _Up(128, 96, 96)
        self.to_4 = _Up(96, 64, 64)
        self.to_2 = _Up(64, 32, 32)
        self.head = nn.Conv2d(32, classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) normalised RGB to logits (N, classes, h/2, w/2), rounded up."""
        half = self.at_2(pictures)
        quarter = self.at_4(half)
        eighth = self.at_8(quarter)
        sixteenth = self.at_16(eighth)
        deepest = self.at_32(sixteenth)
        deepest = deepest + self.scene(deepest.mean((2, 3), keepdim=True))
        x = self.to_8(self.to_16(deepest, sixteenth), eighth)
        logits: Tensor = self.head(self.to_2(self.to_4(x, quarter), half))
        return logits


class SmallSegformer(nn.Module):
    """SegFormer (Xie et al. 2021) at half the width of its smallest published size, logits at 1/4;
    1.3 million parameters."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = SegformerForSemanticSegmentation(
            SegformerConfig(
                num_labels=classes,
                depths=[2, 2, 2, 2],
                hidden_sizes=[24, 48, 96, 160],
                num_attention_heads=[1, 2, 3, 5],
                mlp_ratios=[3, 3, 3, 3],
                decoder_hidden_size=128,
                drop_path_rate=0.0,
                classifier_dropout_prob=0.0,
            )
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) normalised RGB to logits (N, classes, h/4, w/4)."""
        logits: Tensor = self.network(pixel_values=pictures).logits
        return logits


DRAFT_NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "draft_net": DraftNet,
    "segformer": SmallSegformer,
}


def build_draft_network(name: str, classes: int, *, seed: int = 0) -> nn.Module:
    """A fresh network; the same name, number of classes and seed give the same weights.

    Raises:
        ConfigError: no network of that name.
    """
    if name not in DRAFT_NETWORKS:
        raise ConfigError(f"no drafting network {name!r}; there are {', '.join(DRAFT_NETWORKS)}")
    with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
        torch.manual_seed(seed)
        return DRAFT_NETWORKS[name](classes)


class _Residual(nn.Module):
    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class _Up(nn.Module):
    """Doubles a map and adds what the way down saw at that size."""

    def __init__(self, deep: int, skip: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(deep, out, 1)
        self.skip = nn.Conv2d(skip, out, 1)
        self.fuse = _convolution(out, out)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        grown = F.interpolate(self.narrow(deep), skip.shape[2:], mode="nearest")
        fused: Tensor = self.fuse(grown + self.skip(skip))
        return fused


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
