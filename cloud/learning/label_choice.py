"""Who of a domain's pictures is to be labelled, asked of the model that has not learned it yet."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lifelong.config import TrainingSection
from lifelong.labels.selection import Unlabelled, choose_for_labels
from lifelong.preprocessing import Preprocessing
from lifelong.training.adapters import network_of
from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.datasets import Pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoice:
    """Which ⌈share · N⌉ of a domain's pictures are labelled; their masks are never looked at."""

    share: float  # above 0, at most 1
    strategy: str  # a name of `lifelong/labels/selection.py`; an unknown one is refused when asked

    def places(
        self, weights: Weights, section: TrainingSection, classes: int, pictures: Pictures
    ) -> tuple[int, ...]:
        """Places in `pictures`, rising.

        Args:
            weights: of the model that has not learned them yet.
        """
        seen = unlabelled(weights, section, classes, pictures)
        count = max(1, math.ceil(self.share * len(pictures) - 1e-9))
        chosen = choose_for_labels(seen, count, strategy=self.strategy, seed=section.seed)
        return tuple(sorted(chosen))


def unlabelled(
    weights: Weights, section: TrainingSection, classes: int, pictures: Pictures
) -> tuple[Unlabelled, ...]:
    """Doubt, classes and pooled features of each picture, by one network; no mask is read."""
    how = Preprocessing(height=section.height, width=section.width)
    network = network_of(section.network, classes, weights)
    load_weights(network, weights, "the model before")
    network.eval()
    found = []
    with torch.no_grad():
        for number in range(len(pictures)):
            logits, maps = network.described(normalised(pictures.images[[number]], how))
            shares = logits.softmax(1)
            doubt = -(shares * shares.clamp_min(1e-38).log()).sum(1) / math.log(classes)
            ids, counts = np.unique(logits.argmax(1).numpy(), return_counts=True)
            parts = (counts / counts.sum()).tolist()
            found.append(
                Unlabelled(
                    entropy=float(doubt.mean()),
                    class_shares=dict(zip(ids.tolist(), parts, strict=True)),
                    features=maps.mean((2, 3))[0].numpy(),
                )
            )
    return tuple(found)
