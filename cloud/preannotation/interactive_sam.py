"""Every SAM that torch runs, as an `InteractiveModel`: one prompt in, numpy arrays out.

Prompts become the tensors that segment-anything's `SamPredictor` makes of them.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloud.assist.drawn_hints import padded_hint, squeezed_hint
from cloud.assist.interactive_model import Decoded, Embedded, go_on
from cloud.preannotation.sam.hq import HqFeatures, HqSam
from cloud.preannotation.sam.promptable import Embedding, PromptableModel, Prompts
from cloud.preannotation.sam.sam2 import Sam2, Sam2Features
from lifelong.errors import PromptError
from lifelong.records.prompts import Prompt

# To be raised by whoever changes what any SAM's embedding of a picture is.
EMBEDDING_VERSION = 1
# Embeddings that are kept on a GPU too: a copy there takes as long as the decoder.
_KEPT_ON_DEVICE = 16
_ONLY = "image"  # the name of the one array of models that have one

_Arrays = Mapping[str, NDArray[np.generic]]


class InteractiveSam:
    """See `InteractiveModel`; threads may share it, it keeps nothing of a prompt or picture."""

    def __init__(
        self, model: PromptableModel, *, weights_digest: str, precision: str, device: str,
        takes_masks: bool = True,
    ) -> None:  # fmt: skip
        """Args:
        weights_digest: SHA-256 of the weights, hex.
        precision: that `model` computes in, float32 or bfloat16.
        device: that `model` lies on.
        takes_masks: was the mask prompt trained?
        """
        self.name = model.name
        self.digest = _digest(model, weights_digest, precision)
        self.takes_masks = takes_masks
        self._model = model
        self._device = torch.device(device)
        self._on_device: OrderedDict[int, tuple[_Arrays, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._pauses = _Pauses(model.encoder)

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        """See `InteractiveModel`; pauses before every layer of the encoder."""
        with self._pauses.by(pause):
            found = self._model.embed([image])[0]
        arrays = {name: _array(tensor) for name, tensor in _tensors(found.features).items()}
        return Embedded(found.height, found.width, arrays)

    @torch.no_grad()
    def decode(
        self, embedded: Embedded, prompt: Prompt, *, previous: NDArray[np.float32] | None = None,
        several: bool,
    ) -> Decoded:  # fmt: skip
        """See `InteractiveModel`."""
        prompts = prompts_of(prompt, previous)
        answers = self._model.ask(self._embedding(embedded), prompts, several=several)
        wanted = torch.ones_like(answers.predicted_iou, dtype=torch.bool)
        return Decoded(_array(answers.low_res(wanted)), _array(answers.predicted_iou[0]))

    def enlarge(self, low_res: NDArray[np.float32], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`."""
        size = Embedding(height=embedded.height, width=embedded.width, features=None)
        return _array(self._model.enlarge(torch.from_numpy(low_res).to(self._device), size))

    def hint(self, drawn: NDArray[np.bool_], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`."""
        if isinstance(self._model, Sam2):
            return squeezed_hint(drawn, embedded.arrays["at_4"].shape[2])
        image = embedded.arrays[_ONLY]
        return padded_hint(drawn, 4 * image.shape[2])

    def _embedding(self, embedded: Embedded) -> Embedding:
        features = self._features(embedded)
        return Embedding(height=embedded.height, width=embedded.width, features=features)

    def _features(self, embedded: Embedded) -> Any:
        """The arrays as the model's own tensors; on the CPU they share memory."""
        if self._device.type == "cpu":
            return _packed(self._model, embedded.arrays, self._device)
        key = id(embedded.arrays)
        with self._lock:
            kept = self._on_device.get(key)
            if kept is not None and kept[0] is embedded.arrays:
                self._on_device.move_to_end(key)
                return kept[1]
        features = _packed(self._model, embedded.arrays, self._device)
        with self._lock:
            self._on_device[key] = (embedded.arrays, features)
            while len(self._on_device) > _KEPT_ON_DEVICE:
                self._on_device.popitem(last=False)
        return features


def prompts_of(prompt: Prompt, previous: NDArray[np.float32] | None) -> Prompts:
    """One prompt as tensors: the same that `SamPredictor.predict` makes.

    Raises:
        PromptError: nothing to go by, or more than one box.
    """
    if len(prompt.boxes) > 1:
        raise PromptError(f"{len(prompt.boxes)} boxes in one prompt; SAM takes one at a time")
    if not prompt.points and not prompt.boxes and previous is None:
        raise PromptError("neither a point nor a box; click on the object or draw a box around it")
    points = labels = boxes = masks = None
    if prompt.points:
        points = torch.tensor([[(p.x, p.y) for p in prompt.points]], dtype=torch.float64)
        labels = torch.tensor([[int(p.is_positive) for p in prompt.points]], dtype=torch.int64)
    if prompt.boxes:
        box = prompt.boxes[0]
        boxes = torch.tensor([[box.x0, box.y0, box.x1, box.y1]], dtype=torch.float64)
    if previous is not None:
        masks = torch.from_numpy(np.array(previous, np.float32))[None, None]
    return Prompts(
        points=points, point_labels=labels, boxes=boxes, low_res_masks=masks, as_predictor=True
    )


class _Pauses:
    """Calls a thread's pause before every layer that this thread runs."""

    def __init__(self, encoder: nn.Module) -> None:
        self._here = threading.local()
        for module in encoder.modules():
            if not any(module.children()):
                module.register_forward_pre_hook(self._before_layer)

    def by(self, pause: Callable[[], None]) -> "_Pausing":
        return _Pausing(self._here, pause)

    def _before_layer(self, _module: nn.Module, _inputs: object) -> None:
        pause = getattr(self._here, "pause", None)
        if pause is not None:
            pause()


class _Pausing:
    def __init__(self, here: threading.local, pause: Callable[[], None]) -> None:
        self._here, self._pause = here, pause

    def __enter__(self) -> None:
        self._here.pause = self._pause

    def __exit__(self, *_: object) -> None:
        self._here.pause = None


def _digest(model: PromptableModel, weights_digest: str, precision: str) -> str:
    """Not the device: what a GPU embedded beforehand is good for a CPU, and the other way round."""
    parts = [EMBEDDING_VERSION, type(model).__name__, model.name, precision, weights_digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _tensors(features: Any) -> dict[str, Tensor]:
    if isinstance(features, Tensor):
        return {_ONLY: features}
    return {field.name: getattr(features, field.name) for field in fields(features)}


def _packed(model: PromptableModel, arrays: _Arrays, device: torch.device) -> Any:
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    if isinstance(model, HqSam):
        return HqFeatures(**tensors)
    if isinstance(model, Sam2):
        return Sam2Features(**tensors)
    return tensors[_ONLY]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """The tensor's own memory where it lies on the CPU and holds nothing else."""
    here = tensor.float().cpu().contiguous()
    if here.untyped_storage().nbytes() > here.nbytes:
        here = here.clone()  # a view would keep alive what it is a part of
    array: NDArray[np.float32] = here.numpy()
    return array
