"""What every SAM can do, whichever its name: take in pictures once, then answer prompts.

One port for the automatic masks, for boxes that a text prompt found, and for the clicks of an
annotator. Answers come in two steps, because the quality of a mask is known before the mask
itself: whoever filters by it need not pay for masks that are thrown away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """One picture as a SAM sees it; prompts refer to the picture's own pixels."""

    height: int  # of the picture, pixels
    width: int
    features: Any  # tensors only their own model understands, on its device, batch size 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """N prompts for one picture; every prompt is answered by masks of its own.

    Coordinates are pixels of the picture, origin top-left, x before y, and may be fractions.
    """

    points: Tensor | None = None  # (N, P, 2) float32 or float64, x and y
    point_labels: Tensor | None = None  # (N, P) int64: 1 on the thing, 0 not on it
    boxes: Tensor | None = None  # (N, 4) float32: x0, y0, x1, y1
    low_res_masks: Tensor | None = None  # (N, 1, h, w) float32 logits of an earlier answer
    # Of the original SAM: coordinates become float32 only after they were scaled, as
    # segment-anything's predictor has it; else they keep the type they came in.
    as_predictor: bool = False


class Answers(Protocol):
    """K masks for each of N prompts, of which the low-resolution logits are made on request."""

    predicted_iou: Tensor  # (N, K) float32, the model's own guess; may be a little over 1

    def low_res(self, wanted: Tensor) -> Tensor:
        """(M, h, w) float32 logits of the masks where `wanted` (N, K) is true, row by row."""


class PromptableModel(Protocol):
    """A SAM with its weights, on its device, in evaluation mode."""

    name: str  # as the configuration says it, e.g. "sam_vit_h"
    # Grids of points: the offset that stability is measured with; see Kirillov et al. 2023, B.
    stability_offset: float

    @property
    def encoder(self) -> nn.Module:
        """The part that takes in pictures."""

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        """(H, W, 3) uint8 pictures, which may differ in size, in one batch."""

    def ask(self, embedding: Embedding, prompts: Prompts, *, several: bool) -> Answers:
        """Answer N prompts with K masks each: three where `several`, else the best one."""

    def enlarge(self, low_res: Tensor, embedding: Embedding) -> Tensor:
        """(M, h, w) low-resolution logits to (M, H, W) float32 logits of the picture's size."""
