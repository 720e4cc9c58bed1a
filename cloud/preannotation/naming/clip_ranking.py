"""Which names fit a crop best: CLIP (Radford et al. 2021), all crops of a picture in one call."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.naming.batches import CROPS_AT_ONCE, Batches
from cloud.preannotation.naming.loading import loaded
from cloud.preannotation.naming.text_features import TextFeatures
from lifelong.errors import ModelOutputError

Ranking = tuple[tuple[str, float], ...]  # name and probability, best first


class Ranker(Protocol):
    """Who orders names by how well they fit a crop."""

    def rank(
        self, crops: Sequence[NDArray[np.uint8]], candidates: Sequence[Sequence[str]]
    ) -> list[Ranking]:
        """All candidates of each (h, w, 3) uint8 RGB crop, which has at least one, best first."""


class ClipRanker:
    """CLIP on raw names, without a sentence around them, as SSA asks it."""

    def __init__(
        self, network: Any, processor: Any, *, device: str = "cpu", at_once: int = CROPS_AT_ONCE
    ) -> None:
        self._network, self._processor = network.eval().to(device), processor
        self._device, self._batches = device, Batches(at_once)
        self._texts = TextFeatures(self._encode_names)

    @torch.inference_mode()
    def rank(
        self, crops: Sequence[NDArray[np.uint8]], candidates: Sequence[Sequence[str]]
    ) -> list[Ranking]:
        """See `Ranker`. Probabilities are a soft-max over a crop's own candidates.

        Raises:
            ModelOutputError: CLIP answered NaN.
        """
        if not crops:
            return []
        names = list(dict.fromkeys(name for some in candidates for name in some))
        place = {name: number for number, name in enumerate(names)}
        texts = self._texts.of(names)
        images = torch.stack(self._batches.over(crops, self._encode_crops))
        # (crops, names), as CLIP's own forward computes it.
        logits = (torch.matmul(texts, images.t()) * self._network.logit_scale.exp()).t()
        if not bool(torch.isfinite(logits).all()):
            raise ModelOutputError("CLIP: similarities hold NaN or infinite values")
        logits = logits.float().cpu()
        return [
            _ranked(some, logits[crop, [place[name] for name in some]])
            for crop, some in enumerate(candidates)
        ]

    def _encode_names(self, names: Sequence[str]) -> Tensor:
        inputs = self._processor(
            text=list(names), return_tensors="pt", padding=True, truncation=True
        ).to(self._device)
        return _unit(self._network.get_text_features(**inputs))

    def _encode_crops(self, crops: Sequence[NDArray[np.uint8]]) -> Sequence[Tensor]:
        pictures = [Image.fromarray(crop) for crop in crops]
        inputs = self._processor(images=pictures, return_tensors="pt").to(self._device)
        return list(_unit(self._network.get_image_features(**inputs)))


def load_clip(model: str, *, device: str = "auto", at_once: int = CROPS_AT_ONCE) -> ClipRanker:
    """A ranker from a folder or hub id.

    Raises:
        ModelLoadError: no CLIP is there.
    """
    network, processor = loaded(
        model,
        "a CLIP",
        lambda: (CLIPModel.from_pretrained(model), CLIPProcessor.from_pretrained(model)),
    )
    return ClipRanker(network, processor, device=chosen_device(device), at_once=at_once)


def _ranked(names: Sequence[str], logits: Tensor) -> Ranking:
    """Best first; equals keep their order, so that the same picture always gets the same names."""
    order = torch.argsort(logits, descending=True, stable=True).tolist()
    probabilities = logits.softmax(dim=0).tolist()
    return tuple((names[number], probabilities[number]) for number in order)


def _unit(features: Any) -> Tensor:
    """Features of length 1; newer transformers wrap them in an output, older ones do not."""
    vectors: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    unit: Tensor = vectors / vectors.norm(p=2, dim=-1, keepdim=True)
    return unit
