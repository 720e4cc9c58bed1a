"""A model in memory: how one is loaded, and that it answers before it counts as loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.models.kept_models import Offer
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Prediction

GREY = 127
WARM_UP_RUNS = 2  # the first run allocates, the second is what a frame will take


class Segmenter(Protocol):
    """What the slot holds: answers for (H, W, 3) uint8 RGB images."""

    def segment(self, image: NDArray[np.uint8]) -> Prediction: ...


Load = Callable[[ModelBundle], Segmenter]
# Opens a bundle where it can do no harm, with the last frame (or None); raises ModelError.
Trial = Callable[[ModelBundle, NDArray[np.uint8] | None], None]


@dataclass(slots=True)
class Loaded:
    """A model that has been warmed up, and how many frames it has answered."""

    offer: Offer
    segmenter: Segmenter
    answered: int = 0

    @property
    def version_id(self) -> VersionId:
        """Which model it is."""
        return self.offer.bundle.version_id


def warm_up(segmenter: Segmenter, bundle: ModelBundle) -> None:
    """Let a model answer a grey picture before it counts as loaded.

    Raises:
        ModelError: it does not answer, or answers what its manifest does not promise.
    """
    how = bundle.manifest.preprocessing
    grey = np.full((how.height, how.width, 3), GREY, dtype=np.uint8)
    for _ in range(WARM_UP_RUNS):
        segmenter.segment(grey)
