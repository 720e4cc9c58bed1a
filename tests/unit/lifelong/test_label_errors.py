"""Errors of annotation, LLL-10: confident learning by hand, regions, and injected noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from annotation.review.audit_scores import with_planted_errors
from lifelong.errors import ShapeError
from lifelong.labels.errors import (
    ClassThresholds,
    most_suspicious,
    suspects,
    suspicion,
    without_suspects,
)

ROAD, CAR, PERSON = 0, 1, 2


def sure_of(mask: NDArray[np.uint8], confidence: float = 0.9) -> NDArray[np.float32]:
    """(3, H, W): a model that is so sure of this mask, its other classes alike."""
    shares = np.full((3, *mask.shape), (1.0 - confidence) / 2, dtype=np.float32)
    np.put_along_axis(shares, mask[None].astype(np.intp), np.float32(confidence), axis=0)
    return shares


def a_street() -> NDArray[np.uint8]:
    """(40, 60): road, a car of 12 x 16 and a person of 14 x 6."""
    mask = np.full((40, 60), ROAD, dtype=np.uint8)
    mask[10:22, 5:21] = CAR
    mask[12:26, 40:46] = PERSON
    return mask


def thresholds_of(shares: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    thresholds = ClassThresholds(3)
    thresholds.add(shares, mask)
    return thresholds.values


def test_lll_10_thresholds_are_mean_self_confidence() -> None:
    shares = np.array([[[0.6, 0.8, 0.1]], [[0.3, 0.1, 0.5]], [[0.1, 0.1, 0.4]]], dtype=np.float32)
    found = thresholds_of(shares, np.array([[ROAD, ROAD, CAR]], dtype=np.uint8))
    assert found == pytest.approx([0.7, 0.5, 0.9])  # nobody says person: nearly certain it must be
    unknown = thresholds_of(shares, np.array([[ROAD, 255, 255]], dtype=np.uint8))
    assert unknown[:2] == pytest.approx([0.6, 0.9])


def test_lll_10_a_renamed_and_a_dropped_object_are_found_with_their_places() -> None:
    truth = a_street()
    said = truth.copy()
    said[truth == CAR] = PERSON  # renamed
    said[truth == PERSON] = ROAD  # left out
    shares = sure_of(truth)
    found = suspects(shares, said, np.array([0.7, 0.7, 0.7]))
    told = [(r.class_id, r.taken_for, r.area, r.box) for r in found.regions]
    assert told == [
        (PERSON, CAR, 192, (5, 10, 20, 21)),
        (ROAD, PERSON, 84, (40, 12, 45, 25)),
    ]
    assert [r.score for r in found.regions] == pytest.approx([0.85, 0.85])
    assert np.array_equal(found.places == 1, truth == CAR)
    assert np.array_equal(found.places == 2, truth == PERSON)
    left = without_suspects(said, found)
    assert (left[truth != ROAD] == 255).all()
    assert np.array_equal(left[truth == ROAD], said[truth == ROAD])
    assert suspicion(found.regions) == pytest.approx(0.85 * np.sqrt(192))


def test_lll_10_seams_specks_doubts_and_the_unknown_are_left_alone() -> None:
    truth = a_street()
    seam = truth.copy()
    seam[10:22, 21:24] = CAR  # three pixels too wide
    assert suspects(sure_of(truth), seam, np.full(3, 0.7)).regions == ()
    speck = truth.copy()
    speck[30:33, 30:33] = CAR
    assert suspects(sure_of(truth), speck, np.full(3, 0.7)).regions == ()
    wrong = np.where(truth == CAR, PERSON, truth).astype(np.uint8)
    assert suspects(sure_of(truth, 0.6), wrong, np.full(3, 0.7)).regions == (), "not sure enough"
    nobody = np.where(truth == CAR, 255, truth).astype(np.uint8)
    assert suspects(sure_of(truth), nobody, np.full(3, 0.7)).regions == ()


def test_lll_10_a_shy_class_may_contradict_when_it_is_as_sure_as_usual() -> None:
    truth = a_street()
    said = np.where(truth == PERSON, ROAD, truth).astype(np.uint8)
    shares = sure_of(truth, 0.5)
    shy = np.array([0.9, 0.9, 0.4])
    assert [r.taken_for for r in suspects(shares, said, shy).regions] == [PERSON]


def test_lll_10_ranking_weighs_score_by_the_root_of_the_area() -> None:
    truth = a_street()
    one = suspects(sure_of(truth), np.zeros_like(truth), np.full(3, 0.7))
    other = suspects(
        sure_of(truth, 0.99), np.where(truth == PERSON, ROAD, truth).astype(np.uint8),
        np.full(3, 0.7),
    )  # fmt: skip
    ranked = most_suspicious([other, one], 3)
    assert [(place, region.area) for place, region in ranked] == [(1, 192), (0, 84), (1, 84)]
    assert most_suspicious([other, one], 1) == ranked[:1]


def test_lll_10_injected_noise_is_found_by_a_model_that_is_mostly_right() -> None:
    """Precision and recall at as many looks as errors; the model errs too, less surely."""
    random = np.random.default_rng(0)
    found, planted = [], []
    for seed in range(12):
        truth = np.full((80, 120), ROAD, dtype=np.uint8)
        for _ in range(5):
            y, x = int(random.integers(0, 60)), int(random.integers(0, 95))
            truth[y : y + 16, x : x + 20] = random.integers(1, 3)
        said = with_planted_errors(truth, classes=3, errors=2, seed=seed)
        shares = sure_of(truth, 0.85)
        blur = random.dirichlet((1.0, 1.0, 1.0), size=truth.shape).transpose(2, 0, 1)
        shares = (0.8 * shares + 0.2 * blur).astype(np.float32)
        found.append(suspects(shares, said, np.full(3, 0.7)))
        planted.append(said != truth)
    errors = 2 * 12
    hits = [
        planted[place][found[place].places == 1 + found[place].regions.index(region)].mean() >= 0.5
        for place, region in most_suspicious(found, errors)
    ]
    assert np.mean(hits) >= 0.9
    wrong = sum(int(one.sum()) for one in planted)
    caught = sum(int((one & (f.places > 0)).sum()) for one, f in zip(planted, found, strict=True))
    assert caught / wrong >= 0.7


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 24), st.integers(1, 24))
def test_lll_10_any_picture_gets_an_answer_that_adds_up(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(4, 0.3), size=(height, width)).transpose(2, 0, 1)
    mask = random.choice([0, 1, 2, 3, 255], size=(height, width)).astype(np.uint8)
    found = suspects(shares.astype(np.float32), mask, np.full(4, 0.3))
    assert found.places.max(initial=0) == len(found.regions)
    for number, region in enumerate(found.regions, start=1):
        there = found.places == number
        assert int(there.sum()) == region.area >= 16
        assert set(mask[there].tolist()) == {region.class_id} != {255}
        assert region.taken_for != region.class_id
        assert 0.0 < region.score <= 1.0


def test_lll_10_other_sizes_and_classes_are_refused() -> None:
    mask = a_street()
    with pytest.raises(ShapeError):
        suspects(sure_of(mask)[:, :-1], mask, np.full(3, 0.7))
    with pytest.raises(ShapeError):
        ClassThresholds(4).add(sure_of(mask), mask)
