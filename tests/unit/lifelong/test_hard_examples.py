"""Hard example mining: EDGE-01 (scores), EDGE-02 (total policies), EDGE-03 (empty frames),
EDGE-06 (novelty) and EDGE-07 (second looks) as policies."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.hard_examples import (
    FALLBACK_THRESHOLD,
    disagreement,
    frame_scores,
    is_empty,
    judge,
    threshold_for,
)
from lifelong.labels.region_doubts import region_scores
from lifelong.preprocessing import softmax
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Prediction
from lifelong.sections.edge import HardExamplesSection
from lifelong.uncertainty import entropy, margin
from tests.builders import a_prediction

POLICIES = get_args(HardExamplesSection.model_fields["policy"].annotation)
SCORED = ("entropy", "margin", "least_confidence", "share_below", "cross_entropy", "ibt")
LEFT_RIGHT = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)  # two regions of 8 pixels


def section(**changes) -> HardExamplesSection:
    """By entropy unless a test says otherwise, whatever the default is."""
    return HardExamplesSection(**{"policy": "entropy", **changes})


def coarse(prediction: Prediction, height: int, width: int) -> Prediction:
    """The same doubt all over, on a grid of its own."""

    def everywhere(plane):
        return np.full((height, width), plane.ravel()[0])

    return replace(
        prediction,
        confidence=everywhere(prediction.confidence),
        entropy=everywhere(prediction.entropy),
        margin=everywhere(prediction.margin),
    )


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
    novelty=st.none() | planes,
    class_novelty=st.dictionaries(st.integers(0, 255), planes, max_size=2),
    novel_from=st.none() | st.floats(0, 1),
    other=st.none() | masks,
    is_coarse=st.booleans(),
)
def test_edge_02_every_policy_answers_for_every_input(
    policy, mask, confidence, doubt, gap, threshold, random_share, empty_is_hard, background_id,
    quantile, draw, novelty, class_novelty, novel_from, other, is_coarse,
):  # fmt: skip
    prediction = a_prediction(confidence, mask=mask_of(mask), entropy=doubt, margin=gap)
    prediction = replace(prediction, novelty=novelty, class_novelty=class_novelty)
    if is_coarse and prediction.mask.size:
        prediction = coarse(prediction, 1, 2)
    how = section(
        policy=policy, threshold=threshold, random_share=random_share, empty_is_hard=empty_is_hard,
        novel_from=novel_from,
    )  # fmt: skip
    quantiles = {} if quantile is None else {policy: {"0.95": quantile}}
    second = None if other is None else a_prediction(mask=mask_of(other))
    verdict = judge(prediction, how, quantiles, draw, background_id=background_id, second=second)
    assert 0.0 <= verdict.score <= 1.0
    assert 0.0 <= verdict.priority <= 1.0
    assert (verdict.novelty is None) == (novelty is None)
    assert verdict.is_hard == bool(verdict.reasons)
    assert all(0.0 <= value <= 1.0 for value in verdict.scores.values())
    assert set(frame_scores(prediction, how)) - {"novelty", "class_novelty"} == set(SCORED)
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


def test_edge_01_scores_on_the_networks_own_grid_equal_a_numpy_reference():
    """The mask is four times as large as the logits it was enlarged from."""
    small, p = recorded_prediction()
    prediction = replace(small, mask=np.repeat(np.repeat(small.mask, 4, axis=0), 4, axis=1))
    best, doubt = p.max(axis=0), -(p * np.log(p)).sum(axis=0) / np.log(4)
    scores = frame_scores(prediction, section())
    assert scores["entropy"] == pytest.approx(doubt.mean(), abs=1e-6)
    assert scores["share_below"] == pytest.approx((best < 0.7).mean(), abs=1e-6)
    for region in region_scores(prediction, 0.7, by="class"):
        inside = small.mask == region.class_id
        assert region.area == 16 * inside.sum()
        assert region.confidence == pytest.approx(best[inside].mean(), abs=1e-6)
        rows, columns = np.nonzero(inside)
        assert region.box[:2] == (4 * columns.min(), 4 * rows.min())
        assert region.box[2:] == (4 * columns.max() + 3, 4 * rows.max() + 3)


def test_a_class_smaller_than_a_cell_of_the_network_takes_the_doubt_of_its_cell():
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[0, 7] = 1  # in the upper right of four cells, away from its middle
    planes = np.array([[0.9, 0.6], [0.9, 0.9]], dtype=np.float32)
    prediction = replace(
        a_prediction(mask=mask), confidence=planes, entropy=1 - planes, margin=planes
    )
    road, speck = region_scores(prediction, 0.7, by="class")
    assert (speck.area, speck.box) == (1, (7, 0, 7, 0))
    assert speck.confidence == pytest.approx(0.6)
    assert speck.share_below == 1.0
    assert road.area == 63
    assert road.confidence == pytest.approx(0.825)


def test_edge_06_novelty_is_a_policy_and_what_the_strangest_class_says_counts():
    familiar = replace(a_prediction(), novelty=0.3, class_novelty={0: 0.2})
    strange_thing = replace(familiar, class_novelty={0: 0.2, 1: 0.8})
    how, told = section(policy="novelty"), {"novelty": {"0.95": 0.5}}
    assert not judge(familiar, how, told, 0.5).is_hard
    verdict = judge(strange_thing, how, told, 0.5)
    assert (verdict.is_hard, verdict.score, verdict.novelty) == (True, 0.8, 0.8)
    assert verdict.scores["class_novelty"] == 0.8


def test_edge_06_a_novel_frame_is_hard_for_every_policy_when_novel_from_says_so():
    novel = replace(a_prediction(1.0), novelty=0.7)
    how = section(policy="entropy", threshold=1.0, novel_from=0.6)
    assert judge(novel, how, {}, 0.5).reasons == ("novelty 0.700 reaches 0.600 (novel_from)",)
    assert not judge(novel, section(policy="entropy", threshold=1.0), {}, 0.5).is_hard
    assert not judge(a_prediction(1.0), how, {}, 0.5).is_hard  # this bundle cannot say
    assert not judge(novel, section(policy="edge_only", novel_from=0.0), {}, 0.5).is_hard


def test_priority_is_hardness_times_novelty():
    prediction = replace(a_prediction(entropy=0.5), novelty=0.4)
    assert judge(prediction, section(), {}, 0.5).priority == pytest.approx(0.2)
    assert judge(a_prediction(entropy=0.5), section(), {}, 0.5).priority == pytest.approx(0.5)


@pytest.mark.parametrize("policy", ["flip_consistency", "disagreement"])
def test_edge_07_pixels_on_which_two_looks_differ_make_a_frame_hard(policy):
    first = a_prediction(1.0, mask=LEFT_RIGHT)
    second = a_prediction(
        1.0, mask=np.where(np.arange(16).reshape(4, 4) < 4, 2, LEFT_RIGHT).astype(np.uint8)
    )
    verdict = judge(first, section(policy=policy, threshold=0.25), {}, 0.5, second=second)
    assert (verdict.is_hard, verdict.score) == (True, 0.25)
    assert not judge(first, section(policy=policy, threshold=0.3), {}, 0.5, second=second).is_hard
    assert judge(first, section(policy=policy), {}, 0.5, second=first).score == 0.0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("disagreement", "no previous model"),
        ("flip_consistency", "no second look"),
        ("novelty", "no prototypes"),
    ],
)
def test_edge_07_without_a_second_look_the_score_is_0_and_says_so(policy, words):
    verdict = judge(a_prediction(0.0), section(policy=policy, threshold=0.0), {}, 0.5)
    assert (verdict.score, verdict.is_hard) == (0.0, False)
    assert words in verdict.missing
    assert judge(a_prediction(), section(), {}, 0.5).missing == ""


def test_predictions_of_pictures_of_different_size_agree_nowhere():
    assert disagreement(a_prediction(), a_prediction(mask=LEFT_RIGHT)) == 1.0
