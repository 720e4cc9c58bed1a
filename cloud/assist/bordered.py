"""Objects that touch the border of a picture, masked up to it.

A SAM of the first generation scales the longer side of a picture to its encoder's and fills the
rest with zeros. Where the picture ends and the zeros begin, a small model takes the edge for the
end of whatever touches it. Here a strip of the picture, mirrored, comes in between: the zeros begin
further on, the scale stays the same, and what the strip gets for a mask is cut off.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cloud.assist.interactive_model import Decoded, Embedded, InteractiveModel, go_on
from lifelong.records.prompts import Prompt

# Of the longer side: one cell of the features. Measured on CamVid, see docs/assist.md: half of it
# and twice as much help less.
_SHARE = 16


class BorderedModel:
    """See `InteractiveModel`; for models that pad pictures to a square."""

    def __init__(self, model: InteractiveModel) -> None:
        self.name, self.takes_masks = model.name, model.takes_masks
        self.digest = hashlib.sha256(f"{model.digest} mirrored 1/{_SHARE}".encode()).hexdigest()
        self._model = model

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        """See `InteractiveModel`."""
        height, width = image.shape[:2]
        rows, columns = strip(height, width)
        if rows or columns:
            image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="reflect")
        return Embedded(height, width, self._model.embed(image, pause=pause).arrays)

    def decode(
        self, embedded: Embedded, prompt: Prompt, *, previous: NDArray[np.float32] | None,
        several: bool,
    ) -> Decoded:  # fmt: skip
        """See `InteractiveModel`."""
        return self._model.decode(_with_strip(embedded), prompt, previous=previous, several=several)

    def enlarge(self, low_res: NDArray[np.float32], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`."""
        logits = self._model.enlarge(low_res, _with_strip(embedded))
        return logits[:, : embedded.height, : embedded.width]

    def hint(self, drawn: NDArray[np.bool_], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`; what was drawn goes on in the strip as the picture does."""
        rows, columns = strip(*drawn.shape)
        drawn = np.pad(drawn, ((0, rows), (0, columns)), mode="reflect")
        return self._model.hint(drawn, _with_strip(embedded))


def strip(height: int, width: int) -> tuple[int, int]:
    """Rows below and columns on the right that are mirrored; one of them is 0."""
    wanted = -(-max(height, width) // _SHARE)
    return (
        min(wanted, max(0, width - height), height - 1),
        min(wanted, max(0, height - width), width - 1),
    )


def _with_strip(embedded: Embedded) -> Embedded:
    rows, columns = strip(embedded.height, embedded.width)
    return Embedded(embedded.height + rows, embedded.width + columns, embedded.arrays)
