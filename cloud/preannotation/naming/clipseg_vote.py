"""Which of its proposals a mask's own pixels say: CLIPSeg (Lüddecke & Ecker 2022) and a vote.

A crop is encoded once and decoded for each of its proposals; SSA encodes it once per proposal.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.naming.batches import CROPS_AT_ONCE, Batches
from cloud.preannotation.naming.loading import loaded
from cloud.preannotation.naming.text_features import TextFeatures
from lifelong.errors import ModelOutputError

_SIDE_PX = 512  # SSA's own; the checkpoints were trained at 352


class ProposalVoter(Protocol):
    """Who counts a mask's pixels for each of its proposals."""

    def votes(
        self,
        crops: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.bool_]],
        proposals: Sequence[Sequence[str]],
    ) -> list[NDArray[np.int64]]:
        """(K,) pixels for each of the K >= 1 proposals of every crop.

        Args:
            crops: (h, w, 3) uint8 RGB.
            masks: (h, w), which pixels of the crop are the mask's.
        """


class ClipSegVoter:
    """CLIPSeg says for each pixel of a crop which proposal fits best; the mask's pixels count."""

    def __init__(
        self, network: Any, processor: Any, *, device: str = "cpu", at_once: int = CROPS_AT_ONCE
    ) -> None:
        self._network, self._processor = network.eval().to(device), processor
        self._device, self._batches = device, Batches(at_once)
        self._texts = TextFeatures(self._encode_names)

    @torch.inference_mode()
    def votes(
        self,
        crops: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.bool_]],
        proposals: Sequence[Sequence[str]],
    ) -> list[NDArray[np.int64]]:
        """See `ProposalVoter`. A mask with one proposal gets all its votes without being asked.

        Raises:
            ModelOutputError: CLIPSeg answered NaN.
        """
        counted = [np.array([mask.sum()], dtype=np.int64) for mask in masks]
        open_ = [number for number, some in enumerate(proposals) if len(some) > 1]
        if not open_:
            return counted
        names = list(dict.fromkeys(name for number in open_ for name in proposals[number]))
        texts = dict(zip(names, self._texts.of(names), strict=True))

        def votes(some: Sequence[int]) -> list[NDArray[np.int64]]:
            conditions = [torch.stack([texts[name] for name in proposals[n]]) for n in some]
            answers = self._decoded(self._encoded([crops[n] for n in some]), conditions)
            return [_counted(one, masks[n]) for n, one in zip(some, answers, strict=True)]

        for number, counts in zip(open_, self._batches.over(open_, votes), strict=True):
            counted[number] = counts
        return counted

    def _encode_names(self, names: Sequence[str]) -> Tensor:
        inputs = self._processor(
            text=list(names), return_tensors="pt", padding=True, truncation=True
        ).to(self._device)
        clip = self._network.clip
        pooled = clip.text_model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).pooler_output
        features: Tensor = clip.text_projection(pooled)
        return features

    def _encoded(self, crops: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        """Activations (crops, tokens, D) of the layers that the decoder reads."""
        pixels = torch.cat([self._pixels(crop) for crop in crops]).to(self._device)
        vision, kept = self._network.clip.vision_model, self._network.config.extract_layers
        outputs: dict[int, Tensor] = {}
        # All layers' states of many crops would fill the memory; three are read.
        hooks = [vision.encoder.layers[n].register_forward_hook(_keeping(outputs, n)) for n in kept]
        try:
            vision(pixel_values=pixels, interpolate_pos_encoding=True)
        finally:
            for hook in hooks:
                hook.remove()
        return [outputs[number] for number in kept]

    def _pixels(self, crop: NDArray[np.uint8]) -> Tensor:
        """(1, 3, 512, 512): only normalised by the processor, resized afterwards, as SSA does."""
        pixels = self._processor.image_processor(
            images=Image.fromarray(crop), do_resize=False, return_tensors="pt"
        )["pixel_values"]
        return F.interpolate(pixels, size=(_SIDE_PX, _SIDE_PX), mode="bilinear")

    def _decoded(self, activations: list[Tensor], conditions: list[Tensor]) -> list[Tensor]:
        """(K, 512, 512) logits of every crop, from one run of the decoder for all pairs."""
        lengths = [len(condition) for condition in conditions]
        crop_of_pair = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        crop_of_pair = crop_of_pair.to(self._device)
        repeated = [activation[crop_of_pair] for activation in activations]
        logits = self._network.decoder(repeated, torch.cat(conditions)).logits
        # NaN and infinity survive a sum, which is one pass and needs no second array of this size.
        if not bool(torch.isfinite(logits.sum(dtype=torch.float64))):
            raise ModelOutputError("CLIPSeg: logits hold NaN or infinite values")
        return list(logits.split(lengths))


def load_clipseg(model: str, *, device: str = "auto", at_once: int = CROPS_AT_ONCE) -> ClipSegVoter:
    """A voter from a folder or hub id.

    Raises:
        ModelLoadError: no CLIPSeg is there.
    """
    network, processor = loaded(
        model,
        "a CLIPSeg",
        lambda: (
            CLIPSegForImageSegmentation.from_pretrained(model),
            CLIPSegProcessor.from_pretrained(model),
        ),
    )
    return ClipSegVoter(network, processor, device=chosen_device(device), at_once=at_once)


def _keeping(outputs: dict[int, Tensor], number: int) -> Callable[..., None]:
    """A hook that keeps a layer's output; older transformers wrap it in a tuple."""

    def keep(_layer: object, _inputs: object, output: Any) -> None:
        outputs[number] = output[0] if isinstance(output, tuple) else output

    return keep


def _counted(logits: Tensor, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K, s, s) logits enlarged to the crop; pixels of the mask by their best proposal."""
    full = F.interpolate(logits[None], size=mask.shape, mode="bilinear", align_corners=False)[0]
    best = full.argmax(dim=0)[torch.from_numpy(np.ascontiguousarray(mask)).to(full.device)]
    counts: NDArray[np.int64] = torch.bincount(best, minlength=len(logits)).cpu().numpy()
    return counts
