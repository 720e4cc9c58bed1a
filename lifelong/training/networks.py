"""The small segmentation networks, in one table by name.

Every network takes pictures (N, 3, height, width) float32, normalised, and answers logits
(N, classes, h, w) float32 at a fraction of that size; whoever wants a mask enlarges them. On
request it also answers what it saw: its feature maps from early to deep, averaged down to the
grid of a sixteenth of the picture, from which `descriptions.py` tells the known from the new.
"""

from collections.abc import Callable

import torch

from lifelong.errors import ConfigError
from lifelong.training.fast_cnn import FastCnn
from lifelong.training.lraspp import Lraspp
from lifelong.training.network import Network as Network
from lifelong.training.segformer import SEGFORMERS


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


NETWORKS: dict[str, Callable[[int], Network]] = {
    "fast_cnn": FastCnn,
    "lraspp_mobilenet_v3": Lraspp,
    **SEGFORMERS,
}
