"""A network's small answer to probabilities at the picture's size, band by band where it is large.

Bilinear, then squashed to probabilities, then put in the label map's order; only the last of these
is kept whole, so a picture of 12,000 pixels' width and 150 foreign classes needs no more memory
than its own classes do.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cloud.preannotation.semantic.placing import Placing
from lifelong.errors import ModelOutputError

# Values of a band before it is put in its place: 64 Mi float32 are 256 MiB.
BAND_VALUES = 64 << 20


def probabilities_at(
    logits: Tensor,
    size: tuple[int, int],
    placing: Placing,
    *,
    where: str,
    align_corners: bool = False,
) -> NDArray[np.float32]:
    """(1, K, h, w) logits to (C, H, W) float32 probabilities in the label map's order.

    Args:
        size: H and W.
        align_corners: as SSA enlarges SegFormer's logits; else as transformers does.

    Raises:
        ModelOutputError: NaN, infinite values, or fewer classes than the model has names.
    """
    checked = _checked(logits, placing, where)
    out = np.empty((placing.classes, *size), dtype=np.float32)
    for top, band in _bands(checked, size, align_corners=align_corners):
        out[:, top : top + band.shape[1]] = placing.placed(band.softmax(dim=0))
    return out


def shares_at(
    scores: Tensor, size: tuple[int, int], placing: Placing, *, where: str
) -> NDArray[np.float32]:
    """(1, K, h, w) scores >= 0 to (C, H, W) float32: at every pixel each class's share of the sum.

    Dividing a pixel's scores by their sum keeps the order of the classes.

    Raises:
        ModelOutputError: as `probabilities_at`.
    """
    checked = _checked(scores, placing, where)
    out = np.empty((placing.classes, *size), dtype=np.float32)
    for top, band in _bands(checked, size, align_corners=False):
        shares = band / band.sum(dim=0).clamp_min(torch.finfo(band.dtype).tiny)
        out[:, top : top + band.shape[1]] = placing.placed(shares)
    return out


def _checked(scores: Tensor, placing: Placing, where: str) -> Tensor:
    """(K, h, w) float32."""
    needed = len(placing.targets)
    if scores.ndim != 4 or scores.shape[0] != 1 or scores.shape[1] < needed:
        raise ModelOutputError(
            f"{where}: expected scores (1, {needed}, h, w), got {tuple(scores.shape)}"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ModelOutputError(f"{where}: scores hold NaN or infinite values")
    return scores[0].float()


def _bands(
    scores: Tensor, size: tuple[int, int], *, align_corners: bool
) -> Iterator[tuple[int, Tensor]]:
    """(K, h, w) enlarged to (K, rows, W) bands of full width, with their first row.

    One band of all rows, enlarged by torch itself, where it is small enough. Else rows are
    interpolated first and columns after; that is the same up to float rounding.
    """
    height, width = size
    rows = max(1, BAND_VALUES // (len(scores) * width))
    if rows >= height:
        whole = F.interpolate(scores[None], size, mode="bilinear", align_corners=align_corners)
        yield 0, whole[0]
        return
    above, weight = _row_taps(scores.shape[1], height, align_corners=align_corners)
    below = (above + 1).clamp_max(scores.shape[1] - 1)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        share = weight[band].to(scores.device)[None, :, None]
        lines = torch.lerp(scores[:, above[band]], scores[:, below[band]], share)
        wide = F.interpolate(
            lines[None], (lines.shape[1], width), mode="bilinear", align_corners=align_corners
        )
        yield top, wide[0]


def _row_taps(source: int, target: int, *, align_corners: bool) -> tuple[Tensor, Tensor]:
    """For each of `target` rows the upper of the two source rows between which it lies (int64),
    and how far towards the lower one (float32)."""
    place = torch.arange(target, dtype=torch.float32)
    if align_corners:
        place = place * ((source - 1) / max(target - 1, 1))
    else:
        place = ((place + 0.5) * (source / target) - 0.5).clamp_min(0)
    above = place.floor().long().clamp_max(source - 1)
    return above, (place - above).clamp(0, 1)
