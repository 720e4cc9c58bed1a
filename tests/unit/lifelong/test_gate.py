"""LLL-07: the gate accepts what gains and keeps, and refuses every adversarial candidate."""

import doctest
import math
from dataclasses import replace

import numpy as np
import pytest

from lifelong import gate
from lifelong.config import GateSection
from lifelong.evaluation import evaluate
from lifelong.gate import decide
from lifelong.records.ids import VersionId
from lifelong.records.model_versions import EvaluationReport, TaskResult
from tests.builders import SMALL_MAP, a_mask, a_prediction, an_image

RULES = GateSection(max_class_drop=0.15)


def a_result(miou, iou=None, images=30, pixel_accuracy=0.9):
    classes = iou if iou is not None else {"road": miou, "car": miou, "person": miou}
    return TaskResult(miou=miou, pixel_accuracy=pixel_accuracy, iou=classes, images=images)


def a_report(name="candidate", **tasks):
    results = {k: v if isinstance(v, TaskResult) else a_result(v) for k, v in tasks.items()}
    return EvaluationReport(version_id=VersionId(name), tasks=results)


INCUMBENT = a_report("incumbent", day=0.61, fog=0.30)


def test_the_doctests_hold():
    assert doctest.testmod(gate).failed == 0


@pytest.mark.parametrize(
    ("day", "fog", "accepted"),
    [
        (0.61, 0.45, True),
        (0.70, 0.30, True),
        (0.60, 0.45, True),  # exactly the allowed point
        (0.599, 0.45, False),  # a tenth of a point more
        (0.40, 0.90, False),  # a great gain does not buy forgetting
        (0.61, 0.30, False),  # nothing gained
        (0.61, 0.29, False),
    ],
)
def test_LLL_07_the_gate_refuses_what_forgets_and_what_gains_nothing(day, fog, accepted):  # noqa: N802
    decision = decide(a_report(day=day, fog=fog), INCUMBENT, RULES, earlier=["day"])
    assert accepted == decision.accepted == (not decision.reasons)
    assert decision.incumbent == "incumbent"


def test_the_reason_says_which_task_and_how_many_points():
    decision = decide(a_report(day=0.5, fog=0.6), INCUMBENT, RULES, earlier=["day"])
    assert decision.reasons[0] == "day: forgot 11.0 points of mIoU (61.0 -> 50.0), 1.0 are allowed"
    assert "fog: mIoU 30.0 -> 60.0 (+30.0 points) on 30 images" in decision.notes


def test_a_new_task_may_lose_but_only_an_earlier_one_counts_as_forgotten():
    report = a_report(day=0.75, fog=0.28)
    assert decide(report, INCUMBENT, RULES, earlier=["day"]).accepted
    assert not decide(report, INCUMBENT, RULES, earlier=["day", "fog"]).accepted


@pytest.mark.parametrize(
    ("protected", "after", "accepted"),
    [
        ((), 0.36, True),
        ((), 0.34, False),  # 16 points
        (("person",), 0.46, True),
        (("person",), 0.44, False),  # 6 points of a protected class
    ],
)
def test_LLL_07_a_class_may_not_drop(protected, after, accepted):  # noqa: N802
    before = a_report("incumbent", day=a_result(0.6, {"road": 0.7, "person": 0.5}))
    report = a_report(day=a_result(0.62, {"road": 0.9, "person": after}))
    rules = GateSection(max_class_drop=0.15, protected_classes=protected)
    assert accepted == decide(report, before, rules, earlier=["day"]).accepted


def test_all_reasons_are_given_not_only_the_first():
    report = a_report(day=a_result(0.2, {"road": 0.1, "car": 0.5, "person": 0.0}), fog=0.1)
    reasons = decide(report, INCUMBENT, RULES, earlier=["day", "fog"]).reasons
    assert sum("forgot" in reason for reason in reasons) == 2
    assert (
        "day: 2 classes drop by more than 15.0 points of IoU: person 61.0 -> 0.0, road 61.0 -> 10.0"
        in reasons
    )
    assert any("no gain" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("occurs", "protected", "accepted"),
    [
        (12, (), False),
        (11, (), True),  # too few images to tell a drop from chance
        (1, ("person",), False),  # a protected class counts however rare it is
    ],
)
def test_lll07_a_class_is_judged_on_enough_images(occurs, protected, accepted):
    """LLL-07: evidence before verdict."""

    def a_rare_one(person: float) -> TaskResult:
        result = a_result(0.6, {"road": 0.9, "person": person}, images=30)
        return replace(result, class_images={"road": 30, "person": occurs})

    rules = GateSection(min_class_images=12, protected_classes=protected)
    before, after = (
        a_report("i", day=a_rare_one(0.5), fog=0.3),
        a_report(day=a_rare_one(0.2), fog=0.4),
    )
    assert decide(after, before, rules, earlier=["day"]).accepted is accepted


@pytest.mark.parametrize(
    ("report", "incumbent", "said"),
    [
        (a_report(fog=0.9), INCUMBENT, "day: known before"),
        (a_report(), None, "no hold-out"),
        (a_report(day=0.9, fog=0.9, rain=0.9), INCUMBENT, "rain: the incumbent was not examined"),
        (a_report(day=math.nan, fog=0.9), INCUMBENT, "the candidate's mIoU"),
        (a_report(day=0.9, fog=0.9), a_report("i", day=math.nan, fog=0.3), "incumbent's mIoU"),
        (a_report(day=a_result(0.9, images=0), fog=0.9), INCUMBENT, "no images"),
        (a_report(day=a_result(0.9, {"road": math.nan}), fog=0.9), INCUMBENT, "road is not"),
        (a_report(day=1.2, fog=0.9), INCUMBENT, "not a number from 0 to 1"),
        (a_report(day=0.9, fog=0.9, rain=0.9), None, "dusk: known before"),
    ],
)
def test_what_cannot_be_compared_is_refused(report, incumbent, said):
    earlier = ["day", "dusk"] if "dusk" in said else ["day"]
    decision = decide(report, incumbent, RULES, earlier=earlier)
    assert not decision.accepted
    assert any(said in reason for reason in decision.reasons)


@pytest.mark.parametrize(("miou", "accepted"), [(0.45, True), (0.39, False), (0.0, False)])
def test_a_first_model_must_beat_chance(miou, accepted):
    # Three classes: guessing gives 1/5, twice that is asked for.
    assert accepted == decide(a_report(day=miou), None, RULES, earlier=[]).accepted


def test_a_minimal_gain_may_be_asked_for():
    rules = GateSection(min_gain=0.05)
    assert not decide(a_report(day=0.65, fog=0.30), INCUMBENT, rules, earlier=["day"]).accepted
    assert decide(a_report(day=0.65, fog=0.40), INCUMBENT, rules, earlier=["day"]).accepted


def test_a_loss_may_be_asked_for_too():
    """Who sets a negative gain means it; a candidate that changes nothing gains 0."""
    rules = GateSection(min_gain=-0.05, max_forgetting=1.0, max_class_drop=1.0)
    before = INCUMBENT.tasks["day"].miou, INCUMBENT.tasks["fog"].miou
    slightly_worse = a_report(day=before[0] - 0.02, fog=before[1])
    much_worse = a_report(day=before[0] - 0.3, fog=before[1])

    assert decide(slightly_worse, INCUMBENT, rules, earlier=["day"]).accepted
    assert not decide(much_worse, INCUMBENT, rules, earlier=["day"]).accepted


class Scripted:
    """A segmenter that knows the truth by the picture and answers `spoil(truth)`."""

    def __init__(self, name, spoil):
        self.name, self.spoil = name, spoil

    def segment(self, image):
        seed = next(s for s in range(12) if (an_image(s) == image).all())
        return a_prediction(mask=self.spoil(a_mask(seed), seed), version_id=self.name)


def _mostly_right(truth, seed):
    """One pixel in five is taken for the next class."""
    wrong = np.random.default_rng(seed).random(truth.shape) < 0.2
    return np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)


def _better(truth, seed):
    wrong = np.random.default_rng(seed).random(truth.shape) < 0.1
    return np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)


ADVERSARIES = {
    "a class erased": lambda truth, seed: np.where(truth == 2, 0, truth).astype(np.uint8),
    "a domain forgotten": lambda truth, seed: truth if seed >= 6 else np.zeros_like(truth),
    "random": lambda truth, seed: (
        np.random.default_rng(seed).integers(0, 3, truth.shape).astype(np.uint8)
    ),
    "label map permuted": lambda truth, seed: np.array([1, 2, 0], dtype=np.uint8)[truth],
    "the incumbent again": _mostly_right,
    "one class for all": lambda truth, seed: np.ones_like(truth),
}

HOLDOUTS = {
    "day": [(an_image(seed), a_mask(seed)) for seed in range(6)],
    "fog": [(an_image(seed), a_mask(seed)) for seed in range(6, 12)],
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_LLL_07_every_adversarial_candidate_is_refused(name):  # noqa: N802
    incumbent = evaluate(Scripted("incumbent", _mostly_right), HOLDOUTS, SMALL_MAP)
    candidate = evaluate(Scripted(name, ADVERSARIES[name]), HOLDOUTS, SMALL_MAP)
    decision = decide(candidate, incumbent, RULES, earlier=["day"])
    assert not decision.accepted, decision.notes


def test_LLL_07_and_the_honest_candidate_is_accepted():  # noqa: N802
    incumbent = evaluate(Scripted("incumbent", _mostly_right), HOLDOUTS, SMALL_MAP)
    candidate = evaluate(Scripted("better", _better), HOLDOUTS, SMALL_MAP)
    assert decide(candidate, incumbent, RULES, earlier=["day"]).accepted
