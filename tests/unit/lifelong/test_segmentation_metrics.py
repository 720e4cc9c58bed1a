"""Confusion matrix, IoU, mIoU and pixel accuracy against examples worked out by hand."""

import doctest
import math

import numpy as np
import pytest

from lifelong import segmentation_metrics
from lifelong.errors import ShapeError
from lifelong.segmentation_metrics import (
    confusion_matrix,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)

# Truth:      0 0 1 1      Answer:  0 1 1 1
#             0 0 1 1               0 0 1 0
#             2 2 . .               2 1 2 0        . = 255, ignored
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 255, 255]], dtype=np.uint8)
ANSWER = np.array([[0, 1, 1, 1], [0, 0, 1, 0], [2, 1, 2, 0]], dtype=np.uint8)


def test_the_doctests_hold():
    assert doctest.testmod(segmentation_metrics).failed == 0


def test_a_hand_worked_picture():
    matrix = confusion_matrix(TRUTH, ANSWER, 4)
    assert matrix.tolist() == [[3, 1, 0, 0], [1, 3, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    # Class 0: 3 of 3+1+1; class 1: 3 of 3+2+1; class 2: 1 of 1+0+1; class 3 is not there.
    assert iou_per_class(matrix)[:3].tolist() == [0.6, 0.5, 0.5]
    assert math.isnan(iou_per_class(matrix)[3])
    assert pytest.approx(mean_iou(matrix)) == (0.6 + 0.5 + 0.5) / 3
    assert pytest.approx(pixel_accuracy(matrix)) == 0.7


def test_a_class_absent_from_the_labels_is_left_out_of_the_mean():
    truth = np.zeros((4, 4), dtype=np.uint8)
    answer = truth.copy()
    answer[0] = 1  # a quarter taken for a class that is nowhere
    assert mean_iou(confusion_matrix(truth, answer, 19)) == 0.75


def test_ignored_pixels_count_nowhere():
    truth = np.full((2, 2), 255, dtype=np.uint8)
    matrix = confusion_matrix(truth, np.zeros((2, 2), dtype=np.uint8), 3)
    assert matrix.sum() == 0
    assert math.isnan(mean_iou(matrix))
    assert math.isnan(pixel_accuracy(matrix))


def test_matrices_of_pictures_add_up_to_that_of_the_data_set():
    parts = sum(confusion_matrix(TRUTH[i : i + 1], ANSWER[i : i + 1], 4) for i in range(3))
    assert (confusion_matrix(TRUTH, ANSWER, 4) == parts).all()


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match="differ in size"):
        confusion_matrix(TRUTH, ANSWER[:2], 4)
