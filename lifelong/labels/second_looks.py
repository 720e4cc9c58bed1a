"""Another look at the same picture, by the same model on its mirror image or by another model."""

from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lifelong.records.pixels import Prediction

T = TypeVar("T", bound=np.generic)


class Segmenter(Protocol):
    """Answers for (H, W, 3) uint8 RGB images."""

    def segment(self, image: NDArray[np.uint8]) -> Prediction: ...


def mirrored_look(segmenter: Segmenter, image: NDArray[np.uint8]) -> Prediction:
    """What the model says of the mirrored picture, mirrored back.

    A street is as likely as its mirror image: where the two answers differ, one of them is wrong,
    whatever the model's confidence (Wang et al. 2019, "Aleatoric uncertainty estimation with
    test-time augmentation …").

    Args:
        image: (H, W, 3), uint8, RGB.

    Raises:
        ModelOutputError: the model cannot answer.
    """
    there = segmenter.segment(np.ascontiguousarray(image[:, ::-1]))
    return replace(
        there,
        mask=_mirrored(there.mask),
        confidence=_mirrored(there.confidence),
        entropy=_mirrored(there.entropy),
        margin=_mirrored(there.margin),
        watched={class_id: _mirrored(plane) for class_id, plane in there.watched.items()},
    )


def _mirrored(plane: NDArray[T]) -> NDArray[T]:
    return np.ascontiguousarray(plane[:, ::-1])
