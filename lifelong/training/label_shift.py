"""Losses that know the background shift: older labels say less than the present ones.

Two lies would be learned from old labels if nobody took care. A pixel painted "building" before
there was a class "tram" may be a tram; and a teacher that never heard of trams calls them
"building" with full confidence. After MiB (Cermelli et al. 2020, "Modeling the Background for
Incremental Learning in Semantic Segmentation"), with several such classes in place of their one
background, and with classes that were renamed, merged and removed.

The values of a target are label codes (`lifelong/labels/readings.py`): class ids, 255 for nobody
knows, and codes that stand for several classes of which one is right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lifelong.labels.map_changes import LabelMapChange
from lifelong.labels.readings import LabelCodes, plain_codes
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.training.checkpoints import Weights, weights_sha256
from lifelong.training.distillation import distillation_loss
from lifelong.training.losses import cross_entropy

_LEAST = 1e-12  # of a probability, so that its logarithm is finite


def unbiased_cross_entropy(
    logits: Tensor,
    target: Tensor,
    members: Tensor,
    *,
    class_weights: Tensor | None = None,
    picture_weights: Tensor | None = None,
) -> Tensor:
    """Mean of -ln Σ_{c in members[target]} p_c over the pixels that say something; 0 when none do.

    MiB's eq. 5 for old labels: where the label may hold other classes, their probabilities count
    as right together. A label of one class gives the plain cross entropy.

    Args:
        logits: (N, C, h, w), float32.
        target: (N, h, w), int64, label codes.
        members: (256, C), bool, which classes a code may be; no class: the pixel is left out.
        class_weights: (C,), float32; a code of several counts as the heaviest of them. None counts
            every class alike.
        picture_weights: (N,), float32; None counts every picture alike.

    >>> evenly = torch.zeros(1, 3, 1, 2)
    >>> members = torch.zeros(256, 3, dtype=torch.bool)
    >>> members[0, 0] = members[254, 1] = members[254, 2] = True
    >>> target = torch.tensor([[[254, 255]]])  # class 1 or 2, and nobody knows
    >>> round(float(unbiased_cross_entropy(evenly, target, members)), 4)  # -ln 2/3
    0.4055
    """
    count = members.sum(1)
    seen = count[target] > 0
    if not bool(seen.any()):
        return logits.sum() * 0.0
    ids = torch.where(count == 1, members.int().argmax(1), IGNORE_INDEX)
    each = F.cross_entropy(logits, ids[target], ignore_index=IGNORE_INDEX, reduction="none")
    several = count[target] > 1  # a few pixels: only they pay for more than one class
    if bool(several.any()):
        unsure = logits.permute(0, 2, 3, 1)[several]
        right = unsure.masked_fill(~members[target[several]], -torch.inf)
        each = each.masked_scatter(several, unsure.logsumexp(-1) - right.logsumexp(-1))
    weights = seen.to(each.dtype)
    if class_weights is not None:
        weights = weights * (class_weights * members).amax(1)[target]
    if picture_weights is not None:
        weights = weights * picture_weights[:, None, None]
    return (weights * each).sum() / weights.sum().clamp(min=_LEAST)


def cross_entropy_of(codes: LabelCodes | None, device: torch.device) -> Callable[..., Tensor]:
    """The cross entropy for targets of these codes; None: of class ids alone."""
    if codes is None:
        return cross_entropy
    return partial(unbiased_cross_entropy, members=torch.from_numpy(codes.members).to(device))


def only_sure(target: Tensor, codes: LabelCodes | None) -> Tensor:
    """The target with 255 where it may be one of several classes; for losses that need one."""
    if codes is None:
        return target
    one = codes.members.sum(axis=1) == 1
    table = torch.from_numpy(np.where(one, codes.sure, IGNORE_INDEX).astype(np.int64))
    return table.to(target.device)[target]


@dataclass(frozen=True, slots=True, eq=False)
class TeacherClasses:
    """What the classes of a teacher are to a student of newer classes."""

    became: Tensor  # (C_old, C_new), float32: 1 where the old class is the new one for sure
    held: Tensor  # (C_new, C_new), float32: [k, n] is 1 where n was cut from k


@dataclass(frozen=True, slots=True, eq=False)
class ClassesBefore:
    """The model from before a change of classes, as the teacher of one that has grown out of it."""

    weights: Weights
    classes: int  # how many its outputs are
    table: TeacherClasses

    def digest(self) -> str:
        """64 hex digits of weights and tables."""
        tables = {"became": self.table.became, "held": self.table.held}
        return weights_sha256({**self.weights, **tables})


def teacher_classes(change: LabelMapChange) -> TeacherClasses:
    """The tables of a change for `unbiased_distillation`."""
    before, after = change.before, change.after
    became = torch.zeros(len(before), len(after))
    held = torch.zeros(len(after), len(after))
    for old in before.names:
        now = change.became(old)
        if now is not None:
            became[before.id_of(old), after.id_of(now)] = 1.0
            for name in change.added:
                if old in change.was_part_of.get(name, ()):
                    held[after.id_of(now), after.id_of(name)] = 1.0
    return TeacherClasses(became, held)


def unbiased_distillation(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    codes: LabelCodes,
    classes: TeacherClasses,
    temperature: float,
) -> Tensor:
    """T² · mean KL(t_T || q_T) over the pixels where the teacher is believed, on what it knows.

    With p = softmax(teacher) and s = softmax(student), per pixel:

        t_k = Σ_{o became k} p_o, scaled to sum 1 (a removed class has no say)
        q_k = s_k + Σ_{n cut from k} s_n · t_k / Σ_{j: n cut from j} t_j

    and t_T, q_T are both to the power 1/T, scaled to sum 1: softmax(logits / T) where no class has
    changed. Probabilities are added before they are softened: softened first, two classes that
    share a probability would seem to have more than one class that has it all, and the loss would
    drive out whichever of them is rarer.

    MiB's eq. 9 is the case of one class k = background. Where a new class was cut from several,
    its probability is given to them as the teacher divides its own between them, so that the
    teacher stays able to tell those apart. New classes cut from nothing (older labels left them
    255) are left out of q, which is scaled to sum 1: of them the teacher says nothing.

    The teacher is believed where its answer is among what the label may be, or where there is no
    label. Where it is wrong, the annotation is what we paid for.

    Args:
        student: logits (N, C_new, h, w), float32.
        teacher: logits (N, C_old, h, w), float32, of the same size.
        target: (N, H, W), int64, label codes, H and W multiples of h and w or near.

    >>> import math
    >>> classes = TeacherClasses(torch.eye(2, 3), torch.tensor([[0., 0, 0], [0, 0, 1], [0, 0, 0]]))
    >>> old = torch.tensor([[[[0.0]], [[2.0]]]])
    >>> grown = torch.tensor([[[[0.0]], [[2.0 - math.log(2)]], [[2.0 - math.log(2)]]]])
    >>> nobody = torch.tensor([[[255]]])
    >>> how = {"codes": plain_codes(3), "classes": classes, "temperature": 1.0}
    >>> loss = unbiased_distillation(grown, old, nobody, **how)
    >>> abs(round(float(loss), 6))
    0.0
    """
    with torch.no_grad():
        shares = F.softmax(teacher, dim=1)
        became, held = (table.to(shares) for table in (classes.became, classes.held))
        wanted = torch.einsum("nohw,ok->nkhw", shares, became)
        wanted = wanted / wanted.sum(1, keepdim=True).clamp(min=_LEAST)
        parents = torch.einsum("nkhw,km->nmhw", wanted, held)  # of each new class
        believed = _believed(wanted, target, codes)
    given = F.softmax(student, dim=1)
    cut = torch.where(parents > 0, given / parents.clamp(min=_LEAST), 0.0)
    answered = given + wanted * torch.einsum("nmhw,km->nkhw", cut, held)
    known = became.sum(0) > 0
    wanted_log = _softened(wanted[:, known], temperature)
    answered_log = _softened(answered[:, known], temperature)
    divergence = (wanted_log.exp() * (wanted_log - answered_log)).sum(1)
    return temperature**2 * (divergence * believed).sum() / believed.sum().clamp(min=1)


def _softened(shares: Tensor, temperature: float) -> Tensor:
    """ln of shares to the power 1/T, scaled to sum 1 over dim 1."""
    return F.log_softmax(shares.clamp(min=_LEAST).log() / temperature, dim=1)


def distillation_of(
    codes: LabelCodes | None, before: ClassesBefore | None, classes: int
) -> Callable[..., Tensor]:
    """The distillation for a teacher of these classes and targets of these codes."""
    if codes is None and before is None:
        return distillation_loss
    same = TeacherClasses(torch.eye(classes), torch.zeros(classes, classes))
    return partial(
        unbiased_distillation,
        codes=codes or plain_codes(classes),
        classes=same if before is None else before.table,
    )


def _believed(wanted: Tensor, target: Tensor, codes: LabelCodes) -> Tensor:
    """(N, h, w), bool: the teacher's answer may be right, or nobody says that it is wrong."""
    members = torch.from_numpy(codes.members).to(wanted.device)
    size = (int(wanted.shape[2]), int(wanted.shape[3]))
    truth = F.interpolate(target[:, None].float(), size=size, mode="nearest")[:, 0].long()
    allowed = members[truth]
    agrees = allowed.gather(-1, wanted.argmax(1)[..., None])[..., 0]
    return agrees | ~allowed.any(-1)
