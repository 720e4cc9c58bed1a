"""What is added to the loss so that the old is kept: small objects beside the plain loop.

A penalty is made once for a run, from the lesson and the student as it begins; there may be
nothing to keep, then there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import Weights
from lifelong.training.datasets import draw
from lifelong.training.ewc import ewc_penalty, fisher_information
from lifelong.training.label_shift import cross_entropy_of, distillation_of
from lifelong.training.lesson import Lesson
from lifelong.training.losses import LOSS_STRIDE, enlarged_logits

_FISHER_PICTURES = 64
# Of `distillation_weight`, while classes change: two classes that were one need features that the
# teacher never had, and held to all its answers the student hardly finds them (docs/classes.md).
_HELD_WHEN_CHANGING = 0.125


@dataclass(frozen=True, slots=True)
class Step:
    """One look of the student at a batch."""

    pictures: Tensor  # (N, 3, h, w), float32, normalised
    target: Tensor  # (N, H, W), int64, class ids and 255
    logits: Tensor  # (N, C, h', w'), float32
    old: int  # how many pictures, at the end, are replayed


Penalty = Callable[[Step], Tensor]
Answers = Callable[[Tensor], Tensor]  # (N, 3, h, w) normalised -> logits, without gradients
# (lesson, student, what answers as given weights do) -> penalty, or None: there is nothing to keep
MakePenalty = Callable[[Lesson, nn.Module, Callable[[Weights], Answers]], Penalty | None]


def keeping_answers(
    lesson: Lesson, _student: nn.Module, frozen: Callable[[Weights], Answers]
) -> Penalty | None:
    """The incumbent's answers (Li & Hoiem 2016): `distillation.py` has the formula.

    Where old labels or the teacher are of other classes, `label_shift.py` has it.
    """
    section = lesson.section
    # Weights of others that a first model begins with know nothing that must be kept.
    if lesson.incumbent is None or lesson.is_first or section.distillation_weight == 0:
        return None
    before = lesson.classes_before
    weight = section.distillation_weight * (1.0 if before is None else _HELD_WHEN_CHANGING)
    teacher = frozen(lesson.incumbent if before is None else before.weights)
    distillation = distillation_of(lesson.codes, before, lesson.classes)

    def penalty(step: Step) -> Tensor:
        # Where something is replayed, the teacher is asked about that alone: there it is at
        # home, and on the new pictures its doubts would only slow the student down.
        asked = slice(len(step.pictures) - step.old if step.old else 0, None)
        return weight * distillation(
            step.logits[asked],
            teacher(step.pictures[asked]),
            step.target[asked],
            temperature=section.distillation_temperature,
        )

    return penalty


def keeping_weights(
    lesson: Lesson, student: nn.Module, _frozen: Callable[[Weights], Answers]
) -> Penalty | None:
    """The incumbent's weights where the memory needs them: `ewc.py` has the formula."""
    if lesson.incumbent is None or lesson.is_first or not len(lesson.memory):
        return None
    anchor: Weights = {n: p.detach().clone() for n, p in student.named_parameters()}
    fisher = _fisher(lesson, student)
    weight = lesson.section.ewc_weight
    return lambda _step: weight * ewc_penalty(student, anchor, fisher)


def _fisher(lesson: Lesson, student: nn.Module) -> Weights:
    memory = lesson.memory
    device = next(student.parameters()).device
    rng = np.random.default_rng([lesson.section.seed, 0xF15])
    chosen = memory.take(draw(memory, min(_FISHER_PICTURES, len(memory)), rng).tolist())
    pictures = normalised(chosen.images.to(device), lesson.preprocessing)
    masks = chosen.masks.to(device).long()[:, ::LOSS_STRIDE, ::LOSS_STRIDE]
    batches = [(pictures[i : i + 1], masks[i : i + 1]) for i in range(len(chosen))]
    loss = cross_entropy_of(lesson.codes, device)

    def loss_of(network: nn.Module, picture: Tensor, mask: Tensor) -> Tensor:
        size = (int(mask.shape[1]), int(mask.shape[2]))
        value: Tensor = loss(enlarged_logits(network(picture), size), mask)
        return value

    return fisher_information(student, batches, loss_of)
