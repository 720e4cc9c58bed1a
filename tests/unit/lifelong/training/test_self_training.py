"""Pictures without labels teach too: sure answers alone, by class; their masks are not read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lifelong.config import TrainingSection
from lifelong.labels.map_history import read_history
from lifelong.labels.readings import LabelReader
from lifelong.labels.weights import AUTO, weight_of
from lifelong.links.storage import open_storage
from lifelong.preprocessing import Preprocessing
from lifelong.sections.labels import LabelsSection
from lifelong.training.checkpoints import weights_sha256
from lifelong.training.datasets import (
    Pictures,
    no_pictures,
    pictures_from_pairs,
    pictures_from_samples,
)
from lifelong.training.lesson import Lesson
from lifelong.training.self_training import (
    UNLABELLED,
    pseudo_labelled,
    sure_only,
    train_with_unlabelled,
)
from lifelong.training.trainer import train
from tests.builders import SMALL_MAP, a_jpeg, a_mask, a_mask_png, a_sample, an_image

HOW = Preprocessing(height=32, width=48)
SECTION = TrainingSection(height=32, width=48, steps=4, batch_size=2, threads=1, device="cpu")


def some_pictures(seeds: range, task: str = "dusk") -> Pictures:
    return pictures_from_pairs([(an_image(s), a_mask(s)) for s in seeds], HOW, learning_task=task)


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    first = Lesson(
        section=SECTION,
        classes=3,
        new=some_pictures(range(3), "day"),
        memory=no_pictures(HOW),
        incumbent=None,
    )
    return replace(first, new=some_pictures(range(3, 5)), memory=first.new, incumbent=train(first))


def test_sure_only_keeps_the_surer_half_of_each_class_and_all_beyond_the_cap() -> None:
    classes = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]], dtype=torch.uint8)
    confidence = torch.tensor([[[0.91, 0.95, 0.97, 0.99, 0.2, 0.3, 0.4, 0.5]]])
    assert sure_only(classes, confidence).tolist() == [[[0, 0, 0, 0, 255, 255, 1, 1]]]


def test_their_own_masks_are_never_looked_at(lesson: Lesson) -> None:
    unlabelled = some_pictures(range(10, 13))
    blind = replace(unlabelled, masks=torch.full_like(unlabelled.masks, 255))
    assert lesson.incumbent is not None
    answered = pseudo_labelled(lesson.incumbent, lesson, unlabelled)
    assert torch.equal(answered.masks, pseudo_labelled(lesson.incumbent, lesson, blind).masks)
    assert set(answered.learning_tasks) == {f"{UNLABELLED}dusk"}
    known = answered.masks != 255
    assert 0.4 < float(known.float().mean()) <= 1.0
    assert int(answered.masks[known].max()) < 3
    one, other = (train_with_unlabelled(lesson, pictures) for pictures in (unlabelled, blind))
    assert weights_sha256(one) == weights_sha256(other) != weights_sha256(train(lesson))


def test_it_takes_as_many_steps_and_goes_on_from_its_checkpoints(
    lesson: Lesson, tmp_path: Path
) -> None:
    unlabelled = some_pictures(range(10, 13))
    told: list[tuple[int, int]] = []

    class StoppedError(Exception):
        pass

    def stop_at_three(step: int, steps: int, loss: float) -> None:
        told.append((step, steps))
        if step == 3:
            raise StoppedError

    section = SECTION.model_copy(update={"checkpoint_every": 1})
    again = replace(lesson, section=section)
    path = tmp_path / "training.safetensors"
    with pytest.raises(StoppedError):
        train_with_unlabelled(again, unlabelled, checkpoint=path, on_progress=stop_at_three)
    assert told == [(1, 4), (2, 4), (3, 4)]
    resumed = train_with_unlabelled(
        again, unlabelled, checkpoint=path, on_progress=lambda *told_: told.append(told_[:2])
    )
    assert told[3:] == [(4, 4)]
    assert weights_sha256(resumed) == weights_sha256(train_with_unlabelled(again, unlabelled))


def test_nothing_unlabelled_and_first_models_are_trained_as_ever(lesson: Lesson) -> None:
    alone = train_with_unlabelled(lesson, no_pictures(HOW))
    assert weights_sha256(alone) == weights_sha256(train(lesson))
    first = replace(lesson, incumbent=None)
    both = train_with_unlabelled(first, some_pictures(range(10, 12)))
    assert weights_sha256(both) == weights_sha256(train(first))


def test_lll_10_the_weight_of_a_label_reaches_the_loss() -> None:
    storage = open_storage("memory://")
    samples = [a_sample(0, annotator="anna"), a_sample(1, annotator=AUTO)]
    for seed, sample in enumerate(samples):
        storage.put(sample.image_key, a_jpeg(seed))
        storage.put(sample.mask_key, a_mask_png(seed))
    reader = LabelReader(read_history(storage, SMALL_MAP))

    def read(auto_weight: float) -> Pictures:
        section = LabelsSection(auto_weight=auto_weight)
        return pictures_from_samples(
            samples, storage, reader, HOW, weight_of=lambda sample: weight_of(sample, section)
        )

    def learned(auto_weight: float) -> str:
        found = train(
            Lesson(
                section=SECTION,
                classes=3,
                new=read(auto_weight),
                memory=no_pictures(HOW),
                incumbent=None,
            )
        )
        return weights_sha256(found)

    half = read(0.5).weights
    assert half is not None and half.tolist() == [1.0, 0.5]
    assert read(1.0).weights is None
    assert np.unique([learned(0.0), learned(0.5), learned(1.0)]).size == 3
