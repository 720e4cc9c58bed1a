"""What a network is corrected by: cross entropy with an ignore index, and Dice."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lifelong.records.label_map import IGNORE_INDEX

# The loss looks at every second pixel: a quarter of the time, and the logits are coarser anyway.
LOSS_STRIDE = 2


def enlarged_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) bilinearly enlarged to (N, C, *size), pixel centres aligned."""
    if (int(logits.shape[2]), int(logits.shape[3])) == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    picture_weights: Tensor | None = None,
) -> Tensor:
    """Mean of -ln p(target) over the pixels that are not ignored; 0 when all are.

    With weights, each pixel counts w_class · w_picture in the mean.

    Args:
        logits: (N, C, h, w), float32.
        target: (N, h, w), int64, class ids and 255.
        class_weights: (C,), float32; None counts every class alike.
        picture_weights: (N,), float32; None counts every picture alike.

    >>> two_classes = torch.zeros(1, 2, 1, 2)
    >>> round(float(cross_entropy(two_classes, torch.tensor([[[1, 255]]]))), 4)  # ln 2
    0.6931
    """
    if not bool((target != IGNORE_INDEX).any()):
        return logits.sum() * 0.0
    if picture_weights is None:
        return F.cross_entropy(logits, target, weight=class_weights, ignore_index=IGNORE_INDEX)
    each = F.cross_entropy(
        logits, target, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="none"
    )
    counted = target != IGNORE_INDEX
    share = counted * picture_weights[:, None, None]
    if class_weights is not None:
        share = share * class_weights[torch.where(counted, target, 0)]
    return (each * picture_weights[:, None, None]).sum() / share.sum().clamp(min=1e-12)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the mean soft Dice coefficient over the classes present (Milletari et al. 2016).

    D_c = 2·Σ p_c·t_c / (Σ p_c + Σ t_c), sums over the pixels of the batch that are not ignored.

    >>> sure = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])
    >>> round(float(dice(sure, torch.tensor([[[0, 1]]]))), 4)
    0.0
    """
    classes = logits.shape[1]
    seen = target != IGNORE_INDEX
    known = torch.where(seen, target, 0)
    shares = logits.softmax(1)
    # Sums over a class's pixels without a one-hot target, which would be C times as large.
    ids = known[seen]
    hits = shares.gather(1, known[:, None])[:, 0][seen]
    both = torch.zeros(classes, device=logits.device).index_add(0, ids, hits)
    truth = torch.bincount(ids, minlength=classes).to(shares.dtype)
    present = truth > 0
    if not bool(present.any()):
        return logits.sum() * 0.0
    total = torch.einsum("nchw,nhw->c", shares, seen.to(shares.dtype)) + truth
    return 1.0 - (2.0 * both[present] / total[present]).mean()


def balanced_class_weights(masks: Tensor, classes: int) -> Tensor:
    """(C,) float32 weights that lift rare classes: w_c = 1 / ln(1.1 + share_c), mean 1.

    From ENet (Paszke et al. 2016) with a constant of 1.1 in place of 1.02, so that the rarest
    class counts about seven times the commonest and not fifty times.

    Args:
        masks: (N, h, w), uint8, class ids and 255.
    """
    counts = torch.bincount(masks.flatten().long(), minlength=256)[:classes].double()
    shares = counts / counts.sum().clamp(min=1.0)
    weights = 1.0 / torch.log(1.1 + shares)
    return (weights / weights.mean()).float()
