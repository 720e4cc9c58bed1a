"""LLL-07: intervals of mIoU and of its differences, by bootstrap over pictures."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.errors import ShapeError
from lifelong.judging import confidence_intervals
from lifelong.judging.confidence_intervals import (
    TRUTH,
    Bootstrap,
    Interval,
    class_gains,
    drawn_mious,
    drawn_pictures,
    gain_interval,
    interval_of,
    mean_gain,
    miou_interval,
    miou_of,
)
from lifelong.segmentation_metrics import confusion_matrix, mean_iou


def some_counts(pictures, classes=5, seed=0, skill=0.7, rare=0.0):
    """Counts of a made-up model: a share of each class hit, some pixels answered wrongly."""
    random = np.random.default_rng(seed)
    truth = random.integers(1, 2000, (pictures, classes))
    truth[:, 1:] *= random.random((pictures, classes - 1)) >= rare
    share = np.clip(skill + random.normal(0, 0.1, truth.shape), 0, 1)
    hits = (truth * share).astype(np.int64)
    answered = hits + random.integers(0, 300, truth.shape)
    return np.stack([hits, truth, answered], axis=-1)


def better(counts, by, seed=9):
    """The same pictures by a model that hits so much more of each class."""
    noise = np.random.default_rng(seed).normal(by, 0.02, counts.shape[:2])
    more = np.clip((counts[..., 1] * noise).astype(np.int64), 0, counts[..., 1] - counts[..., 0])
    return counts + np.stack([more, np.zeros_like(more), more], axis=-1)


def test_the_doctests_hold():
    assert doctest.testmod(confidence_intervals).failed == 0


def test_lll07_counts_say_the_same_as_the_confusion_matrix():
    random = np.random.default_rng(3)
    truth = random.integers(0, 6, (4, 20, 30)).astype(np.uint8)
    truth[truth == 5] = 255
    answers = random.integers(0, 5, truth.shape).astype(np.uint8)
    matrices = np.stack([confusion_matrix(t, a, 5) for t, a in zip(truth, answers, strict=True)])
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([hits, matrices.sum(axis=2), matrices.sum(axis=1)], axis=-1)
    assert miou_of(counts.sum(axis=0)) == pytest.approx(mean_iou(matrices.sum(axis=0)))


def test_equal_models_differ_by_nothing():
    counts = some_counts(30)
    assert gain_interval(counts, counts, Bootstrap()) == Interval(0.0, 0.0, 0.0)


def test_a_gain_on_every_picture_is_beyond_noise_and_chance_is_not():
    before = some_counts(34)
    assert gain_interval(before, better(before, 0.1), Bootstrap()).low > 0
    wavering = gain_interval(before, some_counts(34, seed=0, skill=0.7), Bootstrap())
    assert wavering.low <= 0 <= wavering.high


def test_an_interval_is_narrower_with_more_pictures_and_wider_with_more_confidence():
    def width(pictures, **settings_of):
        found = miou_interval(some_counts(pictures, seed=5), Bootstrap(**settings_of))
        return found.high - found.low

    assert width(400) < width(40)
    assert width(40, confidence=0.8) < width(40, confidence=0.99)


def test_blocks_widen_the_interval_of_frames_that_resemble_their_neighbours():
    scenes = some_counts(12, seed=2)
    video = np.repeat(scenes, 6, axis=0)  # each scene stands still for six frames
    one_by_one = miou_interval(video, Bootstrap(block=1))
    in_runs = miou_interval(video, Bootstrap(block=6))
    assert in_runs.high - in_runs.low > 1.5 * (one_by_one.high - one_by_one.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of 300 hold-outs of 34 pictures; the percentile interval is known to be a little narrow."""
    everything = some_counts(4000, seed=11)
    true = float(miou_of(everything.sum(axis=0)))
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        drawn = everything[random.choice(len(everything), 34, replace=False)]
        found = miou_interval(drawn, Bootstrap(resamples=200))
        held += found.low <= true <= found.high
    assert 0.88 <= held / 300 <= 0.99


def test_every_draw_has_as_many_pictures_and_runs_stay_together():
    for block in (0, 1, 4, 99):
        drawn = np.concatenate(list(drawn_pictures(10, Bootstrap(resamples=50, block=block))))
        assert drawn.shape == (50, 10)
        assert (drawn.sum(axis=1) == 10).all()
    whole = np.concatenate(list(drawn_pictures(10, Bootstrap(resamples=5, block=10))))
    assert (whole == 1).all()  # one run round the circle is the hold-out itself


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    counts = some_counts(20)
    assert miou_interval(counts, Bootstrap(seed=4)) == miou_interval(counts, Bootstrap(seed=4))
    assert miou_interval(counts, Bootstrap(seed=4)) != miou_interval(counts, Bootstrap(seed=5))


def test_draws_in_pieces_are_as_many_as_asked_for(monkeypatch):
    monkeypatch.setattr(confidence_intervals, "_AT_ONCE", 70)
    counts = some_counts(20)
    assert drawn_mious([counts], Bootstrap(resamples=101)).shape == (101, 1)


def test_columns_of_drawn_mious_are_paired():
    before = some_counts(20)
    after = better(before, 0.1)
    how = Bootstrap()
    mious = drawn_mious([before, after], how)
    apart = interval_of(0.0, mious[:, 1] - mious[:, 0], how)
    assert (apart.low, apart.high) == (
        gain_interval(before, after, how).low,
        gain_interval(before, after, how).high,
    )


def test_a_mean_over_hold_outs_weighs_each_alike():
    one, other = some_counts(30, seed=1), some_counts(10, seed=2)
    found = mean_gain([(one, better(one, 0.2)), (other, other)], Bootstrap())
    assert found.value == pytest.approx(gain_interval(one, better(one, 0.2), Bootstrap()).value / 2)


def test_a_class_is_judged_on_the_pictures_that_show_it():
    before = some_counts(20)
    before[1:, 2] = 0  # one picture shows it
    before[:, 3] = 0  # none does
    after = before.copy()
    after[:, 1, 0] = 0  # erased
    after[:, 1, 2] = 0
    gains = class_gains(before, after, Bootstrap())
    assert gains[2] is None and gains[3] is None
    assert gains[1] is not None and gains[1].high < -0.5
    assert gains[0] == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.zeros((3, 4), np.int64), np.zeros((3, 4), np.int64)),
        (np.zeros((0, 4, 3), np.int64), np.zeros((0, 4, 3), np.int64)),
        (some_counts(3), some_counts(4)),
        (some_counts(3), some_counts(3)[::-1]),
    ],
)
def test_counts_that_do_not_belong_together_are_refused(before, after):
    with pytest.raises(ShapeError, match="counts"):
        gain_interval(before, after, Bootstrap())
    with pytest.raises(ShapeError, match="at least one"):
        mean_gain([], Bootstrap())


@settings(max_examples=40, deadline=None)
@given(
    pictures=st.integers(1, 40),
    seed=st.integers(0, 1000),
    rare=st.sampled_from([0.0, 0.5, 0.95]),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_pictures_changes_nothing_without_blocks(pictures, seed, rare, order):
    before = some_counts(pictures, seed=seed, rare=rare)
    after = better(before, 0.05, seed=seed + 1)
    places = list(range(pictures))
    order.shuffle(places)
    how = Bootstrap(resamples=100, block=1)
    assert gain_interval(before, after, how) == gain_interval(before[places], after[places], how)
    assert class_gains(before, after, how) == class_gains(before[places], after[places], how)


@settings(max_examples=40, deadline=None)
@given(pictures=st.integers(1, 40), seed=st.integers(0, 1000), block=st.integers(0, 9))
def test_a_model_that_hits_more_on_every_picture_has_no_credible_loss(pictures, seed, block):
    before = some_counts(pictures, seed=seed, rare=0.4)
    after = better(before, 0.1)
    assert (after[..., TRUTH] == before[..., TRUTH]).all()
    found = gain_interval(before, after, Bootstrap(resamples=100, block=block))
    assert 0.0 <= found.low <= found.high
