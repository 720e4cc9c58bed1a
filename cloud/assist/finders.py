"""What the segmenter asks of those who find objects by words, or by an example of them.

Both get the picture as the click model sees it, so that a mask costs a decoder pass and no second
encoder; whoever looks at the pixels with a model of its own fetches them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Found, Mask, Thresholds
from cloud.assist.interactive_model import Embedded, InteractiveModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A picture and the model for clicks that has taken it in."""

    digest: str  # SHA-256 of the encoded picture, hex: a key for what a finder wants to keep
    model: InteractiveModel
    embedded: Embedded
    pixels: Callable[[], NDArray[np.uint8]]  # (H, W, 3) RGB; fetched and decoded when called
    # To be called now and then by long work: waits while somebody's click is answered, and ends
    # the work with an error where it was cancelled.
    pause: Callable[[], None]


class WordFinder(Protocol):
    """Finds what words name; may be called from many threads at once."""

    def find(
        self, seen: Seen, words: Sequence[str], *, labels: Sequence[str], thresholds: Thresholds
    ) -> Sequence[Found]:
        """See `PromptedSegmenter.find`."""


class LikenessFinder(Protocol):
    """Finds what looks like an example; may be called from many threads at once."""

    def find_like(self, seen: Seen, example: Mask, *, label: str) -> Sequence[Found]:
        """See `PromptedSegmenter.find_like`."""
