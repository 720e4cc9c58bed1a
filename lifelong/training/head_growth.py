"""Head growth: the weights of a network for the old classes, made fit for the new ones.

Only the classifiers change (1x1 convolutions whose outputs are summed to logits, `Network.
classifiers`); every other weight and the row of every class that stays are taken bit by bit.
"""

import math

import torch
from torch import Tensor

from lifelong.errors import LabelMapError
from lifelong.labels.map_changes import LabelMapChange
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.networks import build_network


def grown_weights(weights: Weights, network: str, change: LabelMapChange) -> Weights:
    """Weights of `network` for `change.before`, as weights for `change.after`.

    With z_b the old logit of class b:

    * a class that stays, or is renamed, keeps its row;
    * a removed class loses its row: the others share its probability as they shared theirs;
    * a merged class of m old ones gets the mean of their rows, and + ln m on its bias. By Jensen,
      mean(z) + ln m <= ln Σ exp z, with equality where the old classes are equally likely: it
      never claims more than they had together, and training gives it the rest;
    * a new class n that was part of b (the first that is named and still there) starts as MiB's
      does (Cermelli et al. 2020, eq. 11): b's row, and b and its k new classes each - ln(k + 1) on
      their biases. Then exp z_b is shared out equally and p(b) + Σ p(n) is the old p(b) on every
      picture, while no other class's probability changes;
    * a new class that older labels leave unlabelled gets the mean of all old rows: the mean of
      logits is never above the largest, so it is nowhere the answer, and p(n) <= 1 / (C + 1).

    Raises:
        LabelMapError: the weights are not those of a network with so many classes.
        ModelLoadError: they are those of another network.
        ConfigError: no network of that name.
    """
    before = build_network(network, len(change.before), seed=0)
    for name in before.classifiers():
        rows = len(weights.get(f"{name}.weight", ()))
        if rows != len(change.before):
            raise LabelMapError(
                f"weights of {network}: {rows} classes at {name}, the label map before the change "
                f"has {len(change.before)}"
            )
    load_weights(before, weights, "weights before the change of classes")
    grown = dict(weights)
    # The biases of several classifiers are summed, so that one of them carries all shifts.
    for place, name in enumerate(before.classifiers()):
        shifts = _shifts(change) if place == 0 else torch.zeros(len(change.after))
        mix = _mixture(change)
        for part in ("weight", "bias"):
            grown[f"{name}.{part}"] = _mixed(weights[f"{name}.{part}"], mix)
        bias = grown[f"{name}.bias"]
        grown[f"{name}.bias"] = torch.where(shifts == 0, bias, bias + shifts.to(bias.dtype))
    return grown


def _sources(change: LabelMapChange) -> dict[str, list[int]]:
    """New class -> the old classes whose rows it is the mean of."""
    old_id = change.before.id_of
    found: dict[str, list[int]] = {}
    for name in change.after.names:
        origins = [old_id(old) for old in change.origins.get(name, ())]
        parent = _parent(change, name)
        if origins:
            found[name] = origins
        elif parent is not None:
            found[name] = [old_id(old) for old in change.origins[parent]]
        else:
            found[name] = list(range(len(change.before)))
    return found


def _parent(change: LabelMapChange, name: str) -> str | None:
    """The class, as it is called now, that a new one starts from; None: from all of them."""
    if change.origins.get(name):
        return None
    became = (change.became(old) for old in change.was_part_of.get(name, ()))
    return next((now for now in became if now is not None), None)


def _mixture(change: LabelMapChange) -> list[list[int]]:
    sources = _sources(change)
    return [sources[name] for name in change.after.names]


def _mixed(rows: Tensor, mix: list[list[int]]) -> Tensor:
    """(C_old, …) to (C_new, …): a row of one source is that row, bit by bit; else the mean."""
    made = [rows[olds[0]] if len(olds) == 1 else rows[olds].mean(0) for olds in mix]
    return torch.stack(made).contiguous()


def _shifts(change: LabelMapChange) -> Tensor:
    """(C_new,), float32: what is added to the biases."""
    children: dict[str, int] = {}
    for name in change.added:
        parent = _parent(change, name)
        if parent is not None:
            children[parent] = children.get(parent, 0) + 1
    shifts = []
    for name in change.after.names:
        parent = _parent(change, name) or name
        shift = math.log(max(1, len(change.origins.get(parent, ()))))
        shifts.append(shift - math.log(1 + children.get(parent, 0)))
    return torch.tensor(shifts, dtype=torch.float32)
