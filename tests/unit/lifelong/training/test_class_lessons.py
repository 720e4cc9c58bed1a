"""LLL-06: a lesson after a change of classes, with old labels and a teacher of fewer classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lifelong.labels.map_changes import LabelMapChange, change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader
from lifelong.records.label_map import LabelMap
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.datasets import pictures_from_pairs
from lifelong.training.head_growth import grown_weights
from lifelong.training.label_shift import ClassesBefore, only_sure, teacher_classes
from lifelong.training.lesson import Lesson
from lifelong.training.networks import build_network
from lifelong.training.trainer import train
from tests.unit.lifelong.training.lessons import HOW, LIGHT, a_lesson, scenes

# In the world of `lessons.py`, before anybody spoke of bars: a bar was painted "thing".
BEFORE = LabelMap(("ground", "thing"), ((1, 1, 1), (2, 2, 2)))
CHANGE = change_classes(BEFORE, add={"bar": ("thing",)}, rename={"thing": "disc"})
READER = LabelReader(LabelMapHistory(CHANGE.after, [CHANGE]))


def as_before(pairs):
    return [(image, np.minimum(mask, 1).astype(np.uint8)) for image, mask in pairs]


def class_lesson(first: Weights, change: LabelMapChange = CHANGE, **changes) -> Lesson:
    old = [
        (image, READER.read(mask, BEFORE.digest, "here"))
        for image, mask in as_before(scenes(8, LIGHT))
    ]
    lesson = a_lesson(
        new=scenes(8, LIGHT, first=100),
        incumbent=grown_weights(first, "fast_cnn", change),
        **{"steps": 80, "learning_rate": 3e-3, "distillation_weight": 1.0} | changes,
    )
    return replace(
        lesson,
        memory=pictures_from_pairs(old, HOW, learning_task="old"),
        codes=READER.codes,
        classes_before=ClassesBefore(first, len(BEFORE), teacher_classes(change)),
    )


@pytest.fixture(scope="module")
def first() -> Weights:
    lesson = a_lesson(
        new=as_before(scenes(12, LIGHT)), steps=80, learning_rate=5e-3, strategy="naive"
    )
    return train(replace(lesson, classes=2))


def answers(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    network = build_network("fast_cnn", 3, seed=0).eval()
    load_weights(network, weights, "test")
    pictures = pictures_from_pairs(scenes(10, LIGHT, first=500), HOW)
    mean = torch.tensor(HOW.mean).view(1, 3, 1, 1)
    std = torch.tensor(HOW.std).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = network((pictures.images / 255.0 - mean) / std)
    logits = torch.nn.functional.interpolate(logits, size=(32, 48), mode="bilinear")
    return logits.argmax(1).numpy(), pictures.masks.numpy()


@pytest.mark.parametrize("strategy", ["replay+distillation", "joint"])
def test_lll_06_a_new_class_is_learned_beside_old_labels_that_call_it_otherwise(first, strategy):
    answer, truth = answers(train(class_lesson(first, strategy=strategy)))
    for class_id in range(3):
        both = ((answer == class_id) & (truth == class_id)).sum()
        union = ((answer == class_id) | (truth == class_id)).sum()
        assert both / union > 0.5, class_id


def test_lll_06_dice_and_class_weights_do_with_old_labels(first):
    lesson = class_lesson(first, steps=3, dice_weight=1.0, class_weights="balanced")
    assert all(torch.isfinite(value).all() for value in train(lesson).values())


def test_lll_06_a_lesson_with_codes_is_another_lesson_and_goes_on_from_its_checkpoint(
    first, tmp_path
):
    lesson = class_lesson(first, steps=4, checkpoint_every=2)
    plain = replace(lesson, codes=None, classes_before=None)
    assert len({lesson.digest(), replace(lesson, codes=None).digest(), plain.digest()}) == 3
    whole = train(lesson)

    def stop(step, _steps, _loss):
        if step == 3:
            raise KeyboardInterrupt

    path = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        train(lesson, checkpoint=path, on_progress=stop)
    resumed = train(lesson, checkpoint=path)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_lll_06_losses_that_need_one_class_leave_out_pixels_that_may_be_several():
    target = torch.tensor([[[0, 1, 2, 254, 255]]])
    assert only_sure(target, READER.codes).tolist() == [[[0, 1, 2, 255, 255]]]
    assert only_sure(target, None) is target
