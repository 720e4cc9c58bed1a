"""Losses and penalties against numbers worked out by hand, and augmentation that stays paired."""

import doctest
import math

import numpy as np
import pytest
import torch

from lifelong.preprocessing import network_input
from lifelong.training import distillation, losses
from lifelong.training.augmentation import augmented, normalised
from lifelong.training.datasets import draw, joined, pictures_from_pairs
from lifelong.training.distillation import distillation_loss
from lifelong.training.ewc import ewc_penalty, fisher_information
from lifelong.training.losses import balanced_class_weights, cross_entropy, dice
from tests.unit.lifelong.training.lessons import HOW, LIGHT, scenes


@pytest.mark.parametrize("module", [losses, distillation])
def test_the_doctests_hold(module):
    assert doctest.testmod(module).failed == 0


def test_cross_entropy_of_nothing_labelled_is_zero_and_has_a_gradient():
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert float(loss.detach()) == 0.0 and float(logits.grad.abs().sum()) == 0.0


def test_dice_is_one_half_for_an_undecided_answer():
    # Two classes, one pixel each, p = 1/2 everywhere: D = 2 · 0.5 / (1 + 1) = 0.5.
    assert pytest.approx(float(dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])))) == 0.5
    assert float(dice(torch.zeros(1, 2, 1, 1), torch.tensor([[[255]]]))) == 0.0


def test_rare_classes_weigh_more():
    masks = torch.tensor([[[0] * 9 + [1]]], dtype=torch.uint8)
    weights = balanced_class_weights(masks, 2)
    assert pytest.approx(float(weights.mean())) == 1.0
    expected = math.log(1.1 + 0.9) / math.log(1.1 + 0.1)
    assert expected == pytest.approx(float(weights[1] / weights[0]), rel=1e-5)


def test_distillation_by_hand():
    student, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([[[[math.log(9.0)]], [[0.0]]]])
    # T = 1: teacher 0.9/0.1 against 1/2: 0.9 ln 1.8 + 0.1 ln 0.2.
    expected = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    given = distillation_loss(student, teacher, torch.tensor([[[0]]]), temperature=1.0)
    assert expected == pytest.approx(float(given), rel=1e-5)


@pytest.mark.parametrize(("label", "is_believed"), [(0, True), (1, False), (255, True)])
def test_the_teacher_is_believed_unless_an_annotation_says_otherwise(label, is_believed):
    student, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([[[[3.0]], [[0.0]]]])
    given = distillation_loss(student, teacher, torch.tensor([[[label]]]), temperature=2.0)
    assert is_believed == (float(given) > 0.0)


def test_ewc_by_hand():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(3.0)
    anchor, fisher = {"weight": torch.tensor([[1.0]])}, {"weight": torch.tensor([[0.5]])}
    assert pytest.approx(float(ewc_penalty(network, anchor, fisher).detach())) == 0.5 * 0.5 * 4.0


def test_fisher_information_is_scaled_to_a_mean_of_one():
    network = torch.nn.Conv2d(3, 2, 1)
    batches = [(torch.rand(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.long))]
    fisher = fisher_information(network, batches, lambda n, x, y: cross_entropy(n(x), y))
    values = torch.cat([value.flatten() for value in fisher.values()])
    assert pytest.approx(float(values.mean()), rel=1e-5) == 1.0
    assert bool((values >= 0).all())


def test_tensors_are_normalised_as_the_edge_does_it():
    image, mask = scenes(1, LIGHT)[0]
    pictures = pictures_from_pairs([(image, mask)], HOW)
    expected = network_input(image, HOW)
    assert np.abs(expected - normalised(pictures.images, HOW).numpy()).max() < 1e-5


def test_picture_and_mask_stay_paired_and_the_outside_is_ignored():
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[:, 24:] = 1
    image = np.where(mask[..., None] == 1, 250, 5).astype(np.uint8).repeat(3, axis=2)
    pictures = pictures_from_pairs([(image, mask)] * 16, HOW)
    bent, target = augmented(pictures.images, pictures.masks, HOW, np.random.default_rng(0))
    assert tuple(bent.shape) == (16, 3, 32, 48) and torch.int64 == target.dtype
    assert {0, 1, 255} == set(target.unique().tolist())
    bright, dark = bent[:, 0][target == 1], bent[:, 0][target == 0]
    assert float((bright > 0).float().mean()) > 0.97  # all but the blurred border
    assert float((dark < 0).float().mean()) > 0.97
    again = augmented(pictures.images, pictures.masks, HOW, np.random.default_rng(0))
    assert torch.equal(bent, again[0]) and torch.equal(target, again[1])


def test_a_draw_gives_every_learning_task_its_turn():
    many = pictures_from_pairs(scenes(30, LIGHT), HOW, learning_task="clear")
    few = pictures_from_pairs(scenes(3, LIGHT), HOW, learning_task="fog")
    drawn = draw(joined(many, few), 2000, np.random.default_rng(0))
    assert 0.45 < float((drawn >= 30).mean()) < 0.55
