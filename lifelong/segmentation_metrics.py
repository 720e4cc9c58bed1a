"""How good is a semantic mask: confusion matrix, IoU per class, mIoU, pixel accuracy."""

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError


def confusion_matrix(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Count pixels by what they are and what they were taken for.

    Pixels without a class (255, or any id from `classes` on) in either mask are not counted.

    Args:
        truth, predicted: (H, W), uint8, class ids and 255, equal shapes.

    Returns:
        (classes, classes), int64; row = truth, column = predicted. Matrices of several pictures
        may be added.

    Raises:
        ShapeError: the masks differ in size.

    >>> truth = np.array([[0, 0], [1, 255]], dtype=np.uint8)
    >>> predicted = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    >>> confusion_matrix(truth, predicted, 2).tolist()
    [[1, 1], [0, 1]]
    """
    if truth.shape != predicted.shape:
        raise ShapeError(f"truth {truth.shape} and prediction {predicted.shape} differ in size")
    counted = (truth < classes) & (predicted < classes)
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou_per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU_c = TP_c / (TP_c + FP_c + FN_c), the Jaccard index of each class.

    Returns:
        (C,), float64, 0 .. 1; NaN for classes that the truth does not hold.

    >>> iou_per_class(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
    [0.5, 0.5, nan]
    """
    hits = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    present = matrix.sum(axis=1) > 0
    return np.where(present, hits / np.maximum(union, 1), np.nan)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """mIoU: mean of `iou_per_class` over the classes that the truth of the data set holds.

    A class that the data set does not hold is left out of the mean; pixels wrongly taken for it
    are missing from the IoU of their own class. NaN when no pixel is labelled at all.

    >>> mean_iou(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
    0.5
    """
    values = iou_per_class(matrix)
    present = ~np.isnan(values)
    return float(values[present].mean()) if present.any() else float("nan")


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of the labelled pixels that are right; NaN when there are none.

    >>> round(pixel_accuracy(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])), 4)
    0.6667
    """
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else float("nan")
