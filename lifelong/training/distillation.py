"""A penalty that keeps the teacher's answers: Learning without Forgetting for pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lifelong.records.label_map import IGNORE_INDEX


def distillation_loss(
    student: Tensor, teacher: Tensor, target: Tensor, *, temperature: float
) -> Tensor:
    """T² · mean KL(teacher_T || student_T) over the pixels where the teacher is believed.

    Li & Hoiem 2016 with the temperature of Hinton et al. 2015; p_T = softmax(logits / T), and T²
    keeps the gradients' size when T grows. The teacher is believed where it agrees with the
    annotation or where there is none (255): where it is wrong, the annotation is what we paid for.

    Args:
        student, teacher: logits (N, C, h, w), float32, equal shapes.
        target: (N, H, W), int64, class ids and 255, H and W multiples of h and w or near.

    >>> logits = torch.tensor([[[[2.0]], [[0.0]]]])
    >>> float(distillation_loss(logits, logits, torch.tensor([[[0]]]), temperature=2.0))
    0.0
    """
    with torch.no_grad():
        size = (int(teacher.shape[2]), int(teacher.shape[3]))
        truth = F.interpolate(target[:, None].float(), size=size, mode="nearest")[:, 0].long()
        believed = (teacher.argmax(1) == truth) | (truth == IGNORE_INDEX)
        wanted = F.softmax(teacher / temperature, dim=1)
        wanted_log = F.log_softmax(teacher / temperature, dim=1)
    given_log = F.log_softmax(student / temperature, dim=1)
    divergence = (wanted * (wanted_log - given_log)).sum(1)
    count = believed.sum().clamp(min=1)
    return temperature**2 * (divergence * believed).sum() / count
