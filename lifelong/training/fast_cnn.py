"""Our own fast CNN: half a million parameters for two CPU cores."""

import torch.nn.functional as F
from torch import Tensor, nn

from lifelong.training.network import Network


class FastCnn(Network):
    """A half-million-parameter CNN for two CPU cores, logits at a quarter of the input size.

    It takes two ideas from Fast-SCNN (Poudel et al. 2019): shrink the picture at once and think
    at a sixteenth of its size, then add what the early layers saw so that thin things survive.
    The blocks are ResNet's bottlenecks (He et al. 2016), with dilation in the deep ones: plain
    convolutions run faster on a CPU than the depthwise ones that need fewer multiplications.

        1/2   24   stem
        1/4   40   edges and poles  ---------------------------+
        1/8   80   parts of things  -------------+             |
        1/16 128   the scene, and its mean       |             |
                   back to 1/8 ------------------+ back to 1/4 + -> logits
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _convolution(3, 24, stride=2)
        self.quarter = nn.Sequential(_convolution(24, 40, stride=2), _Bottleneck(40))
        self.eighth = nn.Sequential(
            _convolution(40, 80, stride=2), _Bottleneck(80), _Bottleneck(80, dilation=2)
        )
        self.sixteenth = nn.Sequential(
            _convolution(80, 128, stride=2),
            *[_Bottleneck(128, dilation=dilation) for dilation in (1, 2, 4, 8, 1)],
        )
        self.scene = nn.Conv2d(128, 128, 1)
        self.narrow_to_eighth = _convolution(128, 80, size=1)
        self.fuse_eighth = _convolution(80, 80)
        self.narrow_to_quarter = _convolution(80, 40, size=1)
        self.fuse_quarter = _convolution(40, 40)
        self.head = nn.Conv2d(40, classes, 1)

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, h, w) to logits (N, classes, h/4, w/4) and maps of 40, 80 and 128 channels."""
        quarter = self.quarter(self.stem(pictures))
        eighth = self.eighth(quarter)
        deep = self.sixteenth(eighth)
        # The maps before they are fused: edges, parts and scene each speak for themselves.
        maps = (quarter, eighth, deep)
        deep = deep + self.scene(deep.mean((2, 3), keepdim=True))
        eighth = self.fuse_eighth(eighth + _grown(self.narrow_to_eighth(deep), eighth))
        quarter = self.fuse_quarter(quarter + _grown(self.narrow_to_quarter(eighth), quarter))
        return self.head(quarter), maps

    def classifiers(self) -> tuple[str, ...]:
        """See `Network`."""
        return ("head",)


class _Bottleneck(nn.Module):
    """x + f(x), f narrows to half the channels for its 3x3 convolution."""

    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.change = nn.Sequential(
            _convolution(channels, channels // 2, size=1),
            _convolution(channels // 2, channels // 2, dilation=dilation),
            nn.Conv2d(channels // 2, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.change(x))


def _convolution(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            size,
            stride=stride,
            padding=dilation * (size // 2),
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _grown(x: Tensor, like: Tensor) -> Tensor:
    size = (int(like.shape[2]), int(like.shape[3]))
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
