"""ANN-08: errors are planted where they can be seen, and counted as found or missed."""

import numpy as np
import pytest

from annotation.review.audit_scores import (
    count_errors,
    errors_in,
    score_answer,
    with_planted_errors,
)
from tests.builders import SMALL_MAP, a_mask


def street() -> np.ndarray:
    """Road with two cars and a person on it, and an unlabelled corner."""
    truth = np.zeros((60, 80), dtype=np.uint8)
    truth[10:25, 10:30] = 1
    truth[35:50, 45:70] = 1
    truth[5:20, 60:66] = 2
    truth[50:, :10] = 255
    return truth


@pytest.mark.parametrize("seed", range(6))
def test_ann_08_planted_errors_can_be_seen_and_are_the_same_again(seed: int) -> None:
    truth = street()
    draft = with_planted_errors(truth, classes=3, errors=3, seed=seed)
    assert np.array_equal(draft, with_planted_errors(truth, classes=3, errors=3, seed=seed))
    assert 1 <= len(errors_in(draft, truth)) <= 3  # neighbours may run into one
    assert (draft[truth == 255] == 255).all()
    # The draft as it is misses them all; the truth finds them all and spoils nothing.
    kept, right = count_errors(draft, draft, truth), count_errors(draft, truth, truth)
    assert (kept.found, kept.missed) == (0, len(errors_in(draft, truth)))
    assert (right.found, right.missed) == (len(errors_in(draft, truth)), 0)
    assert kept.spoiled_share == right.spoiled_share == 0.0


def test_ann_08_a_picture_of_one_class_still_gets_an_error() -> None:
    truth = np.zeros((60, 80), dtype=np.uint8)
    draft = with_planted_errors(truth, classes=3, errors=2, seed=1)
    assert errors_in(draft, truth)


def test_ann_08_thin_seams_are_no_errors() -> None:
    truth = street()
    seam = truth.copy()
    seam[9, 10:30] = 1  # one row too many
    assert errors_in(seam, truth) == []
    assert score_answer(seam, truth, SMALL_MAP).right_share < 1.0


def test_ann_08_an_error_counts_as_found_when_half_of_it_is_right() -> None:
    truth = street()
    draft = truth.copy()
    draft[10:25, 10:30] = 0  # a car left out
    half, less = draft.copy(), draft.copy()
    half[10:25, 10:20] = 1
    less[10:25, 10:18] = 1
    assert count_errors(draft, half, truth).found == 1
    assert count_errors(draft, less, truth).missed == 1
    worse = draft.copy()
    worse[35:50, 45:70] = 2  # and spoiled another one
    assert count_errors(draft, worse, truth).spoiled_share == pytest.approx(375 / 4700)


def test_ann_08_scores_leave_out_what_the_answer_does_not_know() -> None:
    truth = street()
    guessed = truth.copy()
    guessed[truth == 255] = 2
    score = score_answer(guessed, truth, SMALL_MAP)
    assert (score.miou, score.boundary, score.right_share) == (1.0, 1.0, 1.0)
    assert score.iou.keys() == {"road", "car", "person"}
    assert score_answer(a_mask(1, 60, 80), truth, SMALL_MAP).miou < 0.5
