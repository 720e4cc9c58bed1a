"""Hard example mining: EDGE-01 (scores), EDGE-02 (total policies), EDGE-03 (empty frames)."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.edge_config import HardExamplesSection
from lifelong.hard_examples import (
    FALLBACK_THRESHOLD,
    frame_scores,
    is_empty,
    judge,
    region_scores,
    threshold_for,
)
from lifelong.preprocessing import softmax
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Prediction
from lifelong.uncertainty import entropy, margin
from tests.builders import a_prediction

POLICIES = get_args(HardExamplesSection.model_fields["policy"].annotation)
SCORED = ("entropy", "margin", "least_confidence", "share_below", "cross_entropy", "ibt")
LEFT_RIGHT = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)  # two regions of 8 pixels


def section(**changes) -> HardExamplesSection:
    return HardExamplesSection(**changes)


def recorded_prediction(classes: int = 4, seed: int = 3) -> tuple[Prediction, np.ndarray]:
    """A prediction from recorded logits at their own resolution, and its probabilities."""
    logits = np.random.default_rng(seed).normal(0, 3, (classes, 24, 32)).astype(np.float32)
    probabilities = softmax(logits)
    prediction = Prediction(
        mask=logits.argmax(axis=0).astype(np.uint8),
        confidence=probabilities.max(axis=0),
        entropy=entropy(probabilities),
        margin=margin(probabilities),
        version_id=VersionId("0" * 16),
    )
    return prediction, probabilities.astype(np.float64)


def test_edge_01_frame_scores_equal_a_numpy_reference():
    prediction, p = recorded_prediction()
    best = p.max(axis=0)
    ordered = np.sort(p, axis=0)
    doubt = -(p * np.log(p)).sum(axis=0) / np.log(4)
    classes = [doubt[prediction.mask == c].mean() for c in range(4)]
    expected = {
        "entropy": doubt.mean(),
        "margin": 1 - (ordered[-1] - ordered[-2]).mean(),
        "least_confidence": 1 - best.mean(),
        "share_below": (best < 0.7).mean(),
        "cross_entropy": np.mean(classes),
    }
    actual = frame_scores(prediction, section())
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("by", ["piece", "class"])
def test_edge_01_region_scores_equal_a_numpy_reference(by):
    prediction, p = recorded_prediction()
    best, ordered = p.max(axis=0), np.sort(p, axis=0)
    doubt = -(p * np.log(p)).sum(axis=0) / np.log(4)
    regions = region_scores(prediction, 0.7, by=by)
    assert sum(region.area for region in regions) == prediction.mask.size
    if by == "class":
        assert [region.class_id for region in regions] == [0, 1, 2, 3]
        for region in regions:
            inside = prediction.mask == region.class_id
            assert region.area == inside.sum()
            assert region.confidence == pytest.approx(best[inside].mean(), abs=1e-6)
            assert region.entropy == pytest.approx(doubt[inside].mean(), abs=1e-6)
            assert region.margin == pytest.approx(
                (ordered[-1] - ordered[-2])[inside].mean(), abs=1e-6
            )
            assert region.share_below == pytest.approx((best[inside] < 0.7).mean(), abs=1e-6)
    else:
        weighted = sum(region.entropy * region.area for region in regions)
        assert weighted / prediction.mask.size == pytest.approx(doubt.mean(), abs=1e-6)


def test_edge_01_regions_of_a_hand_worked_mask():
    confidence = np.where(LEFT_RIGHT == 0, 0.9, 0.6).astype(np.float32)
    left, right = region_scores(a_prediction(confidence, mask=LEFT_RIGHT), 0.7)
    assert (left.class_id, left.area, left.box) == (0, 8, (0, 0, 1, 3))
    assert (right.class_id, right.area, right.box) == (1, 8, (2, 0, 3, 3))
    assert left.confidence == pytest.approx(0.9, abs=1e-6)
    assert (left.share_below, right.share_below) == (0.0, 1.0)
    assert right.margin == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("entropy", 0.25),  # half the pixels 0.1, half 0.4
        ("margin", 0.5),  # margins 0.8 and 0.2
        ("least_confidence", 0.25),
        ("share_below", 0.5),
        ("cross_entropy", 0.25),  # both classes weigh the same
        ("ibt", 0.5),  # one region of two is doubtful
    ],
)
def test_edge_02_scores_of_a_hand_worked_frame(policy, expected):
    confidence = np.where(LEFT_RIGHT == 0, 0.9, 0.6).astype(np.float32)
    prediction = a_prediction(confidence, mask=LEFT_RIGHT)
    assert frame_scores(prediction, section())[policy] == pytest.approx(expected, abs=1e-6)
    assert judge(prediction, section(policy=policy, threshold=expected - 0.01), {}, 0.5).is_hard
    assert not judge(prediction, section(policy=policy, threshold=expected + 0.01), {}, 0.5).is_hard


def test_a_small_doubtful_object_weighs_as_much_as_the_road_in_cross_entropy():
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[0, 0] = 1
    doubt = np.where(mask == 1, 1.0, 0.0).astype(np.float32)
    scores = frame_scores(a_prediction(0.9, mask=mask, entropy=doubt), section())
    assert scores["entropy"] == pytest.approx(0.01)
    assert scores["cross_entropy"] == pytest.approx(0.5)


planes = st.sampled_from([0.0, 1.0, 0.5, 1e-38, float("nan"), float("inf"), -1.0, 2.0])
masks = st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from([0, 3, 254, 255, "mixed"]))


def mask_of(drawn: tuple) -> np.ndarray:
    height, width, content = drawn
    if content == "mixed":
        return (np.arange(height * width) % 256).reshape(height, width).astype(np.uint8)
    return np.full((height, width), content, dtype=np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    mask=masks,
    confidence=planes,
    doubt=planes,
    gap=planes,
    threshold=st.none() | st.floats(0, 1),
    random_share=st.floats(0, 1),
    empty_is_hard=st.booleans(),
    background_id=st.none() | st.integers(0, 255),
    quantile=st.none() | planes,
    draw=st.floats(0, 1, exclude_max=True),
)
def test_edge_02_every_policy_answers_for_every_input(
    policy, mask, confidence, doubt, gap, threshold, random_share, empty_is_hard, background_id,
    quantile, draw,
):  # fmt: skip
    prediction = a_prediction(confidence, mask=mask_of(mask), entropy=doubt, margin=gap)
    how = section(
        policy=policy, threshold=threshold, random_share=random_share, empty_is_hard=empty_is_hard
    )
    quantiles = {} if quantile is None else {policy: {"0.95": quantile}}
    verdict = judge(prediction, how, quantiles, draw, background_id=background_id)
    assert 0.0 <= verdict.score <= 1.0
    assert verdict.is_hard == bool(verdict.reasons)
    assert all(0.0 <= value <= 1.0 for value in verdict.scores.values())
    assert set(frame_scores(prediction, how)) == set(SCORED)
    for region in region_scores(prediction):
        assert 0.0 <= region.entropy <= 1.0


def test_b5_a_probability_of_zero_and_a_single_class_do_not_crash_the_filters():
    """Sedna's cross entropy raises on log 0 and divides by log 1."""
    for p in ([[1.0], [0.0]], [[1.0]]):
        probabilities = np.array(p, dtype=np.float32)[:, :, None]
        prediction = Prediction(
            mask=np.zeros((1, 1), dtype=np.uint8),
            confidence=probabilities.max(axis=0),
            entropy=entropy(probabilities),
            margin=margin(probabilities),
            version_id=VersionId("0" * 16),
        )
        scores = frame_scores(prediction, section())
        assert scores == dict.fromkeys(SCORED, 0.0)


def test_cloud_only_keeps_and_edge_only_keeps_back_every_frame():
    sure, unsure = a_prediction(1.0), a_prediction(0.0)
    assert judge(sure, section(policy="cloud_only"), {}, 0.5).is_hard
    nothing = section(policy="edge_only", random_share=1.0, empty_is_hard=True, threshold=0.0)
    assert not judge(unsure, nothing, {}, 0.0).is_hard


def test_the_random_policy_keeps_the_share_above_its_quantile():
    how = section(policy="random", quantile="0.75")
    kept = [judge(a_prediction(), how, {}, draw / 100).is_hard for draw in range(100)]
    assert sum(kept) == 25


def test_a_random_share_is_kept_whatever_the_score():
    how = section(random_share=0.1, threshold=1.0)
    kept = judge(a_prediction(0.99), how, {}, 0.09)
    assert kept.is_hard
    assert kept.reasons == ("drawn for the random share of 0.1",)
    assert not judge(a_prediction(0.99), how, {}, 0.1).is_hard


def test_the_threshold_comes_from_the_configuration_then_the_bundle_then_the_fallback():
    quantiles = {"entropy": {"0.95": 0.31, "0.50": 0.1}}
    assert threshold_for(section(threshold=0.2), quantiles)[0] == 0.2
    assert threshold_for(section(), quantiles)[0] == 0.31
    assert threshold_for(section(quantile="0.50"), quantiles)[0] == 0.1
    assert threshold_for(section(policy="margin"), quantiles)[0] == FALLBACK_THRESHOLD
    assert threshold_for(section(), {"entropy": {"0.95": float("nan")}})[0] == FALLBACK_THRESHOLD


def test_a_frame_without_doubt_is_not_hard_for_a_model_that_was_never_in_doubt():
    sure = a_prediction(1.0, entropy=0.0)
    assert not judge(sure, section(), {"entropy": {"0.95": 0.0}}, 0.5).is_hard


@pytest.mark.parametrize(
    ("content", "background_id", "expected"),
    [
        ([[0, 0]], 0, True),
        ([[0, 255]], 0, True),
        ([[0, 1]], 0, False),
        ([[1, 1]], 0, False),
        ([[1, 1]], None, True),  # one class all over: nothing stands out
        ([[0, 1]], None, False),
        ([[255, 255]], 0, True),
        ([[]], 0, True),
    ],
)
def test_edge_03_what_counts_as_empty(content, background_id, expected):
    prediction = a_prediction(1.0, mask=np.array(content, dtype=np.uint8))
    assert is_empty(prediction, background_id) is expected


def test_edge_03_an_empty_frame_is_hard_only_when_the_switch_says_so():
    empty = a_prediction(1.0, mask=np.zeros((4, 4), dtype=np.uint8))
    on, off = section(empty_is_hard=True), section(empty_is_hard=False)
    assert judge(empty, on, {}, 0.5, background_id=0).is_hard
    assert not judge(empty, off, {}, 0.5, background_id=0).is_hard
