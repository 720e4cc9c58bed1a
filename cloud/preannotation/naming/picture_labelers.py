"""Names for every pixel of a whole picture, from models with classes of their own.

Where `semantic_labels` answers in the label map's classes, these answer in the model's own words:
the words are candidates for masks, and an ontology says later what they mean.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    CLIPTokenizer,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessor,
    OneFormerProcessor,
)

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.naming.loading import loaded
from lifelong.errors import ModelOutputError

_UNIVERSAL = frozenset({"mask2former", "maskformer", "eomt"})
# COCO's names for stuff end so; SSA leaves these words away as well.
_ENDINGS = ("-other-merged", "-merged", "-other", "-stuff")


class PictureLabeler(Protocol):
    """Who names every pixel in words of its own."""

    names: tuple[str, ...]

    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(H, W, 3) uint8 RGB to (H, W) positions in `names`."""


class OneFormerLabeler:
    """OneFormer (Jain et al. 2023), asked for its semantic task."""

    def __init__(self, network: Any, processor: Any, *, device: str = "cpu") -> None:
        self.names = spoken_names(network.config.id2label)
        self._network, self._processor = network.eval().to(device), processor
        self._device = device

    @torch.inference_mode()
    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """See `PictureLabeler`."""
        inputs = self._processor(
            images=Image.fromarray(image), task_inputs=["semantic"], return_tensors="pt"
        ).to(self._device)
        return _post_processed(self._processor, self._network(**inputs), image, self.names)


class UniversalLabeler:
    """A network of queries, such as Mask2Former, with its library's own reading of the answer."""

    def __init__(self, network: Any, processor: Any, *, device: str = "cpu") -> None:
        self.names = spoken_names(network.config.id2label)
        self._network, self._processor = network.eval().to(device), processor
        self._device = device

    @torch.inference_mode()
    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """See `PictureLabeler`."""
        inputs = self._processor(images=Image.fromarray(image), return_tensors="pt")
        outputs = self._network(**inputs.to(self._device))
        return _post_processed(self._processor, outputs, image, self.names)


class LogitsLabeler:
    """A network with one score per class and pixel, such as SegFormer."""

    def __init__(self, network: Any, processor: Any, *, device: str = "cpu") -> None:
        self.names = spoken_names(network.config.id2label)
        self._network, self._processor = network.eval().to(device), processor
        self._device = device

    @torch.inference_mode()
    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """See `PictureLabeler`."""
        inputs = self._processor(images=Image.fromarray(image), return_tensors="pt")
        logits = self._network(**inputs.to(self._device)).logits
        full = F.interpolate(logits.float(), image.shape[:2], mode="bilinear", align_corners=False)
        if not bool(torch.isfinite(full).all()):
            raise ModelOutputError("a labeler's logits hold NaN or infinite values")
        return _checked(full.argmax(dim=1)[0], image, self.names)


def load_picture_labeler(model: str, *, device: str = "auto") -> PictureLabeler:
    """A labeler from a folder or hub id, by the kind of network its configuration names.

    Raises:
        ModelLoadError: nothing there that names the pixels of a picture.
    """
    place = chosen_device(device)
    return loaded(
        model, "a model for semantic segmentation of transformers", lambda: _labeler(model, place)
    )


def spoken_names(id2label: Mapping[Any, str]) -> tuple[str, ...]:
    """Names in order of their numbers, as people say them: without blanks and data set endings.

    >>> spoken_names({0: "sky-other-merged", 1: "bed ", 2: "car, auto, automobile"})
    ('sky', 'bed', 'car')
    """
    numbers = {int(number): str(name) for number, name in id2label.items()}
    return tuple(_spoken(numbers[number]) for number in sorted(numbers))


def _spoken(name: str) -> str:
    # The first of several synonyms; the ontology knows the others.
    first = name.replace(";", ",").split(",")[0].strip() or name.strip()
    for ending in _ENDINGS:
        if first.endswith(ending) and len(first) > len(ending):
            return first[: -len(ending)]
    return first


def _labeler(model: str, device: str) -> PictureLabeler:
    kind = AutoConfig.from_pretrained(model).model_type
    if kind == "oneformer":
        network = OneFormerForUniversalSegmentation.from_pretrained(model)
        return OneFormerLabeler(network, _oneformer_processor(model), device=device)
    processor = AutoImageProcessor.from_pretrained(model)
    if kind in _UNIVERSAL:
        network = AutoModelForUniversalSegmentation.from_pretrained(model)
        return UniversalLabeler(network, processor, device=device)
    network = AutoModelForSemanticSegmentation.from_pretrained(model)
    return LogitsLabeler(network, processor, device=device)


def _oneformer_processor(model: str) -> Any:
    """Its usual processor, without the table of classes: that is fetched from another place of
    the hub, fails where there is no network, and is needed for training only."""
    images = OneFormerImageProcessor.from_pretrained(model, class_info_file=None)
    return OneFormerProcessor(images, CLIPTokenizer.from_pretrained(model))


def _post_processed(
    processor: Any, outputs: Any, image: NDArray[np.uint8], names: tuple[str, ...]
) -> NDArray[np.int64]:
    (found,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.shape[:2]])
    return _checked(found, image, names)


def _checked(found: Tensor, image: NDArray[np.uint8], names: tuple[str, ...]) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = found.cpu().numpy().astype(np.int64)
    if ids.shape != image.shape[:2] or ids.min() < 0 or ids.max() >= len(names):
        raise ModelOutputError(
            f"a labeler answered {ids.shape} with ids {ids.min()} .. {ids.max()}; expected "
            f"{image.shape[:2]} with ids below {len(names)}"
        )
    return ids
