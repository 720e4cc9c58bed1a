"""Pictures without labels teach too: the model's own sure answers stand in for the labels.

Half of a lesson's steps learn what is labelled. The model that comes of it answers the unlabelled
pictures, each seen as it is and mirrored; where it is sure, its answer becomes the target of the
other half, elsewhere nothing is known (255). Sure is measured class by class, so that a rare class
is not left out because the model is never as sure of it as of the road (Zou et al. 2018,
"Unsupervised domain adaptation … via class-balanced self-training"; the cap is that of Li et al.
2019, "Bidirectional learning …").
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lifelong.preprocessing import Preprocessing
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.datasets import Pictures, joined
from lifelong.training.devices import device_named, reproducible
from lifelong.training.label_shift import ClassesBefore, TeacherClasses
from lifelong.training.lesson import Lesson
from lifelong.training.losses import enlarged_logits
from lifelong.training.networks import build_network
from lifelong.training.trainer import Progress, train

SURE = 0.9  # more confidence than this is asked of no class
KEPT = 0.5  # of the pixels that the model gives a class, the surest so many, at the least
UNLABELLED = "unlabelled "  # before the learning task's name: a batch draws evenly from both kinds


def train_with_unlabelled(
    lesson: Lesson,
    unlabelled: Pictures,
    *,
    checkpoint: Path | None = None,
    on_progress: Progress | None = None,
) -> Weights:
    """Learn the lesson, and from pictures nobody labelled, in as many steps as the lesson alone.

    Args:
        unlabelled: their masks are never looked at.
        checkpoint: goes on from there, as `train`; the first half keeps one beside it.

    Raises:
        TrainingError: no labelled picture to learn from.
        DivergedError: the loss became NaN or infinite.
    """
    if not len(unlabelled) or lesson.is_first:
        return train(lesson, checkpoint=checkpoint, on_progress=on_progress)
    half = max(1, lesson.steps // 2)
    first = replace(lesson, section=lesson.section.model_copy(update={"steps": half}))
    beside = checkpoint.with_name(checkpoint.name + ".first_half") if checkpoint else None
    taught = train(first, checkpoint=beside, on_progress=_part(on_progress, 0, lesson.steps))
    answered = pseudo_labelled(taught, lesson, unlabelled)
    second = replace(
        lesson,
        section=lesson.section.model_copy(update={"steps": max(1, lesson.steps - half)}),
        new=joined(lesson.new, answered),
        incumbent=taught,
        classes_before=lesson.classes_before or _the_teacher(lesson),
    )
    return train(second, checkpoint=checkpoint, on_progress=_part(on_progress, half, lesson.steps))


def pseudo_labelled(weights: Weights, lesson: Lesson, pictures: Pictures) -> Pictures:
    """The pictures with what a model is sure of as their masks.

    Args:
        weights: of the lesson's network.
        pictures: at the lesson's input size; their own masks are not read.
    """
    device = device_named(lesson.section.device)
    with reproducible(lesson.section.threads, device), torch.no_grad():
        network = build_network(lesson.section.network, lesson.classes, seed=0)
        load_weights(network, weights, "the teacher")
        network.to(device).eval()
        answers = [
            _answer(network, pictures.images[n : n + 1].to(device), lesson.preprocessing)
            for n in range(len(pictures))
        ]
    classes = torch.cat([answer[0] for answer in answers])
    confidence = torch.cat([answer[1] for answer in answers])
    return Pictures(
        images=pictures.images,
        masks=sure_only(classes, confidence),
        learning_tasks=tuple(UNLABELLED + name for name in pictures.learning_tasks),
    )


def sure_only(classes: Tensor, confidence: Tensor) -> Tensor:
    """Class ids where the model is sure, by class: p ≥ min(SURE, its (1 - KEPT) quantile of p).

    Args:
        classes: (N, h, w), uint8, what the model answers.
        confidence: (N, h, w), float32, 0 .. 1, its largest probability.

    Returns:
        (N, h, w), uint8, class ids and 255.

    >>> ids = torch.zeros(1, 1, 4, dtype=torch.uint8)
    >>> sure_only(ids, torch.tensor([[[0.2, 0.4, 0.6, 0.8]]])).tolist()
    [[[255, 255, 0, 0]]]
    """
    kept = torch.full_like(classes, IGNORE_INDEX)
    for class_id in torch.unique(classes).tolist():
        inside = classes == class_id
        values = confidence[inside].sort().values
        usual = float(values[min(int((1.0 - KEPT) * len(values)), len(values) - 1)])
        kept[inside & (confidence >= min(SURE, usual))] = class_id
    return kept


def _the_teacher(lesson: Lesson) -> ClassesBefore:
    """The incumbent, of the same classes: what it knew is kept, not what half a round left."""
    assert lesson.incumbent is not None
    same = TeacherClasses(torch.eye(lesson.classes), torch.zeros(lesson.classes, lesson.classes))
    return ClassesBefore(lesson.incumbent, lesson.classes, same)


def _answer(network: torch.nn.Module, picture: Tensor, how: Preprocessing) -> tuple[Tensor, Tensor]:
    """Class ids (1, h, w) uint8 and confidence (1, h, w) of one picture, with its mirror image."""
    shown = normalised(picture, how)
    both = network(torch.cat([shown, shown.flip(3)]))
    logits = enlarged_logits(both, (how.height, how.width))
    shares = (logits[:1].softmax(1) + logits[1:].flip(3).softmax(1)) / 2.0
    confidence, classes = shares.max(1)
    return classes.to(torch.uint8).cpu(), confidence.float().cpu()


def _part(on_progress: Progress | None, before: int, steps: int) -> Progress | None:
    if on_progress is None:
        return None
    told: Callable[[int, int, float], None] = on_progress
    return lambda step, _, loss: told(before + step, steps, loss)
