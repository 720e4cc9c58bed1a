"""What a model for clicks must do: take in a picture once, then decode one prompt at a time.

Arrays are numpy's, so that torch and ONNX runtime can stand behind the same port, and so that an
embedding can be kept on disk whoever made it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lifelong.records.prompts import Prompt


def go_on() -> None:
    """The pause of work that nobody needs to interrupt."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One picture as a model sees it; only a model of the same digest understands the arrays."""

    height: int  # of the upright picture, pixels
    width: int
    # By the model's own names, each with batch size 1 in front; to be read only.
    arrays: Mapping[str, NDArray[np.generic]]

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take in memory."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True, slots=True)
class Decoded:
    """K masks for one prompt, in the decoder's own size."""

    low_res: NDArray[np.float32]  # (K, h, w) logits; above 0 is the object
    predicted_iou: NDArray[np.float32]  # (K,), the model's own guess; may be a little over 1


class InteractiveModel(Protocol):
    """A model with its weights; every method may be called from many threads at once."""

    name: str  # as the configuration says it, e.g. sam_vit_b
    # SHA-256, hex, over the weights and everything else that changes an embedding: architecture,
    # precision, version of the preprocessing.
    digest: str
    # Was it trained to take masks as prompts? The shipped tiny SAM was not.
    takes_masks: bool

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        """What the decoder needs of a picture of any size.

        Args:
            image: (H, W, 3) RGB.
            pause: called between layers where the model can do so; it may take long, because
                others go first, and raises what shall end the work.

        Raises:
            ShapeError: not (H, W, 3) uint8, or without a pixel.
        """

    def decode(
        self, embedded: Embedded, prompt: Prompt, *, previous: NDArray[np.float32] | None,
        several: bool,
    ) -> Decoded:  # fmt: skip
        """Answer points and at most one box, which together mean one object.

        Args:
            prompt: in pixels of the upright picture; may be empty where there is `previous`.
            previous: (h, w) float32 logits of an earlier answer, or of a drawn mask; to be given
                to models that `takes_masks` only.
            several: three masks that the prompt may mean, in the model's own order (HQ-SAM
                has one in any case); else the one mask of an unambiguous prompt.

        Raises:
            PromptError: nothing to go by, or more than one box.
        """

    def enlarge(self, low_res: NDArray[np.float32], embedded: Embedded) -> NDArray[np.float32]:
        """(K, h, w) low-resolution logits to (K, H, W) float32 logits of the picture's pixels."""

    def hint(self, drawn: NDArray[np.bool_], embedded: Embedded) -> NDArray[np.float32]:
        """A (H, W) mask of the picture as (h, w) logits that `decode` takes as `previous`."""
