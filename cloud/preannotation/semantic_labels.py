"""Pictures to class scores for every pixel: the semantic branch of a draft, by name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.drafting_training import normalised
from lifelong.drafting_config import SemanticSection
from lifelong.errors import ConfigError, LabelMapError, ModelLoadError, ModelOutputError
from lifelong.model_bundle import read_bundle
from lifelong.preprocessing import enlarged, softmax
from lifelong.records.label_map import LabelMap
from lifelong.segmenter import OnnxSegmenter

TINY_SEGFORMER_WEIGHTS = Path(__file__).parent / "weights" / "tiny_segformer.safetensors"
_TINY_SIDE_PX = 480  # the longer side of what the tiny model was trained on


class SemanticLabeler(Protocol):
    """Who says what every pixel is."""

    name: str

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, H, W) probabilities in the label map's order."""


class TransformersLabeler:
    """A semantic segmentation checkpoint of transformers: a local folder, or a name on the hub.

    Raises:
        ModelLoadError: it cannot be loaded.
        LabelMapError: it knows classes that the label map does not have.
    """

    def __init__(self, model: str, label_map: LabelMap, *, device: str = "auto") -> None:
        self.name = Path(model).name
        self._device = chosen_device(device)
        try:
            self._processor = AutoImageProcessor.from_pretrained(model)
            network = AutoModelForSemanticSegmentation.from_pretrained(model)
        except (OSError, ValueError, SafetensorError) as error:
            first = str(error).splitlines()[0] if str(error) else repr(error)
            raise ModelLoadError(
                f"{model}: expected a folder or hub id of a semantic segmentation checkpoint of "
                f"transformers ({first})"
            ) from error
        self._network = network.eval().to(self._device)
        self._places = places_in(label_map, network.config.id2label, where=model)

    @torch.inference_mode()
    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        logits = self._network(**inputs).logits
        size = (image.shape[0], image.shape[1])
        return probabilities_at(logits, size, self._places, where=self.name)


class TinyLabeler:
    """The small SegFormer we ship, or one trained the same way by `drafting_training`.

    Raises:
        ModelLoadError: no such file, a truncated one, or weights of another architecture.
        LabelMapError: it knows classes that the label map does not have.
    """

    def __init__(
        self, label_map: LabelMap, *, weights: Path = TINY_SEGFORMER_WEIGHTS, device: str = "auto"
    ) -> None:
        self.name = weights.stem
        self._device = chosen_device(device)
        network = load_tiny_segformer(weights)
        self._network = network.to(self._device)
        self._places = places_in(label_map, network.config.id2label, where=str(weights))

    @torch.inference_mode()
    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        pixels = normalised([image])
        height, width = image.shape[:2]
        scale = _TINY_SIDE_PX / max(height, width)
        size = (max(32, round(height * scale)), max(32, round(width * scale)))
        if size != (height, width):
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        logits = self._network(pixel_values=pixels.to(self._device)).logits
        return probabilities_at(logits, (height, width), self._places, where=self.name)


class BundleLabeler:
    """Our own deployed model: drafts without any foreign weights."""

    def __init__(self, bundle: Path, label_map: LabelMap) -> None:
        if not bundle.is_file():
            raise ModelLoadError(f"{bundle}: no such file; expected a model bundle")
        self.name = bundle.stem
        self._segmenter = OnnxSegmenter(read_bundle(bundle.read_bytes(), str(bundle)))
        known = self._segmenter.bundle.manifest.label_map
        self._places = places_in(label_map, dict(enumerate(known.names)), where=str(bundle))

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        height, width = image.shape[:2]
        scores = softmax(self._segmenter.logits(image))
        placed = np.zeros((len(self._places), height, width), dtype=np.float32)
        for target, source in enumerate(self._places):
            if source is not None:
                placed[target] = enlarged(scores[source], height, width)
        return placed


def places_in(
    label_map: LabelMap, id2label: Mapping[int, str], *, where: str
) -> tuple[int | None, ...]:
    """For every class of the label map, its number in the model; None where the model lacks it.

    A class the model lacks is never drafted: people draw it until the model has learnt it. A class
    the label map lacks would be painted as something else, so such a model is refused.

    Raises:
        LabelMapError: names the classes that the label map does not have.
    """
    numbers = {str(name).strip().lower(): int(number) for number, name in id2label.items()}
    known = {name.lower() for name in label_map.names}
    foreign = sorted(name for name in numbers if name not in known)
    if foreign:
        raise LabelMapError(
            f"{where}: the model knows {', '.join(foreign[:5])}{' …' if foreign[5:] else ''}, "
            f"the label map does not ({', '.join(label_map.names[:5])} …); "
            "use a model for these classes or add them to the label map"
        )
    return tuple(numbers.get(name.lower()) for name in label_map.names)


def probabilities_at(
    logits: Tensor, size: tuple[int, int], places: tuple[int | None, ...], *, where: str
) -> NDArray[np.float32]:
    """(1, K, h, w) logits to (C, H, W) probabilities in the label map's order.

    Raises:
        ModelOutputError: NaN, infinite values, or fewer classes than promised.
    """
    needed = max((place for place in places if place is not None), default=-1) + 1
    if logits.ndim != 4 or logits.shape[0] != 1 or logits.shape[1] < needed:
        raise ModelOutputError(
            f"{where}: expected logits (1, {needed}, h, w), got {tuple(logits.shape)}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelOutputError(f"{where}: logits hold NaN or infinite values")
    full = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
    scores: NDArray[np.float32] = full.softmax(dim=1)[0].cpu().numpy()
    if places == tuple(range(scores.shape[0])):
        return scores
    placed = np.zeros((len(places), *size), dtype=np.float32)
    for target, source in enumerate(places):
        if source is not None:
            placed[target] = scores[source]
    return placed


def load_tiny_segformer(weights: Path = TINY_SEGFORMER_WEIGHTS) -> SegformerForSemanticSegmentation:
    """Weights (.safetensors) with the network's configuration (.json) beside them.

    Raises:
        ModelLoadError: says which file is missing or does not fit.
    """
    config = weights.with_suffix(".json")
    for needed in (weights, config):
        if not needed.is_file():
            raise ModelLoadError(
                f"{needed}: no such file; a tiny SegFormer is NAME.safetensors beside NAME.json"
            )
    try:
        state = {name: value.float() for name, value in load_file(weights).items()}
        network = SegformerForSemanticSegmentation(
            SegformerConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
        )
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelLoadError(f"{weights}: not readable ({error}); fetch it again") from error
    # Counters of batches are whole numbers; everything else is a float.
    whole = {n: v.dtype for n, v in network.state_dict().items() if not v.is_floating_point()}
    state = {name: value.to(whole.get(name, value.dtype)) for name, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{weights}: weights of another network than {config.name} describes; "
            "take both from one training"
        ) from error
    return network.eval()


def _tiny(section: SemanticSection, label_map: LabelMap, device: str) -> SemanticLabeler:
    weights = TINY_SEGFORMER_WEIGHTS if section.model is None else Path(section.model)
    return TinyLabeler(label_map, weights=weights, device=device)


def _transformers(section: SemanticSection, label_map: LabelMap, device: str) -> SemanticLabeler:
    return TransformersLabeler(_model(section, "folder or hub id"), label_map, device=device)


def _bundle(section: SemanticSection, label_map: LabelMap, device: str) -> SemanticLabeler:
    return BundleLabeler(Path(_model(section, "bundle file")), label_map)


def _model(section: SemanticSection, what: str) -> str:
    if section.model is None:
        raise ConfigError(
            f"preannotation.semantic.model: type `{section.type}` needs a {what}; "
            "or use type `tiny`, which needs none"
        )
    return section.model


LABELERS: dict[str, Callable[[SemanticSection, LabelMap, str], SemanticLabeler]] = {
    "tiny": _tiny,
    "transformers": _transformers,
    "bundle": _bundle,
}


def labeler_from(
    section: SemanticSection, label_map: LabelMap, *, device: str = "auto"
) -> SemanticLabeler:
    """The labeler a configuration names.

    Raises:
        ConfigError: a type that needs a model without one.
        ModelLoadError, LabelMapError: as the labelers say.
    """
    return LABELERS[section.type](section, label_map, device)
