"""Pictures to captions: BLIP (Li et al. 2022) without a prompt, many crops in one call."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.naming.batches import CROPS_AT_ONCE, Batches
from cloud.preannotation.naming.loading import loaded

_TOKENS = 20  # what transformers writes unless told otherwise, said aloud


class Captioner(Protocol):
    """Who says in a sentence what a picture shows."""

    def captions(self, crops: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption for each (h, w, 3) uint8 RGB crop."""


class BlipCaptioner:
    """BLIP with the settings its checkpoint brings, and at most 20 tokens, as SSA asks it."""

    def __init__(
        self, network: Any, processor: Any, *, device: str = "cpu", at_once: int = CROPS_AT_ONCE
    ) -> None:
        self._network, self._processor = network.eval().to(device), processor
        self._device, self._batches = device, Batches(at_once)

    @torch.inference_mode()
    def captions(self, crops: Sequence[NDArray[np.uint8]]) -> list[str]:
        """See `Captioner`."""
        return self._batches.over(crops, self._said)

    def _said(self, crops: Sequence[NDArray[np.uint8]]) -> list[str]:
        # As pictures of PIL: an array of three rows would be taken for three channels.
        pictures = [Image.fromarray(crop) for crop in crops]
        inputs = self._processor(images=pictures, return_tensors="pt").to(self._device)
        tokens = self._network.generate(**inputs, max_new_tokens=_TOKENS)
        said: list[str] = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return said


def load_captioner(
    model: str, *, device: str = "auto", at_once: int = CROPS_AT_ONCE
) -> BlipCaptioner:
    """A captioner from a folder or hub id.

    Raises:
        ModelLoadError: no BLIP captioner is there.
    """
    network, processor = loaded(
        model,
        "a BLIP captioner",
        lambda: (
            BlipForConditionalGeneration.from_pretrained(model),
            BlipProcessor.from_pretrained(model),
        ),
    )
    return BlipCaptioner(network, processor, device=chosen_device(device), at_once=at_once)
