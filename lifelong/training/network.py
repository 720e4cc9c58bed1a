"""What every network of ours can do: answer logits, say what it saw, name its classifiers."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    @abstractmethod
    def classifiers(self) -> tuple[str, ...]:
        """Names of the 1x1 convolutions whose outputs are classes; their sum makes the logits.

        What a network with other classes may take over is everything but these; of these, the
        rows of classes that both have.
        """


def _shrunk(x: Tensor, like: Tensor) -> Tensor:
    """Means over the cells of a coarser grid; at the edges a cell may repeat the last pixels."""
    steps = [-(-int(x.shape[axis]) // int(like.shape[axis])) for axis in (2, 3)]
    missing = [int(like.shape[a + 2]) * step - int(x.shape[a + 2]) for a, step in enumerate(steps)]
    if any(missing):
        x = F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
    return x if steps == [1, 1] else F.avg_pool2d(x, steps)
