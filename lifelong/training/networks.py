"""The small segmentation networks, in one table by name.

Every network takes pictures (N, 3, height, width) float32, normalised, and answers logits
(N, classes, h, w) float32 at a fraction of that size; whoever wants a mask enlarges them. On
request it also answers what it saw: its feature maps from early to deep, averaged down to the
grid of a sixteenth of the picture, from which `descriptions.py` tells the known from the new.
"""

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from lifelong.errors import ConfigError


class Network(nn.Module):
    """A segmentation network that can be asked what it saw."""

    @abstractmethod
    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, h, w) to logits (N, classes, …) and feature maps, the coarsest last."""

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) to logits (N, classes, …)."""
        return self.seen(pictures)[0]

    def described(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, h, w) to logits and to what was seen, (N, D, h', w') on the coarsest grid."""
        logits, maps = self.seen(pictures)
        return logits, torch.cat([_shrunk(one, maps[-1]) for one in maps], dim=1)


def build_network(name: str, classes: int, *, seed: int) -> Network:
    """A fresh network; the same name, number of classes and seed give the same weights.

    Raises:
        ConfigError: no network of that name.
    """
    if name not in NETWORKS:
        raise ConfigError(f"training.network: no {name!r}; there are {', '.join(NETWORKS)}")
    with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
        torch.manual_seed(seed)
        return NETWORKS[name](classes)


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


class _Lraspp(Network):
    """torchvision's Lite R-ASPP on MobileNetV3-Large (Howard et al. 2019), untrained."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=classes
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) to logits (N, classes, h/8, w/8)."""
        # Its own forward() enlarges to the input's size; our callers do that once, at the end.
        logits: Tensor = self.model.classifier(self.model.backbone(pictures))
        return logits

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, and maps of 40 and 128 channels; not for training."""
        features, head = self.model.backbone(pictures), self.model.classifier
        # The head's narrow view of the deep map: its 960 channels would be a heavy description.
        # Asked twice, it would count a training batch twice in its statistics.
        return head(features), (features["low"], head.cbr(features["high"]))


class _SegformerB0(Network):
    """SegFormer with the smallest encoder, MiT-B0 (Xie et al. 2021), untrained."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Loading transformers takes seconds; only who asks for this network pays.
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        # Without dropout: a run that stops and goes on must not depend on past random numbers.
        config = SegformerConfig(
            num_labels=classes, classifier_dropout_prob=0.0, drop_path_rate=0.0
        )
        self.model = SegformerForSemanticSegmentation(config)

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, h, w) to logits (N, classes, h/4, w/4) and maps of 32, 64 and 160 channels."""
        answer = self.model(pixel_values=pictures, output_hidden_states=True, return_dict=True)
        return answer.logits, tuple(answer.hidden_states[:3])


def _shrunk(x: Tensor, like: Tensor) -> Tensor:
    """Means over the cells of a coarser grid; at the edges a cell may repeat the last pixels."""
    steps = [-(-int(x.shape[axis]) // int(like.shape[axis])) for axis in (2, 3)]
    missing = [int(like.shape[a + 2]) * step - int(x.shape[a + 2]) for a, step in enumerate(steps)]
    if any(missing):
        x = F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
    return x if steps == [1, 1] else F.avg_pool2d(x, steps)


NETWORKS: dict[str, Callable[[int], Network]] = {
    "fast_cnn": FastCnn,
    "lraspp_mobilenet_v3": _Lraspp,
    "segformer_b0": _SegformerB0,
}
