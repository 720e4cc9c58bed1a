"""A penalty that keeps the weights the past needed: elastic weight consolidation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lifelong.training.checkpoints import Weights

LossOf = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fisher_information(
    network: nn.Module, batches: list[tuple[Tensor, Tensor]], loss_of: LossOf
) -> Weights:
    """The diagonal of the empirical Fisher information, scaled to a mean of 1.

    F_i = mean over pictures of (∂ loss / ∂ θ_i)² (Kirkpatrick et al. 2017, eq. 3). The scale makes
    one `ewc_weight` fit networks and losses of any size.

    Args:
        batches: pictures (1, 3, h, w) float32 normalised with targets (1, h, w) int64.
    """
    was_training = network.training
    network.eval()
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    fisher = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for pictures, target in batches:
        gradients = torch.autograd.grad(
            loss_of(network, pictures, target), list(parameters.values()), allow_unused=True
        )
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                fisher[name] += gradient.detach() ** 2
    network.train(was_training)
    total = sum(float(values.double().sum()) for values in fisher.values())
    mean = total / max(1, sum(values.numel() for values in fisher.values()))
    return {name: values / mean if mean > 0 else values for name, values in fisher.items()}


def ewc_penalty(network: nn.Module, anchor: Weights, fisher: Weights) -> Tensor:
    """½ · Σ_i F_i · (θ_i - θ*_i)², θ* the incumbent's weights.

    Online EWC (Schwarz et al. 2018): one anchor and one Fisher information stand for the whole
    past. Theirs is a running mean over tasks; ours is measured anew on the replay memory, which
    holds pictures of every learning task known so far.
    """
    terms = [
        (fisher[name] * (parameter - anchor[name]) ** 2).sum()
        for name, parameter in network.named_parameters()
        if name in fisher
    ]
    return 0.5 * torch.stack(terms).sum()
