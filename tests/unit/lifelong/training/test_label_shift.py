"""LLL-06: losses that know that older labels say less."""

import math

import pytest
import torch

from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader, plain_codes
from lifelong.records.label_map import LabelMap
from lifelong.training.distillation import distillation_loss
from lifelong.training.label_shift import (
    teacher_classes,
    unbiased_cross_entropy,
    unbiased_distillation,
)
from lifelong.training.losses import cross_entropy

STREET = LabelMap(("road", "building", "car", "bus"), ((1, 2, 3), (2, 2, 3), (3, 2, 3), (4, 2, 3)))


def members(classes: int) -> torch.Tensor:
    return torch.from_numpy(plain_codes(classes).members)


def pixel(*values: float) -> torch.Tensor:
    """Logits of one pixel: the logarithms of these shares."""
    return torch.tensor(values).log().view(1, -1, 1, 1)


def test_lll_06_cross_entropy_of_an_old_label_by_hand():
    """p = (0.2, 0.5, 0.3); the label says 1 or 2: -ln 0.8; beside it a plain pixel: -ln 0.2."""
    table = members(3)
    table[254, 1] = table[254, 2] = True
    logits = pixel(0.2, 0.5, 0.3).repeat(1, 1, 1, 3)
    target = torch.tensor([[[254, 0, 255]]])
    loss = unbiased_cross_entropy(logits, target, table)
    assert float(loss) == pytest.approx((-math.log(0.8) - math.log(0.2)) / 2, rel=1e-5)
    twice = torch.cat([logits, pixel(0.1, 0.6, 0.3).repeat(1, 1, 1, 3)])
    both = torch.cat([target, torch.tensor([[[254, 255, 255]]])])
    counted = torch.tensor([1.0, 3.0])
    loss = unbiased_cross_entropy(twice, both, table, picture_weights=counted)
    by_hand = (-math.log(0.8) - math.log(0.2) - 3 * math.log(0.9)) / 5
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    weights = torch.tensor([1.0, 2.0, 3.0])
    loss = unbiased_cross_entropy(logits, target, table, class_weights=weights)
    assert float(loss) == pytest.approx((-3 * math.log(0.8) - math.log(0.2)) / 4, rel=1e-5)


def test_lll_06_cross_entropy_of_present_labels_is_the_plain_one():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 4, 5, 6, generator=generator, requires_grad=True)
    target = torch.randint(0, 4, (2, 5, 6), generator=generator)
    target[0, :2] = 255
    ours = unbiased_cross_entropy(logits, target, members(4))
    (mine,) = torch.autograd.grad(ours, logits)
    theirs = cross_entropy(logits, target)
    (plain,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mine, plain)


def test_lll_06_an_old_label_pulls_at_no_class_that_it_may_be():
    """The gradient of -ln(p1 + p2) moves 1 and 2 alike in proportion to their shares."""
    table = members(3)
    table[254, 1] = table[254, 2] = True
    logits = pixel(0.2, 0.5, 0.3).requires_grad_()
    loss = unbiased_cross_entropy(logits, torch.tensor([[[254]]]), table)
    (gradient,) = torch.autograd.grad(loss, logits)
    # d/dz_c = p_c - p_c / 0.8 for members, p_c for the others.
    assert gradient.flatten().tolist() == pytest.approx([0.2, 0.5 - 0.625, 0.3 - 0.375], abs=1e-6)


def test_lll_06_nothing_to_learn_from_is_no_loss():
    logits = pixel(0.2, 0.5, 0.3).requires_grad_()
    loss = unbiased_cross_entropy(logits, torch.tensor([[[255]]]), members(3))
    assert float(loss.detach()) == 0.0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient.any() and gradient.isfinite().all()


def test_lll_06_distillation_by_hand_one_class_cut_from_one():
    """t = (0.3, 0.7), s = (0.4, 0.1, 0.5) with class 2 cut from 1: q = (0.4, 0.6)."""
    change = change_classes(LabelMap(("a", "b"), ((1, 1, 1), (2, 2, 2))), add={"n": ("b",)})
    loss = unbiased_distillation(
        pixel(0.4, 0.1, 0.5),
        pixel(0.3, 0.7),
        torch.tensor([[[255]]]),
        codes=plain_codes(3),
        classes=teacher_classes(change),
        temperature=1.0,
    )
    by_hand = 0.3 * math.log(0.3 / 0.4) + 0.7 * math.log(0.7 / 0.6)
    assert float(loss) == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_lll_06_sharing_a_probability_costs_nothing_at_any_temperature(temperature):
    """However 0.7 is divided between b and n, the teacher's 0.7 for b is answered."""
    change = change_classes(LabelMap(("a", "b"), ((1, 1, 1), (2, 2, 2))), add={"n": ("b",)})
    for of_b in (0.35, 0.69, 0.01):
        student = pixel(0.3, of_b, 0.7 - of_b).requires_grad_()
        loss = unbiased_distillation(
            student,
            pixel(0.3, 0.7),
            torch.tensor([[[255]]]),
            codes=plain_codes(3),
            classes=teacher_classes(change),
            temperature=temperature,
        )
        (gradient,) = torch.autograd.grad(loss, student)
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert gradient.abs().max() < 1e-6


def test_lll_06_distillation_is_softened_after_the_sum():
    """T = 2: t = (0.3, 0.7) and q = (0.4, 0.6) to the power 1/2, scaled, times 4."""
    change = change_classes(LabelMap(("a", "b"), ((1, 1, 1), (2, 2, 2))), add={"n": ("b",)})
    loss = unbiased_distillation(
        pixel(0.4, 0.1, 0.5),
        pixel(0.3, 0.7),
        torch.tensor([[[255]]]),
        codes=plain_codes(3),
        classes=teacher_classes(change),
        temperature=2.0,
    )
    t, q = (math.sqrt(0.3 / 0.7), math.sqrt(0.4 / 0.6))  # odds of a against b
    t_a, q_a = t / (1 + t), q / (1 + q)
    by_hand = t_a * math.log(t_a / q_a) + (1 - t_a) * math.log((1 - t_a) / (1 - q_a))
    assert float(loss) == pytest.approx(4 * by_hand, rel=1e-4)


def test_lll_06_distillation_by_hand_cut_from_two_merged_and_removed():
    """road removed; car and bus merged; tram cut from building and bus.

    p = (0.2 road, 0.2 building, 0.1 car, 0.5 bus): t = (building 0.25, vehicle 0.75).
    s = (building 0.3, vehicle 0.2, tram 0.5): tram is divided 1 to 3, q = (0.425, 0.575).
    """
    change = change_classes(
        STREET,
        remove=["road"],
        merge={"vehicle": ("car", "bus")},
        add={"tram": ("building", "bus")},
    )
    assert change.after.names == ("building", "vehicle", "tram")
    loss = unbiased_distillation(
        pixel(0.3, 0.2, 0.5),
        pixel(0.2, 0.2, 0.1, 0.5),
        torch.tensor([[[255]]]),
        codes=plain_codes(3),
        classes=teacher_classes(change),
        temperature=1.0,
    )
    by_hand = 0.25 * math.log(0.25 / 0.425) + 0.75 * math.log(0.75 / 0.575)
    assert float(loss) == pytest.approx(by_hand, rel=1e-4)


def test_lll_06_the_teacher_says_nothing_of_a_class_that_older_labels_left_unlabelled():
    change = change_classes(LabelMap(("a", "b"), ((1, 1, 1), (2, 2, 2))), add={"n": ()})
    student = pixel(0.15, 0.35, 0.5).requires_grad_()
    loss = unbiased_distillation(
        student,
        pixel(0.3, 0.7),
        torch.tensor([[[255]]]),
        codes=plain_codes(3),
        classes=teacher_classes(change),
        temperature=1.0,
    )
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().max() < 1e-6


def test_lll_06_the_teacher_is_believed_where_the_label_may_be_what_it_says():
    change = change_classes(STREET, add={"tram": ("building",)})
    codes = LabelReader(LabelMapHistory(change.after, [change])).codes
    says_building = pixel(0.1, 0.7, 0.1, 0.1)
    student = pixel(0.2, 0.2, 0.2, 0.2, 0.2)

    def loss(label: int) -> float:
        return float(
            unbiased_distillation(
                student,
                says_building,
                torch.tensor([[[label]]]),
                codes=codes,
                classes=teacher_classes(change),
                temperature=2.0,
            )
        )

    assert loss(254) > 0.0  # building, or tram
    assert loss(1) == loss(255) == loss(254)
    assert loss(2) == loss(4) == 0.0  # a person says car, or tram: the teacher is wrong


def test_lll_06_without_a_change_it_is_the_plain_distillation():
    generator = torch.Generator().manual_seed(2)
    student = torch.randn(2, 4, 3, 5, generator=generator)
    teacher = torch.randn(2, 4, 3, 5, generator=generator)
    target = torch.randint(0, 4, (2, 6, 10), generator=generator)
    same = teacher_classes(change_classes(STREET))
    ours = unbiased_distillation(
        student, teacher, target, codes=plain_codes(4), classes=same, temperature=2.0
    )
    theirs = distillation_loss(student, teacher, target, temperature=2.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
